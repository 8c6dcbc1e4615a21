"""The contract of every measure in the registry: range, self-similarity, symmetry, invariances, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from ser_probe.analysis.similarity.measures import (
    LINEAR,
    MEASURES,
    ROTATION,
    SCALING,
    SHIFT,
    compare_two,
    measure_pairs,
)
from ser_probe.analysis.similarity.options import Options
from ser_probe.analysis.similarity.sources import Sides
from ser_probe.errors import AnalysisError
from ser_probe.names.measures import SIMILARITY

N, WIDTH = 60, 6
SPEAKERS = np.repeat(list("abcdef"), N // 6)
OPTIONS = Options(groups=SPEAKERS, neighbours=5, batch=20, folds=3)
# Exact, but for rounding of float64 products; an arc cosine turns 1e-16 near 0 into 1e-8.
EXACT, EXACT_ANGLE = 1e-9, 1e-6
# Ridge of the smallest strength, and strengths relative to eigenvalues that rounding moves.
PREDICTED = 1e-2
SINGLE = 1e-6  # what the issue allows products in float32


@pytest.fixture
def pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two related representations of one width, with a mean."""
    x = rng.standard_normal((N, WIDTH)) * np.linspace(1, 2, WIDTH) + 1
    return x, x @ rng.standard_normal((WIDTH, WIDTH)) + rng.standard_normal((N, WIDTH)) - 2


def exactness(name: str) -> float:
    return EXACT_ANGLE if name == "angular_shape" else EXACT


def moved(x: np.ndarray, how: str, rng: np.random.Generator) -> np.ndarray:
    width = x.shape[1]
    return {
        ROTATION: lambda: x @ scipy.stats.ortho_group.rvs(width, random_state=rng),
        SCALING: lambda: 37 * x,
        SHIFT: lambda: x + 10 * rng.standard_normal(width),
        LINEAR: lambda: x @ (rng.standard_normal((width, width)) * np.geomspace(1, 30, width)),
    }[how]()


