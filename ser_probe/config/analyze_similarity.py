"""The section `analyze.similarity`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from ser_probe.config.analysis import Analysis, OwnCommand
from ser_probe.config.clashes import Clash
from ser_probe.config.sections import Count, Flag, OneOf, Positive, Section, Whole
from ser_probe.names.measures import SIMILARITY

if TYPE_CHECKING:
    from ser_probe.config.study import StudyConfig

SimilarityMeasure = Annotated[str, OneOf(SIMILARITY)]

_CKA = ("cka_debiased", "cka", "cka_minibatch")
_CCA = ("cca_mean", "cca_mean_squared", "svcca", "pwcca")
_IN_SAMPLE = ("cca_mean_insample", "cca_mean_squared_insample", "svcca_insample", "pwcca_insample")
_OF_MEASURES: dict[str, tuple[str, ...]] = {
    "minibatch_above": ("cka_debiased", "cka"),
    "batch": _CKA,
    "rbf_fraction": ("cka_rbf", "cka_rbf_debiased"),
    "rdm": ("rsa", "rsa_pearson"),
    "neighbours": ("mutual_knn",),
    "nearness": ("mutual_knn",),
    "variance": ("svcca", "svcca_insample"),
    "components": (*_CCA, *_IN_SAMPLE),
    "folds": (*_CCA, "linear_predictivity"),
}
"""The measures that a key is for; without any of them it would do nothing."""


class SimilarityConfig(Section):
    """How alike layers are: to acoustic features, to each other, and between checkpoints and models."""

    measures: Annotated[tuple[SimilarityMeasure, ...], Field(min_length=1)] = ("cka_debiased", "cka")
    """Measures to compute. `cka` is inflated where clips are few against dimensions, and is reported beside its
    baseline. CKA takes seconds for 200 layers; `procrustes`, the CCA family and `linear_predictivity` take up to a
    second for each pair or layer."""
    egemaps: Flag = True
    """Every layer of every checkpoint against eGeMAPS (Study E's Figure 1)."""
    functional_groups: Flag = True
    """Also against each group of the eGeMAPS functionals: frequency, energy, spectral, temporal."""
    pairs: tuple[Literal["within", "across", "models", "all"], ...] = ("within", "across", "models")
    """Pairs of layers: `within` each checkpoint; `across` from a model's first checkpoint to its later ones; between
    `models`, at equal steps; or `all`, which grows with the square of the checkpoints."""
    permutations: Whole = 199
    """Permutations of the clips for p values; 0 for none. The smallest p value is 1 over this plus 1, and the time
    grows with it."""
    permute: Literal["clips", "within-speaker", "speakers"] = "clips"
    """What is permuted. `clips`: a small p may only say that both know the speaker; `within-speaker`: to know the
    speaker is not enough; `speakers`: whole speakers, for clips in the same order for each."""
    permuted: Literal["features", "all"] = "features"
    """Which pairs get a p value: those with eGeMAPS, or all (neighbouring layers are alike beyond doubt)."""
    intervals: Literal["none", "fast", "all"] = "fast"
    """Intervals over speakers: `none`; `fast`, where they cost little (CKA, distance correlation, RSA, k-NN); `all`
    computes the other measures again without each speaker."""
    minibatch_above: Count = 20_000
    """With more clips than this, `cka_minibatch` takes the place of `cka_debiased` and `cka`."""
    batch: Annotated[int, Field(strict=True, ge=4)] = 256
    """Clips of a minibatch of CKA."""
    rbf_fraction: Positive = 0.8
    """Bandwidth of the RBF kernel, as a share of the median distance between clips."""
    rdm: Literal["correlation", "euclidean"] = "correlation"
    """What RSA calls dissimilar: 1 less the correlation of two clips' features, or their distance."""
    neighbours: Count = 10
    """Nearest neighbours that `mutual_knn` compares."""
    nearness: Literal["cosine", "euclidean"] = "cosine"
    """What makes neighbours of `mutual_knn` near."""
    variance: Annotated[float, Field(strict=True, gt=0, le=1)] = 0.99
    """The share of the variance that the components of `svcca` keep."""
    components: Count | None = None
    """Principal components that every CCA starts from at most; null: all."""
    folds: Annotated[int, Field(strict=True, ge=2)] = 5
    """Parts without a common speaker for the held-out values of CCA and linear predictivity."""

    @model_validator(mode="after")
    def _refuse_idle(self) -> Self:
        for key, measures in _OF_MEASURES.items():
            changed = getattr(self, key) != type(self).model_fields[key].default
            if changed and not {*measures} & {*self.measures}:
                raise ValueError(
                    f"analyze.similarity.{key} would be ignored: none of analyze.similarity.measures is "
                    f"{' or '.join(measures)}"
                )
        if self.permutations == 0 and (self.permute, self.permuted) != ("clips", "features"):
            raise ValueError(
                "analyze.similarity.permute and analyze.similarity.permuted would be ignored: "
                "analyze.similarity.permutations is 0"
            )
        return self


def similarity_clashes(similarity: SimilarityConfig, study: StudyConfig) -> Iterator[Clash]:
    """Yield what the options of similarity and what a study extracts exclude."""
    if similarity.egemaps and not study.extract.egemaps:
        yield Clash(("analyze.similarity.egemaps", "extract.egemaps"), "needs extract.egemaps: true")


ANALYSIS = Analysis(
    name="similarity",
    section=SimilarityConfig,
    summary="CKA with eGeMAPS and between layers.",
    run="ser_probe.steps.analyses.similarity:run",
    tables=("similarity",),
    needs=frozenset({"caches", "features", "splits", "by_corpus"}),
    accepts=frozenset({"seed"}),
    command=OwnCommand(instead={"egemaps": "--features"}),
    figures=("ser_probe.report.similarity.figures:SIMILARITY_FIGURES",),
    headlines=(
        "ser_probe.report.similarity.headline:SIMILARITY_HEADLINE",
        "ser_probe.report.similarity.headline:LAYERS_HEADLINE",
    ),
    clashes=similarity_clashes,
)
