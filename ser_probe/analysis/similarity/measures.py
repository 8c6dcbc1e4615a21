"""All measures of similarity: the range of each, what leaves it unchanged, what computes it.

The definitions are in the modules that compute them. Measures that share their costly part are computed together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, pi

from ser_probe.analysis.similarity.cca_pairs import cca_measures
from ser_probe.analysis.similarity.cka import cka_measures
from ser_probe.analysis.similarity.distance_correlation import distance_measures
from ser_probe.analysis.similarity.linear_predictivity import predictivity_measures
from ser_probe.analysis.similarity.minibatch import minibatch_measures
from ser_probe.analysis.similarity.mutual_knn import neighbour_measures
from ser_probe.analysis.similarity.options import Options, PairValues
from ser_probe.analysis.similarity.procrustes import shape_measures
from ser_probe.analysis.similarity.rbf import rbf_measures
from ser_probe.analysis.similarity.rsa import rsa_measures
from ser_probe.analysis.similarity.sources import Sides, Source
from ser_probe.errors import AnalysisError, did_you_mean

Family = Callable[[Sequence[str], Sides, Options], dict[str, PairValues]]

ROTATION, SCALING, SHIFT, LINEAR = "rotation", "isotropic scaling", "shift", "invertible linear maps"
_SHAPE = (ROTATION, SCALING, SHIFT)


@dataclass(frozen=True)
class Measure:
    """How a measure of similarity is computed and behaves; its title and source stand in `names.measures.SIMILARITY`.

    Attributes:
        bounds: Its range.
        unchanged: Its value for a representation and itself; None where that depends (held-out estimates).
        invariances: Maps of either side that leave it unchanged.
        family: The function that computes it, with its relatives.
        interval: Whether intervals over speakers come with it.
    """

    bounds: tuple[float, float]
    unchanged: float | None
    invariances: tuple[str, ...]
    family: Family
    interval: bool = False


_SIGNED, _POSITIVE = (-1.0, 1.0), (0.0, 1.0)


MEASURES: dict[str, Measure] = {
    "cka_debiased": Measure(_SIGNED, 1.0, _SHAPE, cka_measures, interval=True),
    "cka": Measure(_POSITIVE, 1.0, _SHAPE, cka_measures, interval=True),
    "cka_rbf": Measure(_POSITIVE, 1.0, _SHAPE, rbf_measures, interval=True),
    "cka_rbf_debiased": Measure(_SIGNED, 1.0, _SHAPE, rbf_measures, interval=True),
    "cka_minibatch": Measure(_SIGNED, 1.0, _SHAPE, minibatch_measures),
    "cca_mean": Measure(_SIGNED, 1.0, (LINEAR, *_SHAPE), cca_measures),
    "cca_mean_squared": Measure(_SIGNED, 1.0, (LINEAR, *_SHAPE), cca_measures),
    "svcca": Measure(_SIGNED, 1.0, _SHAPE, cca_measures),
    "pwcca": Measure(_SIGNED, 1.0, (SCALING, SHIFT), cca_measures),
    "cca_mean_insample": Measure(_POSITIVE, 1.0, (LINEAR, *_SHAPE), cca_measures),
    "cca_mean_squared_insample": Measure(_POSITIVE, 1.0, (LINEAR, *_SHAPE), cca_measures),
    "svcca_insample": Measure(_POSITIVE, 1.0, _SHAPE, cca_measures),
    "pwcca_insample": Measure(_POSITIVE, 1.0, (SCALING, SHIFT), cca_measures),
    "procrustes": Measure(_POSITIVE, 0.0, _SHAPE, shape_measures),
    "angular_shape": Measure((0.0, pi / 2), 0.0, _SHAPE, shape_measures),
    "rsa": Measure(_SIGNED, 1.0, (SCALING,), rsa_measures, interval=True),
    "rsa_pearson": Measure(_SIGNED, 1.0, (SCALING,), rsa_measures, interval=True),
    "mutual_knn": Measure(_POSITIVE, 1.0, (ROTATION, SCALING), neighbour_measures, interval=True),
    "distance_correlation": Measure(_POSITIVE, 1.0, _SHAPE, distance_measures, interval=True),
    "distance_correlation_debiased": Measure(_SIGNED, 1.0, _SHAPE, distance_measures, interval=True),
    "linear_predictivity": Measure((-inf, 1.0), None, _SHAPE, predictivity_measures),
}
"""All measures by name."""

DEFAULT = ("cka_debiased", "cka")


def measure_pairs(names: Sequence[str], sides: Sides, options: Options) -> dict[str, PairValues]:
    """Compute measures of all pairs, or of those asked for; relatives together.

    Args:
        names: Names of `MEASURES`.
        sides: What is compared with what.
        options: Speakers and choices.

    Returns:
        Values by name, in the order of the names.

    Raises:
        AnalysisError: If a name is unknown, or the data do not admit a measure.
    """
    for name in names:
        if name not in MEASURES:
            raise AnalysisError(f"There is no measure {name!r}", fix=did_you_mean(name, MEASURES))
    values: dict[str, PairValues] = {}
    for family in dict.fromkeys(MEASURES[name].family for name in names):
        values |= family([name for name in names if MEASURES[name].family is family], sides, options)
    return {name: values[name] for name in names}


def compare_two(name: str, x: Source, y: Source, options: Options | None = None) -> float:
    """Return one measure of two representations [N, D1] and [N, D2]; raises as `measure_pairs`."""
    sides = Sides([x], [y], ["x"], ["y"])
    return float(measure_pairs([name], sides, options or Options())[name].value[0, 0])
