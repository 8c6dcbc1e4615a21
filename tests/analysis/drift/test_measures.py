"""Each measure of drift on two states: closed forms, what leaves it unchanged, what changes it, other routes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
import scipy.stats
from sklearn.neighbors import NearestNeighbors

from ser_probe.analysis.drift.alignment import procrustes, shared_coordinates
from ser_probe.analysis.drift.directions import mean_cosine, mean_cosine_centred, relative_norm_change
from ser_probe.analysis.drift.moments import MeanShift, Spread, covariance_shift
from ser_probe.analysis.drift.neighbours import knn_overlap
from ser_probe.analysis.similarity.mutual_knn import nearest_neighbours

EXACT = 1e-10
SQUARED = 1e-7  # roots of eigenvalues of squared products: half the digits of float64
N, D, K = 90, 6, 7
SPEAKERS = np.repeat(list("abcdefghi"), 10)
ALL = np.ones(N, bool)

Value = Callable[[np.ndarray, np.ndarray], float]


def nearest(x: np.ndarray, k: int) -> np.ndarray:
    return nearest_neighbours(x, k, "euclidean")


MEASURED: dict[str, Value] = {
    "procrustes": lambda x, y: procrustes(x, y).value(ALL),
    "mean_cosine": lambda x, y: mean_cosine(x, y).value(ALL),
    "mean_cosine_centred": lambda x, y: mean_cosine_centred(x, y).value(ALL),
    "knn_overlap": lambda x, y: knn_overlap(nearest(x, K), nearest(y, K)).value(ALL),
    "relative_norm_change": lambda x, y: relative_norm_change(x, y).value(ALL),
    "mean_shift": lambda x, y: MeanShift(x, y).of(ALL)[0],
    "covariance_shift": lambda x, y: covariance_shift(Spread(x), Spread(y)).value(ALL),
}
UNCHANGED = {name: float(name in ("mean_cosine", "mean_cosine_centred", "knn_overlap")) for name in MEASURED}
# What a change of y alone does to each measure: nothing (0) or something (1).
SEES = {
    "rotation": dict(procrustes=0, mean_cosine=1, mean_cosine_centred=1, knn_overlap=0, relative_norm_change=0,
                     mean_shift=1, covariance_shift=1),
    "shift": dict(procrustes=0, mean_cosine=1, mean_cosine_centred=0, knn_overlap=0, relative_norm_change=1,
                  mean_shift=1, covariance_shift=0),
    "scaling": dict(procrustes=0, mean_cosine=0, mean_cosine_centred=0, knn_overlap=0, relative_norm_change=1,
                    mean_shift=1, covariance_shift=1),
    "places": dict(procrustes=1, mean_cosine=1, mean_cosine_centred=1, knn_overlap=1, relative_norm_change=0,
                   mean_shift=0, covariance_shift=0),
    "noise": dict(procrustes=1, mean_cosine=1, mean_cosine_centred=1, knn_overlap=1, relative_norm_change=1,
                  mean_shift=0, covariance_shift=1),
}  # fmt: skip


@pytest.fixture
def x(rng: np.random.Generator) -> np.ndarray:
    """Features with axes of different length, so that a rotation turns their covariance."""
    return rng.standard_normal((N, D)) * np.arange(1, D + 1) ** -0.5 + 1


def moved(x: np.ndarray, how: str, rng: np.random.Generator) -> np.ndarray:
    return {
        "rotation": lambda: x @ scipy.stats.ortho_group.rvs(D, random_state=rng),
        "shift": lambda: x + np.linspace(0.5, 2, D),
        "scaling": lambda: 1.7 * x,
        "places": lambda: x[rng.permutation(N)],
        "noise": lambda: x + 0.5 * rng.standard_normal(x.shape),
    }[how]()


@pytest.mark.parametrize("how", SEES)
@pytest.mark.parametrize("name", MEASURED)
def test_what_a_measure_sees_and_what_it_does_not(name: str, how: str, x: np.ndarray, rng: np.random.Generator) -> None:
    value = MEASURED[name](x, moved(x, how, rng))
    if SEES[how][name]:
        assert abs(value - UNCHANGED[name]) > 1e-3
    else:
        # A mean that does not move is estimated without bias, not without error.
        tolerance = 3 / N if name == "mean_shift" else SQUARED
        assert value == pytest.approx(UNCHANGED[name], abs=tolerance)


@pytest.mark.parametrize("name", MEASURED)
def test_no_change_is_no_drift(name: str, x: np.ndarray) -> None:
    assert MEASURED[name](x, x.copy()) == pytest.approx(UNCHANGED[name], abs=SQUARED)


@pytest.mark.parametrize("name", MEASURED)
def test_one_rotation_and_scaling_of_both_is_nothing(name: str, x: np.ndarray, rng: np.random.Generator) -> None:
    y, rotation = moved(x, "noise", rng), scipy.stats.ortho_group.rvs(D, random_state=rng)
    assert MEASURED[name](3 * x @ rotation, 3 * y @ rotation) == pytest.approx(MEASURED[name](x, y), abs=SQUARED)


@pytest.mark.parametrize("name", MEASURED)
def test_coordinates_of_the_rows_alone_change_no_measure(name: str, rng: np.random.Generator) -> None:
    x = rng.standard_normal((N, 5 * N)) + 0.3
    y = x + rng.standard_normal(x.shape)
    small = shared_coordinates(x, y)
    assert small[0].shape == (N, 2 * N)
    assert MEASURED[name](*small) == pytest.approx(MEASURED[name](x, y), abs=SQUARED)


@pytest.mark.parametrize("angle", [0.0, 0.3, np.pi / 3, np.pi])
def test_a_rotation_of_the_plane_gives_the_cosine_of_its_angle(angle: float, rng: np.random.Generator) -> None:
    x = rng.standard_normal((N, 2)) + 2
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    assert mean_cosine(x, x @ turn).value(ALL) == pytest.approx(np.cos(angle), abs=EXACT)
    assert mean_cosine_centred(x, x @ turn + 9).value(ALL) == pytest.approx(np.cos(angle), abs=EXACT)


def test_a_shift_is_a_change_of_the_mean_only(x: np.ndarray) -> None:
    shift = np.linspace(-1, 1, D)
    assert MEASURED["mean_shift"](x, x + shift) == pytest.approx(shift @ shift / x.var(axis=0).sum(), abs=EXACT)
    assert MEASURED["covariance_shift"](x, x + shift) == pytest.approx(0, abs=SQUARED)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_a_scaled_covariance_has_a_closed_form(factor: float, x: np.ndarray) -> None:
    y = x.mean(axis=0) + factor * (x - x.mean(axis=0))
    assert MEASURED["covariance_shift"](x, y) == pytest.approx((factor - 1) ** 2, abs=SQUARED)
    assert MEASURED["mean_shift"](x, y) == pytest.approx(-((factor - 1) ** 2) / (N - 1), abs=EXACT)


def test_mean_and_covariance_shift_are_the_frechet_distance(x: np.ndarray, rng: np.random.Generator) -> None:
    y = moved(x, "noise", rng) @ rng.standard_normal((D, D))
    before, after = np.cov(x.T, bias=True), np.cov(y.T, bias=True)
    root = scipy.linalg.sqrtm(before)
    bures = np.trace(before + after - 2 * scipy.linalg.sqrtm(root @ after @ root).real)
    assert MEASURED["covariance_shift"](x, y) == pytest.approx(bures / np.trace(before), abs=SQUARED)
    moves = y - x
    products = moves @ moves.T
    np.fill_diagonal(products, 0)
    assert MEASURED["mean_shift"](x, y) == pytest.approx(products.sum() / (N * (N - 1)) / np.trace(before), abs=EXACT)
    means = ((y.mean(axis=0) - x.mean(axis=0)) ** 2).sum() / np.trace(before)
    assert MEASURED["mean_shift"](x, y) == pytest.approx(means, rel=0.05)


def test_the_mean_shift_is_what_moves_of_different_speakers_have_in_common(x: np.ndarray) -> None:
    rng = np.random.default_rng(5)
    common, sizes = np.linspace(0, 1, D), np.array([20, 7, 13, 30, 5, 15])
    speakers = np.repeat(list("abcdef"), sizes)
    y = x + common + np.repeat(rng.standard_normal((6, D)), sizes, axis=0)
    moves, same = y - x, speakers[:, None] == speakers[None, :]
    expected = np.where(same, 0, moves @ moves.T).sum() / (~same).sum() / x.var(axis=0).sum()
    value, low, high = MeanShift(x, y, speakers).of(ALL)
    assert value == pytest.approx(expected, abs=EXACT)
    assert low < value < high


def test_moves_without_a_common_part_shift_no_mean_on_average() -> None:
    rng = np.random.default_rng(6)
    speakers = np.repeat(np.arange(8), 10).astype(str)
    found = []
    for _ in range(300):
        x = rng.standard_normal((80, 20))
        y = x + np.repeat(rng.standard_normal((8, 20)), 10, axis=0)
        found.append(MeanShift(x, y, speakers).of(np.ones(80, bool)))
    value, low, high = np.array(found).T
    error = value.std() / np.sqrt(300)
    assert abs(value.mean()) < 3 * error
    assert np.mean((low <= 0) & (high >= 0)) > 0.9
    # Counted plainly, the mean would seem to have moved by 1 / 8.
    assert value.mean() < 0.02


def test_procrustes_equals_scipy(x: np.ndarray, rng: np.random.Generator) -> None:
    y = moved(x, "noise", rng)
    a, b = (part / np.linalg.norm(part) for part in (x - x.mean(axis=0), y - y.mean(axis=0)))
    rotation, nuclear = scipy.linalg.orthogonal_procrustes(a, b)
    found = procrustes(x, y)
    assert found.value(ALL) == pytest.approx(1 - nuclear, abs=SQUARED)
    left_over = ((a @ rotation - b) ** 2).sum(axis=1) / 2
    np.testing.assert_allclose(found.over, left_over, atol=SQUARED, err_msg="what each clip has left over")


def test_neighbours_equal_those_of_sklearn(x: np.ndarray, rng: np.random.Generator) -> None:
    y = moved(x, "noise", rng)
    found = []
    for state in (x, y):
        theirs = NearestNeighbors(n_neighbors=K).fit(state).kneighbors(return_distance=False)
        np.testing.assert_array_equal(np.sort(nearest(state, K)), np.sort(theirs))
        found.append(theirs)
    shared = np.mean([len({*a} & {*b}) / K for a, b in zip(*found, strict=True)])
    assert MEASURED["knn_overlap"](x, y) == pytest.approx(shared, abs=EXACT)


def test_unrelated_features_share_neighbours_by_chance(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((2, 400, 5))
    overlap = knn_overlap(nearest(x, K), nearest(y, K)).value(np.ones(400, bool))
    assert overlap == pytest.approx(K / 399, abs=0.008)  # 4 standard deviations of 2800 draws, which are not quite free


def test_covariance_and_rotation_are_shared_out_among_the_clips(x: np.ndarray, rng: np.random.Generator) -> None:
    """The parts by which the jackknife goes are derivatives: a clip counted a little more changes the whole by them."""
    y, step = moved(x, "noise", rng), 1e-5

    def fidelity(weights: np.ndarray) -> float:
        a, b = (np.sqrt(weights)[:, None] * (state - state.mean(axis=0)) for state in (x, y))
        return float(np.linalg.svd(a @ b.T, compute_uv=False).sum())

    ratio = covariance_shift(Spread(x), Spread(y))
    for clip in (0, 17):
        bump = step * (np.arange(N) == clip)
        slope = (fidelity(1 + bump) - fidelity(1 - bump)) / (2 * step)
        own = sum(((state - state.mean(axis=0))[clip] ** 2).sum() for state in (x, y))
        assert ratio.over[clip] == pytest.approx(own - 2 * slope, abs=1e-5)


@pytest.mark.parametrize("name", ["procrustes", "covariance_shift", "mean_shift"])
def test_intervals_are_near_those_of_leaving_each_speaker_out(name: str, rng: np.random.Generator) -> None:
    speakers = np.repeat(np.arange(12), 50).astype(str)
    n = len(speakers)
    x = rng.standard_normal((n, D))
    y = x + rng.standard_normal((n, D)) * np.repeat(np.linspace(0.2, 1.0, 12), 50)[:, None] + 0.3
    left_out = []
    for speaker in np.unique(speakers):
        a, b = x[speakers != speaker], y[speakers != speaker]
        every = np.ones(len(a), bool)
        left_out.append(
            {
                "procrustes": lambda a, b, e: procrustes(a, b).value(e),
                "covariance_shift": lambda a, b, e: covariance_shift(Spread(a), Spread(b)).value(e),
                "mean_shift": lambda a, b, e: MeanShift(a, b, speakers[speakers != speaker]).of(e)[0],  # noqa: B023
            }[name](a, b, every)
        )
    error = np.sqrt(11) * np.std(left_out)
    every = np.ones(n, bool)
    if name == "mean_shift":
        _, low, high = MeanShift(x, y, speakers).of(every)
        tolerance = EXACT  # the same sums, subtracted
    else:
        ratio = procrustes(x, y) if name == "procrustes" else covariance_shift(Spread(x), Spread(y))
        low, high = ratio.interval(every, speakers, (0, np.inf))
        tolerance = 0.1  # to first order
    assert (high - low) / 2 == pytest.approx(scipy.stats.t.ppf(0.975, 11) * error, rel=max(tolerance, 1e-8))


def test_a_clip_at_the_mean_has_no_direction_and_is_left_out(x: np.ndarray) -> None:
    x[3] = x[np.arange(N) != 3].mean(axis=0)
    found = mean_cosine_centred(x, 2 * x)
    assert found.value(ALL) == pytest.approx(1, abs=EXACT)
    assert found.under.sum() == N - 1
    assert np.isnan(found.value(np.arange(N) == 3))


def test_more_columns_than_dimensions_are_no_fault(rng: np.random.Generator) -> None:
    x = rng.standard_normal((N, 3)) @ rng.standard_normal((3, D))
    for name, measured in MEASURED.items():
        assert measured(x, x.copy()) == pytest.approx(UNCHANGED[name], abs=SQUARED), name
    assert MEASURED["covariance_shift"](x, 2 * x) == pytest.approx(1, abs=SQUARED)
