"""The errors that a user can fix, and how their messages are worded. Layer 0.

Every fault of a user's file, config or environment is a `SerProbeError`: it says what is wrong, where, what was
expected, what was found, and what to do. Bugs in ser-probe itself stay ordinary exceptions.
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

    def brief(self) -> str:
        """Return the fault in a few words: what, and in brackets what was found."""
        return self.what + (f" ({self.found})" if self.found else "")

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
    """A table has no rows for a figure, which is no fault where the analysis was not asked for them."""


class DamagedFileError(SerProbeError, ValueError):
    """A file does not hold what its place and name promise.

    It is a ValueError too: code that can write the file again handles it like any other unreadable content.
    """


class PackageError(SerProbeError):
    """A package that is needed is not installed, or cannot be loaded."""


class MissingExtraError(PackageError):
    """An optional dependency is not installed, or cannot be loaded."""


def plain_value(value: object) -> object:
    """Return a value with numpy's scalars and arrays replaced by Python's, inside containers too."""
    # numpy is not imported for its types: that would slow down every `--help`.
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return plain_value(value.tolist())
    if isinstance(value, Mapping):
        return {plain_value(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        kind = next(kind for kind in (list, tuple, set, frozenset) if isinstance(value, kind))
        return kind(plain_value(item) for item in value)
    return value


def show(value: object) -> str:
    """Return a cell or value for a message: text in quotes, numbers as they are, `an empty cell` for none."""
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
    """Return one error that lists all faults, so that the user can fix them in one go.

    At most `shown` of them are listed; the others are counted.
    """
    listed = "\n".join(f"  - {fault}" for fault in faults[:shown])
    if len(faults) > shown:
        listed += f"\n  - and {len(faults) - shown} more"
    plural = "" if len(faults) == 1 else "s"
    return kind(f"{what}: {len(faults)} fault{plural}\n{listed}", where=where, fix=fix)


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for near matches of a name, or the list of options where none is near."""
    names = sorted(options)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return "did you mean " + " or ".join(repr(match) for match in near) + "?"
    return "known: " + shorten(names, _MOST_OPTIONS)


def shorten(names: Iterable[object], most: int = 10) -> str:
    """Return the first names, and how many more there are."""
    listed = list(map(str, names))
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more
