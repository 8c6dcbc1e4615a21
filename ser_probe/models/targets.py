"""What a classifier predicts: one of several classes, a distribution over them, or numbers. Loads no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ser_probe.errors import ManifestError
from ser_probe.names.training import CLASSES as CLASSES
from ser_probe.names.training import DISTRIBUTION as DISTRIBUTION
from ser_probe.names.training import NUMERIC as NUMERIC

KINDS = (CLASSES, DISTRIBUTION, NUMERIC)


@dataclass(frozen=True)
class Targets:
    """The meaning of a head's outputs.

    Args:
        kind: `classes` (one label a clip), `distribution` (shares over the classes, as of votes) or `numeric`.
        names: Class names, or names of the numeric targets, in the order of the outputs.
        offsets: For numeric targets the value of an output of 0, in the target's unit; else empty.
        scales: For numeric targets the change per unit of the output, in the target's unit; else empty.
    """

    kind: str
    names: tuple[str, ...]
    offsets: tuple[float, ...] = ()
    scales: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {self.kind!r}")
        expected = len(self.names) if self.kind == NUMERIC else 0
        if not len(self.offsets) == len(self.scales) == expected:
            raise ValueError(f"{self.kind} targets have {expected} offsets and scales")
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"each name must be another, not {list(self.names)!r}")
        if not all(map(math.isfinite, self.offsets)) or not all(0 < scale < math.inf for scale in self.scales):
            raise ValueError(f"offsets must be finite, and scales above 0, not {self.offsets} and {self.scales}")

    @property
    def is_numeric(self) -> bool:
        """Whether outputs are numbers, not the logits of classes."""
        return self.kind == NUMERIC

    def standardise(self, values: np.ndarray) -> np.ndarray:
        """Return numeric values, [N, K] in their units, as the outputs that stand for them, float32 [N, K]."""
        return ((values - np.array(self.offsets)) / np.array(self.scales)).astype(np.float32)

    def restore(self, outputs: np.ndarray) -> np.ndarray:
        """Return outputs [N, K] of numeric targets as values in their units, float64 [N, K]."""
        return np.asarray(outputs, np.float64) * np.array(self.scales) + np.array(self.offsets)

    def as_json(self) -> dict[str, Any]:
        """Return the same as JSON-like values, which `from_json` reads."""
        numbers = {"offsets": list(self.offsets), "scales": list(self.scales)} if self.is_numeric else {}
        return {"kind": self.kind, "names": list(self.names), **numbers}

    @classmethod
    def from_json(cls, values: Any) -> Targets:
        """Return the targets that `as_json` has written.

        Raises:
            ValueError: If they are not valid.
        """
        try:
            if not isinstance(values, Mapping):
                raise TypeError(f"expected kind and names, found {values!r}")
            names = values["names"]
            if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
                raise TypeError(f"expected a list of names, found {names!r}")
            numbers = {key: tuple(map(_number, values.get(key, ()))) for key in ("offsets", "scales")}
            return cls(str(values["kind"]), tuple(names), **numbers)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the targets of a classifier: {error}") from error


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected a number, found {value!r}")
    return float(value)


def numeric_targets(names: tuple[str, ...], values: np.ndarray) -> Targets:
    """Return numeric targets that are z-scored over the training clips.

    Args:
        names: Names of the targets, K.
        values: Values of the training clips in their units, [N, K].

    Raises:
        ManifestError: If the values are too large for their mean and spread to be numbers.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        finite = np.isfinite(values.mean(axis=0)) & np.isfinite(values.std(axis=0))
    if not finite.all():
        odd = [f"{name} up to {np.abs(values[:, k]).max():.3g}" for k, name in enumerate(names) if not finite[k]]
        raise ManifestError(
            "Numeric targets are too large: their spread is not a number", found="; ".join(odd),
            fix="give them in a larger unit, and look for entries that stand for a missing value",
        )  # fmt: skip
    spread = values.std(axis=0)
    scales = np.where(spread > 0, spread, 1.0)
    return Targets(NUMERIC, names, tuple(map(float, values.mean(axis=0))), tuple(map(float, scales)))
