"""The section `analyze.acoustics`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ser_probe.config.analysis import Analysis, OwnCommand
from ser_probe.config.clashes import Clash, splits_not_extracted
from ser_probe.config.sections import Flag, Positive, Section, Split

if TYPE_CHECKING:
    from ser_probe.config.study import StudyConfig

_AtLeastTwo = Annotated[int, Field(strict=True, ge=2)]


class AcousticsConfig(Section):
    """What each layer keeps of the voice: every acoustic functional predicted from it, for unheard speakers."""

    splits: Literal["all"] | Annotated[tuple[Split, ...], Field(min_length=1)] | None = None
    """Clips to predict the functionals of; null: those of `analyze.splits`. `all` where these hold fewer than three
    speakers: no ridge sees the speaker it is tested on, but fine-tuning has."""
    folds: _AtLeastTwo = 5
    """Folds of speakers; with fewer speakers each is a fold. Needs three speakers."""
    inner_folds: _AtLeastTwo = 4
    """Folds of the training speakers that choose the strength of each functional's ridge."""
    strengths: Annotated[tuple[Positive, ...], Field(min_length=1)] = (10.0, 100.0, 1e3, 1e4, 1e5, 1e6)
    """Penalties to choose among, on standardised features."""
    transform: Literal["none", "rank"] = "none"
    """`rank` predicts normal scores of each functional's ranks: no clip can decide alone. With `none`, functionals
    whose variance lies in a few clips are named and kept out of means and rankings."""
    controls: tuple[Literal["shuffled_clips", "gender_only"], ...] = ("shuffled_clips", "gender_only")
    """What stands beside the values: the clips of each speaker shuffled, which keeps what the voice alone tells; and
    the mean of the speaker's gender."""
    cka: Flag = True
    """CKA with the functionals of each group beside the means of R2."""


def acoustics_clashes(acoustics: AcousticsConfig, study: StudyConfig) -> Iterator[Clash]:
    """Yield what the splits to look at and what a study extracts exclude."""
    if missing := splits_not_extracted(acoustics.splits or (), study.extract):
        yield Clash(("analyze.acoustics.splits", "extract.splits"), f"not in extract.splits: {', '.join(missing)}")


ANALYSIS = Analysis(
    name="acoustics",
    section=AcousticsConfig,
    summary="Which acoustic functionals each layer keeps; needs `extract.egemaps`.",
    run="ser_probe.steps.analyses.acoustics:run",
    tables=("acoustics", "acoustics_changes", "acoustics_groups", "acoustics_functionals"),
    needs=frozenset({"caches", "features", "control", "splits", "by_corpus", "seed"}),
    requires=frozenset({"features"}),
    command=OwnCommand(instead={"splits": "--splits"}),
    figures=("ser_probe.report.acoustics.figures:ACOUSTICS_FIGURES",),
    headlines=("ser_probe.report.acoustics.headline:ACOUSTICS_HEADLINE",),
    clashes=acoustics_clashes,
    lack="ser_probe.steps.analyses.acoustics:lack",
)
