"""Names of the measures in titles, on axes and in headlines; which are distances, directed, or signed."""

from __future__ import annotations

from ser_probe.report.style import short

MEASURES = {
    "weighted_f1": "weighted F1",
    "macro_f1": "macro F1",
    "uar": "unweighted average recall",
    "accuracy": "accuracy",
    "selectivity_uar": "selectivity (UAR above shuffled labels)",
    "r2": "R²",
    "ccc": "CCC",
    "pearson": "Pearson's r",
    "cka_debiased": "debiased linear CKA",
    "cka": "biased linear CKA",
    "cka_rbf": "biased RBF CKA",
    "cka_rbf_debiased": "debiased RBF CKA",
    "cka_minibatch": "minibatch linear CKA",
    "cca_mean": "mean CCA, held out",
    "cca_mean_squared": "mean squared CCA, held out",
    "svcca": "SVCCA, held out",
    "pwcca": "PWCCA, held out",
    "cca_mean_insample": "mean CCA, in-sample",
    "cca_mean_squared_insample": "mean squared CCA, in-sample",
    "svcca_insample": "SVCCA, in-sample",
    "pwcca_insample": "PWCCA, in-sample",
    "angular_shape": "angular shape distance (rad)",
    "rsa": "RSA (Spearman)",
    "rsa_pearson": "RSA (Pearson)",
    "mutual_knn": "mutual k-NN overlap",
    "distance_correlation": "distance correlation",
    "distance_correlation_debiased": "bias-corrected dCor",
    "linear_predictivity": "linear predictivity (R²)",
    "mean_cosine": "mean cosine",
    "procrustes": "Procrustes distance",
    "mean_cosine_centred": "mean cosine, centred",
    "knn_overlap": "neighbours kept",
    "mean_shift": "shift of the mean",
    "covariance_shift": "change of covariance",
    "relative_norm_change": "relative change of norm",
    "rankme": "RankMe",
    "effective_rank": "effective rank",
    "participation_ratio_unbiased": "participation ratio",
    "two_nn": "two-NN dimension",
    "two_nn_mle": "two-NN dimension (ML)",
    "fisher_ratio": "Fisher ratio",
    "marginal_share": "share of variance",
    "unique_share": "unique share of variance",
    "r2_within": "R² within speakers",
    "loss": "loss",
    "learning_rate": "learning rate",
    "rmse": "RMSE",
    "ece": "ECE",
    "kl_divergence": "KL divergence",
}
"""Names by what the tables call a measure; a measure that is not listed keeps its name from the table."""
_SHORT_NAMES = {"uar": "UAR", "cka_debiased": "CKA (debiased)"}
"""Used where there is no room for the full name."""

DISTANCES = ("procrustes", "angular_shape")
"""Measures of similarity that are small where representations are alike."""
DIRECTED = ("pwcca", "pwcca_insample", "linear_predictivity")
"""Measures of similarity that go from layer `a` to layer `b`."""

UNCHANGED = {
    "cka_debiased": 1.0, "cka": 1.0, "procrustes": 0.0, "mean_cosine": 1.0, "mean_cosine_centred": 1.0,
    "knn_overlap": 1.0, "relative_norm_change": 0.0, "mean_shift": 0.0, "covariance_shift": 0.0,
}  # fmt: skip
"""The value of a measure of drift where nothing has changed, in the order of the figures."""
SIGNED = ("relative_norm_change",)
"""Measures of drift that change to either side."""

EFFECT_SIZES = {
    "hedges_g": "Hedges' g",
    "hedges_g_paired": "Hedges' g of paired differences",
    "hedges_g_residual": "Hedges' g in residual deviations",
    "rank_biserial": "rank-biserial correlation",
}
"""Names of the effect sizes."""


def measure_name(measure: str) -> str:
    """Return what a measure is called on an axis."""
    return MEASURES.get(measure, short(measure.replace("_", " ")))


def short_measure_name(measure: str) -> str:
    """Return what a measure is called where there is little room: in a list of scores, in a column's head."""
    return _SHORT_NAMES.get(measure, measure_name(measure))
