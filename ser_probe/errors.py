"""What can go wrong in a way the user can mend.

Every fault of a user's file, config or environment is a `SerProbeError`: it says what, where, what was
expected, what was found, and what to do. Faults of ser-probe itself stay ordinary exceptions.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

_MOST_FAULTS = 12
_MOST_OPTIONS = 24


class SerProbeError(Exception):
    """A fault in the user's input or environment.

    Args:
        what: One sentence: what is wrong.
        where: Path, row or config key.
        expected: What would have been right.
        found: What was there instead.
        fix: What to do about it.
    """

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        expected: object = None,
        found: object = None,
        fix: str | None = None,
    ) -> None:
        self.what, self.where, self.expected, self.found, self.fix = what, where, expected, found, fix
        super().__init__(what)

    def __str__(self) -> str:
        details = {"where": self.where, "expected": self.expected, "found": self.found, "to do": self.fix}
        lines = [f"  {name}: {plain_value(detail)}" for name, detail in details.items() if detail is not None]
        return "\n".join([str(self.what), *lines])

    def line(self) -> str:
        """Return the fault in one line, for lists and logs: what, what was found, and what to do."""
        found = "" if self.found is None else f" (found: {self.found})"
        fix = "" if self.fix is None else f"; to do: {self.fix}"
        return " ".join(f"{self.what}{found}{fix}".split())

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only details survive the trip back from a worker process.
        return (_rebuild, (type(self), self.__dict__.copy()))


def _rebuild(kind: type[SerProbeError], state: dict[str, object]) -> SerProbeError:
    error = kind(str(state["what"]))
    error.__dict__.update(state)
    return error


class ConfigError(SerProbeError):
    """A study's configuration is wrong."""


class ManifestError(SerProbeError):
    """A manifest cannot be used."""


class CorpusError(SerProbeError):
    """A corpus folder is not what its importer expects."""


class SplitError(SerProbeError):
    """The speakers cannot be split as asked."""


class AudioError(SerProbeError):
    """A clip cannot be decoded or used."""


class BackboneError(SerProbeError):
    """A backbone cannot be found, loaded or run."""


class CheckpointError(SerProbeError):
    """A checkpoint is incomplete or does not fit."""


class CacheError(SerProbeError):
    """An embedding cache is missing, damaged or was made from something else."""


class AnalysisError(SerProbeError):
    """The data do not admit the analysis asked for."""


class NothingToDrawError(AnalysisError):
    """A table holds nothing of what a figure is about: no fault, where the analysis was not asked for it."""


class DamagedFileError(SerProbeError, ValueError):
    """A file does not hold what its place and name promise.

    It is a ValueError too, because whoever can make the file anew takes it for one more way to hold no value.
    """


class PackageError(SerProbeError):
    """A package that is needed is not installed, or cannot be loaded."""


class MissingExtraError(PackageError):
    """An optional dependency is not installed, or cannot be loaded."""


def plain_value(value: object) -> object:
    """Return a value as a person writes it: numpy's scalars and arrays as Python's, inside containers too."""
    # Without numpy's types, which would slow down every `--help`.
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return plain_value(value.tolist())
    if isinstance(value, Mapping):
        return {plain_value(key): plain_value(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        kind = next(kind for kind in (list, tuple, set, frozenset) if isinstance(value, kind))
        return kind(plain_value(each) for each in value)
    return value


def show(value: object) -> str:
    """Return a cell or value in quotes where it is text, as it is where it is a number, `an empty cell` for none."""
    value = plain_value(value)
    is_nan = isinstance(value, float) and value != value
    return "an empty cell" if is_nan or value is None or str(value) in ("", "<NA>", "NaT") else repr(value)


def collect(
    kind: type[SerProbeError],
    what: str,
    faults: Sequence[str],
    *,
    where: object = None,
    fix: str | None = None,
    shown: int = _MOST_FAULTS,
) -> SerProbeError:
    """Return one error that lists all faults, so that the user mends them in one go.

    Of more than `shown`, these many are listed and the others counted.
    """
    listed = "\n".join(f"  - {fault}" for fault in faults[:shown])
    if len(faults) > shown:
        listed += f"\n  - and {len(faults) - shown} more"
    plural = "" if len(faults) == 1 else "s"
    return kind(f"{what}: {len(faults)} fault{plural}\n{listed}", where=where, fix=fix)


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for near matches of a name, or the list of options where none is near."""
    known = sorted(options)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return "did you mean " + " or ".join(repr(match) for match in near) + "?"
    more = f" and {len(known) - _MOST_OPTIONS} more" if len(known) > _MOST_OPTIONS else ""
    return "known: " + ", ".join(known[:_MOST_OPTIONS]) + more
