"""The families of probes there are, by name: what each trains, and what it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ser_probe.analysis.probes.families import ClassProbes, Folds
from ser_probe.analysis.probes.layer_sum import fit_layer_sum
from ser_probe.analysis.probes.logistic import fit_logistic
from ser_probe.analysis.probes.mlp import fit_mlp
from ser_probe.analysis.probes.neighbours import fit_knn
from ser_probe.analysis.probes.ridge import fit_ridge
from ser_probe.analysis.probes.softmax import fit_softmax
from ser_probe.errors import AnalysisError, did_you_mean
from ser_probe.runtime import SILENT, Progress


@dataclass(frozen=True)
class FamilySpec:
    """A family of probes.

    Args:
        fit: `fit(x, labels, folds, *, n_classes, ...)` for classes, `fit(x, targets, folds, *, groups, ...)` for
            numbers.
        target: `classes` or `numbers`.
        has_seeds: Whether `fit` takes seeds; families without give one answer to each row of labels.
        needs_validation: Whether validation clips stop its training. They choose the layer of every family.
        needs_groups: Whether `fit` takes the speakers, for inner folds.
        sums_layers: Whether a probe takes all layers of a checkpoint, [L, N, D], as one representation.
    """

    fit: Callable[..., Any]
    target: str = "classes"
    has_seeds: bool = True
    needs_validation: bool = True
    needs_groups: bool = False
    sums_layers: bool = False


FAMILIES: dict[str, FamilySpec] = {
    "linear": FamilySpec(fit_softmax),
    "logistic": FamilySpec(fit_logistic, has_seeds=False, needs_validation=False, needs_groups=True),
    "mlp": FamilySpec(fit_mlp),
    "knn": FamilySpec(fit_knn, has_seeds=False, needs_validation=False, needs_groups=True),
    "layer_sum": FamilySpec(fit_layer_sum, sums_layers=True),
    "ridge": FamilySpec(fit_ridge, target="numbers", has_seeds=False, needs_validation=False, needs_groups=True),
}
"""By their name in a study."""


def family(name: str, target_kind: str) -> FamilySpec:
    """Return a family that can predict a kind of target.

    Raises:
        AnalysisError: If there is none of this name, or it predicts the other kind.
    """
    if name not in FAMILIES:
        raise AnalysisError(f"There is no family of probes {name!r}", fix=did_you_mean(name, FAMILIES))
    spec = FAMILIES[name]
    if spec.target != target_kind:
        fitting = ", ".join(key for key, candidate in FAMILIES.items() if candidate.target == target_kind)
        raise AnalysisError(
            f"The family {name!r} does not predict {target_kind}",
            expected=fitting,
            found=f"{name}, which predicts {spec.target}",
            fix=f"take one of these, or say that the target holds {spec.target} (task: {spec.target})",
        )
    return spec


def train_classes(
    spec: FamilySpec,
    x: np.ndarray,
    labels: np.ndarray,
    folds: Folds,
    *,
    groups: np.ndarray,
    n_classes: int,
    seeds: Sequence[int],
    options: Mapping[str, Any] | None = None,
    progress: Progress = SILENT,
) -> ClassProbes:
    """Train a family of classifiers, whatever it needs.

    Args:
        spec: From `FAMILIES`.
        x: Raw features [R, N, D]; all layers of one checkpoint for families that sum layers.
        labels: int64 [S, N], or [N] for all seeds.
        folds: The divisions.
        groups: Each clip's speaker [N].
        n_classes: C.
        seeds: S seeds.
        options: Further arguments of the family.
        progress: Advanced as the family does.
    """
    given = np.broadcast_to(np.asarray(labels, np.int64), (len(seeds), x.shape[1]))
    known: dict[str, Any] = {"groups": groups} if spec.needs_groups else {}
    known |= {"seeds": seeds} if spec.has_seeds else {}
    return spec.fit(  # type: ignore[no-any-return]
        x, given, folds, n_classes=n_classes, progress=OnlyAdvances(progress), **known, **(options or {})
    )


class OnlyAdvances:
    """A progress inside another one: it advances the outer bar, and neither starts nor ends one of its own."""

    def __init__(self, outer: Progress) -> None:
        self._outer = outer

    def start(self, what: str, total: float, unit: str) -> None:
        """Do nothing: the outer bar runs already."""

    def advance(self, amount: float = 1, **fields: object) -> None:
        """Advance the outer bar."""
        self._outer.advance(amount, **fields)

    def finish(self) -> None:
        """Do nothing: the outer bar ends by itself."""

    def say(self, message: str) -> None:
        """Print a line above the outer bar."""
        self._outer.say(message)