@pytest.mark.parametrize("name", MEASURES)
def test_a_representation_is_like_itself(name: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    value, unchanged = compare_two(name, pair[0], pair[0], OPTIONS), MEASURES[name].unchanged
    if unchanged is None:
        assert value == pytest.approx(1, abs=PREDICTED)
    else:
        assert value == pytest.approx(unchanged, abs=exactness(name))


@pytest.mark.parametrize("name", MEASURES)
def test_range_and_order(name: str, pair: tuple[np.ndarray, np.ndarray], rng: np.random.Generator) -> None:
    measure, (x, y) = MEASURES[name], pair
    values = [compare_two(name, x, other, OPTIONS) for other in (y, rng.standard_normal((N, 3)), -x)]
    low, high = measure.bounds
    assert all(low <= value <= high for value in values)
    # Related representations are nearer than unrelated ones.
    assert (values[0] < values[1]) == SIMILARITY[name].distance
    assert abs(values[0] - values[1]) > 0.05


@pytest.mark.parametrize("name", MEASURES)
def test_symmetry_where_it_is_stated(name: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = pair[0], pair[1][:, :4]
    there, back = compare_two(name, x, y, OPTIONS), compare_two(name, y, x, OPTIONS)
    assert (there == pytest.approx(back, abs=exactness(name))) == SIMILARITY[name].symmetric


@pytest.mark.parametrize("how", [ROTATION, SCALING, SHIFT, LINEAR])
@pytest.mark.parametrize("name", MEASURES)
def test_what_leaves_it_unchanged_and_what_does_not(
    name: str, how: str, pair: tuple[np.ndarray, np.ndarray], rng: np.random.Generator
) -> None:
    x, y = pair
    value, changed = compare_two(name, x, y, OPTIONS), compare_two(name, moved(x, how, rng), y, OPTIONS)
    if how in MEASURES[name].invariances:
        assert changed == pytest.approx(value, abs=1e-7)
        assert compare_two(name, x, moved(y, how, rng), OPTIONS) == pytest.approx(value, abs=1e-7)
    else:
        assert abs(changed - value) > 1e-3


@pytest.mark.parametrize("name", MEASURES)
def test_a_new_order_of_the_clips_of_one_side_is_noticed(
    name: str, pair: tuple[np.ndarray, np.ndarray], rng: np.random.Generator
) -> None:
    x, y = pair
    order = rng.permutation(N)
    assert abs(compare_two(name, x, y[order], OPTIONS) - compare_two(name, x, y, OPTIONS)) > 0.05


@pytest.mark.parametrize("name", [name for name in MEASURES if name != "cka_minibatch"])
def test_a_new_order_of_the_clips_of_both_sides_is_not(
    name: str, pair: tuple[np.ndarray, np.ndarray], rng: np.random.Generator
) -> None:
    x, y = pair
    order = rng.permutation(N)
    reordered = Options(groups=SPEAKERS[order], neighbours=5, batch=20, folds=3)
    assert compare_two(name, x[order], y[order], reordered) == pytest.approx(compare_two(name, x, y, OPTIONS), abs=1e-9)


@pytest.mark.parametrize("name", MEASURES)
def test_the_matrix_is_the_pairs_from_arrays_or_functions(
    name: str, pair: tuple[np.ndarray, np.ndarray], rng: np.random.Generator
) -> None:
    arrays = [*pair, pair[0][:, :3] + rng.standard_normal((N, 3))]
    (square,) = measure_pairs([name], Sides(arrays), OPTIONS).values()
    small = Options(groups=SPEAKERS, neighbours=5, batch=20, folds=3, memory_bytes=4000)
    (across,) = measure_pairs([name], Sides([lambda x=x: x for x in arrays], arrays[1:]), small).values()
    assert square.value.shape == (3, 3)
    assert across.value.shape == (3, 2)
    np.testing.assert_allclose(square.value[:, 1:], across.value, atol=exactness(name))
    np.testing.assert_allclose(square.ci_low[:, 1:], across.ci_low, atol=1e-8)
    np.testing.assert_allclose(square.baseline[:, 1:], across.baseline, atol=1e-9)
    assert square.value[0, 2] == pytest.approx(compare_two(name, arrays[0], arrays[2], OPTIONS), abs=exactness(name))
    assert np.isfinite(square.ci_low).all() == MEASURES[name].interval
    if MEASURES[name].interval:
        assert (square.ci_low <= square.value + EXACT).all()
        assert (square.value <= square.ci_high + EXACT).all()


@pytest.mark.parametrize("name", MEASURES)
def test_float32_features_give_the_values_of_float64(name: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    single = [(x + 100).astype(np.float32) for x in pair]
    double = [x.astype(np.float64) for x in single]
    expected = compare_two(name, *double, OPTIONS)
    assert compare_two(name, *single, OPTIONS) == pytest.approx(expected, abs=SINGLE)


@pytest.mark.parametrize("name", MEASURES)
def test_only_pairs_that_are_asked_for_are_paid_for(name: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    arrays, wanted = [*pair, pair[0] + 1], np.zeros((3, 3), bool)
    wanted[0, 1] = True
    (some,) = measure_pairs([name], Sides(arrays, wanted=wanted), OPTIONS).values()
    (everything,) = measure_pairs([name], Sides(arrays), OPTIONS).values()
    assert some.value[0, 1] == pytest.approx(everything.value[0, 1], abs=1e-12)


@pytest.mark.parametrize("name", MEASURES)
def test_what_cannot_be_compared_is_refused(name: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = pair
    hole = y.copy()
    hole[7, 2] = np.nan
    faults = {
        "NaN or infinite": (x, hole),
        "do not vary": (x, np.full((N, 4), 0.3)),
        "same clips": (x, y[:-1]),
        "at least 4 clips": (x[:3], y[:3]),
    }
    for message, (left, right) in faults.items():
        with pytest.raises(AnalysisError, match=message):
            compare_two(name, left, right, Options(neighbours=1, batch=20))


@pytest.mark.parametrize("name", MEASURES)
def test_one_constant_feature_among_others_changes_nothing(name: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = pair
    value = compare_two(name, x, y, OPTIONS)
    constant = np.zeros((N, 1))
    if name in ("rsa", "rsa_pearson"):
        # A correlation within a clip is over its features; a zero is one more of them.
        assert abs(compare_two(name, np.hstack([x, constant]), y, OPTIONS) - value) > 1e-4
    else:
        assert compare_two(name, np.hstack([x, constant]), y, OPTIONS) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_says_what_it_is(name: str) -> None:
    measure = MEASURES[name]
    assert measure.bounds[0] < measure.bounds[1]
    assert measure.unchanged is None or measure.bounds[0] <= measure.unchanged <= measure.bounds[1]


def test_an_unknown_measure(pair: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(AnalysisError, match="There is no measure 'cka_debaised'") as caught:
        compare_two("cka_debaised", *pair)
    assert str(caught.value.fix).startswith("did you mean 'cka_debiased'")
