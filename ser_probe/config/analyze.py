"""The section `analyze`: what is computed from the caches. Every analysis can be turned off with `null`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import Field, create_model

from ser_probe.config.analyses import ANALYSES
from ser_probe.config.sections import Flag, Section, Split

S = TypeVar("S", bound=Section)


class AnalyzeSection(Section):
    """What the analyses share; `AnalyzeConfig` adds a key for each of them."""

    splits: Literal["all"] | Annotated[tuple[Split, ...], Field(min_length=1)] = ("test",)
    """Clips that similarity, drift and maps look at; `[test]`: speakers that fine-tuning has not seen."""
    by_corpus: Flag = True
    """Where the clips are of several corpora, also analyse each corpus as if it were alone. Of similarity, drift,
    geometry and acoustics: pooled values say first of all what sets the corpora apart. Takes up to as long again."""

    def section(self, kind: type[S]) -> S | None:
        """Return the options of an analysis, by their class; None where it is turned off."""
        for name, analysis in ANALYSES.items():
            if analysis.section is kind:
                chosen = getattr(self, name)
                assert chosen is None or isinstance(chosen, kind)
                return chosen
        raise KeyError(kind.__name__)

    def options_of(self, analysis: str) -> Section | None:
        """Return the options of an analysis, by its name; None where it is turned off."""
        options = getattr(self, analysis)
        assert options is None or isinstance(options, Section)
        return options

    def wanted(self) -> dict[str, Section]:
        """Return the options of the analyses that are not turned off, by name, in the order in which they run."""
        options = {name: self.options_of(name) for name in ANALYSES}
        return {name: chosen for name, chosen in options.items() if chosen is not None}


def _keys() -> list[str]:
    """Return the names of the analyses as a study's YAML has them."""
    names = list(ANALYSES)
    for name, analysis in ANALYSES.items():
        if analysis.key_follows:
            names.remove(name)
            names.insert(names.index(analysis.key_follows) + 1, name)
    return names


def _fields() -> dict[str, Any]:
    entries = [ANALYSES[name] for name in _keys()]
    return {
        entry.name: (entry.section | None, Field(default=entry.section(), description=entry.summary))
        for entry in entries
    }


if TYPE_CHECKING:

    class AnalyzeConfig(AnalyzeSection): ...

else:
    AnalyzeConfig = create_model(
        "AnalyzeConfig",
        __base__=AnalyzeSection,
        __module__=__name__,
        __doc__="The analyses; `null` turns one off.",
        **_fields(),
    )
