"""All measures of similarity: what each is called, its range, what leaves it unchanged, where it comes from.

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
    """A measure of similarity.

    Attributes:
        title: What it is called.
        bounds: Its range.
        symmetric: Whether the two sides can be exchanged.
        unchanged: Its value for a representation and itself; None where that depends (held-out estimates).
        invariances: Maps of either side that leave it unchanged.
        source: Where it comes from.
        family: The function that computes it, with its relatives.
        distance: Whether small means alike.
        interval: Whether intervals over speakers come with it.
    """

    title: str
    bounds: tuple[float, float]
    symmetric: bool
    unchanged: float | None
    invariances: tuple[str, ...]
    source: str
    family: Family
    distance: bool = False
    interval: bool = False


_KORNBLITH = "Kornblith et al. 2019"
_SIGNED, _POSITIVE = (-1.0, 1.0), (0.0, 1.0)


MEASURES: dict[str, Measure] = {
    "cka_debiased": Measure(
        "debiased linear CKA", _SIGNED, True, 1.0, _SHAPE, f"{_KORNBLITH}; Song et al. 2007, eq. 4", cka_measures,
        interval=True,
    ),
    "cka": Measure("biased linear CKA", _POSITIVE, True, 1.0, _SHAPE, _KORNBLITH, cka_measures, interval=True),
    "cka_rbf": Measure("biased RBF CKA", _POSITIVE, True, 1.0, _SHAPE, _KORNBLITH, rbf_measures, interval=True),
    "cka_rbf_debiased": Measure(
        "debiased RBF CKA", _SIGNED, True, 1.0, _SHAPE, f"{_KORNBLITH}; Song et al. 2007, eq. 4", rbf_measures,
        interval=True,
    ),
    "cka_minibatch": Measure(
        "minibatch linear CKA", _SIGNED, True, 1.0, _SHAPE, "Nguyen et al. 2021, eq. 3", minibatch_measures
    ),
    "cca_mean": Measure(
        "mean canonical correlation", _SIGNED, True, 1.0, (LINEAR, *_SHAPE), "Raghu et al. 2017", cca_measures
    ),
    "cca_mean_squared": Measure(
        "mean squared canonical correlation", _SIGNED, True, 1.0, (LINEAR, *_SHAPE), _KORNBLITH, cca_measures
    ),
    "svcca": Measure("SVCCA", _SIGNED, True, 1.0, _SHAPE, "Raghu et al. 2017", cca_measures),
    "pwcca": Measure("PWCCA", _SIGNED, False, 1.0, (SCALING, SHIFT), "Morcos et al. 2018", cca_measures),
    "cca_mean_insample": Measure(
        "mean canonical correlation, in-sample", _POSITIVE, True, 1.0, (LINEAR, *_SHAPE), "Raghu et al. 2017",
        cca_measures,
    ),
    "cca_mean_squared_insample": Measure(
        "mean squared canonical correlation, in-sample", _POSITIVE, True, 1.0, (LINEAR, *_SHAPE), _KORNBLITH,
        cca_measures,
    ),
    "svcca_insample": Measure("SVCCA, in-sample", _POSITIVE, True, 1.0, _SHAPE, "Raghu et al. 2017", cca_measures),
    "pwcca_insample": Measure(
        "PWCCA, in-sample", _POSITIVE, False, 1.0, (SCALING, SHIFT), "Morcos et al. 2018", cca_measures
    ),
    "procrustes": Measure(
        "Procrustes distance", _POSITIVE, True, 0.0, _SHAPE, "Ding et al. 2021, eq. 4, halved", shape_measures,
        distance=True,
    ),
    "angular_shape": Measure(
        "angular shape distance (rad)", (0.0, pi / 2), True, 0.0, _SHAPE, "Williams et al. 2021, eq. 5",
        shape_measures, distance=True,
    ),
    "rsa": Measure("RSA (Spearman)", _SIGNED, True, 1.0, (SCALING,), "Kriegeskorte et al. 2008", rsa_measures,
                   interval=True),
    "rsa_pearson": Measure("RSA (Pearson)", _SIGNED, True, 1.0, (SCALING,), "Kriegeskorte et al. 2008", rsa_measures,
                           interval=True),
    "mutual_knn": Measure(
        "mutual k-NN overlap", _POSITIVE, True, 1.0, (ROTATION, SCALING), "Huh et al. 2024, eq. 11",
        neighbour_measures, interval=True,
    ),
    "distance_correlation": Measure(
        "distance correlation", _POSITIVE, True, 1.0, _SHAPE, "Szekely et al. 2007", distance_measures, interval=True
    ),
    "distance_correlation_debiased": Measure(
        "bias-corrected distance correlation", _SIGNED, True, 1.0, _SHAPE, "Szekely & Rizzo 2014", distance_measures,
        interval=True,
    ),
    "linear_predictivity": Measure(
        "linear predictivity (R2, a to b)", (-inf, 1.0), False, None, _SHAPE, "ridge, held-out speakers",
        predictivity_measures,
    ),
}  # fmt: skip
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
