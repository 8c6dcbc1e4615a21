"""Measures of similarity, of drift and of a layer's shape, and scores of predictions, by name."""

from __future__ import annotations

from dataclasses import dataclass

from ser_probe.names.named import Named


@dataclass(frozen=True)
class SimilarityName(Named):
    """A measure of similarity.

    Attributes:
        distance: Whether small means alike.
        symmetric: Whether the two sides can be exchanged.
    """

    distance: bool = False
    symmetric: bool = True


_KORNBLITH = "Kornblith et al. 2019"
_SONG = f"{_KORNBLITH}; Song et al. 2007, eq. 4"
_RAGHU, _MORCOS = "Raghu et al. 2017", "Morcos et al. 2018"

SIMILARITY: dict[str, SimilarityName] = {
    "cka_debiased": SimilarityName("debiased linear CKA", source=_SONG, short="CKA (debiased)"),
    "cka": SimilarityName("biased linear CKA", "inflated where clips are few", source=_KORNBLITH),
    "cka_rbf": SimilarityName("biased RBF CKA", source=_KORNBLITH),
    "cka_rbf_debiased": SimilarityName("debiased RBF CKA", source=_SONG),
    "cka_minibatch": SimilarityName("minibatch linear CKA", "for many clips", source="Nguyen et al. 2021, eq. 3"),
    "cca_mean": SimilarityName("mean CCA, held out", "mean canonical correlation", source=_RAGHU),
    "cca_mean_squared": SimilarityName("mean squared CCA, held out", "mean squared one", source=_KORNBLITH),
    "svcca": SimilarityName("SVCCA, held out", source=_RAGHU),
    "pwcca": SimilarityName("PWCCA, held out", source=_MORCOS, symmetric=False),
    "cca_mean_insample": SimilarityName("mean CCA, in-sample", source=_RAGHU),
    "cca_mean_squared_insample": SimilarityName("mean squared CCA, in-sample", source=_KORNBLITH),
    "svcca_insample": SimilarityName("SVCCA, in-sample", source=_RAGHU),
    "pwcca_insample": SimilarityName("PWCCA, in-sample", source=_MORCOS, symmetric=False),
    "procrustes": SimilarityName("Procrustes distance", source="Ding et al. 2021, eq. 4, halved", distance=True),
    "angular_shape": SimilarityName(
        "angular shape distance (rad)", source="Williams et al. 2021, eq. 5", distance=True
    ),
    "rsa": SimilarityName("RSA (Spearman)", source="Kriegeskorte et al. 2008"),
    "rsa_pearson": SimilarityName("RSA (Pearson)", source="Kriegeskorte et al. 2008"),
    "mutual_knn": SimilarityName("mutual k-NN overlap", source="Huh et al. 2024, eq. 11"),
    "distance_correlation": SimilarityName("distance correlation", source="Szekely et al. 2007"),
    "distance_correlation_debiased": SimilarityName("bias-corrected dCor", source="Szekely & Rizzo 2014"),
    "linear_predictivity": SimilarityName(
        "linear predictivity (R²)", "of b from a", source="ridge, held-out speakers", symmetric=False
    ),
}
"""Of two representations of the same clips."""

DRIFT: dict[str, Named] = {
    "cka_debiased": SIMILARITY["cka_debiased"],
    "procrustes": SIMILARITY["procrustes"],
    "mean_cosine": Named("mean cosine"),
    "mean_cosine_centred": Named("mean cosine, centred"),
    "knn_overlap": Named("neighbours kept", source="Huh et al. 2024, with distances"),
    "relative_norm_change": Named("relative change of norm"),
    "mean_shift": Named("shift of the mean", source="Frechet 1957, first part"),
    "covariance_shift": Named("change of covariance", source="Frechet 1957, second part (Bures)"),
}
"""Between two states of a layer."""

SHAPE: dict[str, Named] = {
    "rankme": Named("RankMe"),
    "effective_rank": Named("effective rank"),
    "participation_ratio_unbiased": Named("participation ratio"),
    "two_nn": Named("two-NN dimension"),
    "two_nn_mle": Named("two-NN dimension (ML)"),
    "fisher_ratio": Named("Fisher ratio"),
    "marginal_share": Named("share of variance"),
    "unique_share": Named("unique share of variance"),
}
"""Of the geometry of one layer."""


@dataclass(frozen=True)
class ScoreName(Named):
    """A score of predictions.

    Attributes:
        falls: Whether less of it is better.
    """

    falls: bool = False


SCORES: dict[str, ScoreName] = {
    "uar": ScoreName("unweighted average recall", short="UAR"),
    "macro_f1": ScoreName("macro F1"),
    "weighted_f1": ScoreName("weighted F1"),
    "accuracy": ScoreName("accuracy"),
    "selectivity_uar": ScoreName("selectivity (UAR above shuffled labels)"),
    "ccc": ScoreName("CCC", "concordance correlation", source="Lin 1989"),
    "pearson": ScoreName("Pearson's r"),
    "rmse": ScoreName("RMSE", "root mean square error", falls=True),
    "r2": ScoreName("R²"),
    "r2_within": ScoreName("R² within speakers"),
    "ece": ScoreName("ECE", "expected calibration error", falls=True),
    "kl_divergence": ScoreName("KL divergence", falls=True),
    "loss": ScoreName("loss", falls=True),
    "learning_rate": ScoreName("learning rate"),
}
"""Of predictions, and what else training curves show."""

MEASURES: dict[str, Named] = {**SCORES, **SHAPE, **DRIFT, **SIMILARITY}
"""All of them."""
