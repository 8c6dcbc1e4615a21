"""Permutation p values: uniform without a relation, small with one, and what each way of permuting asks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ser_probe.analysis.similarity.measures import MEASURES, compare_two
from ser_probe.analysis.similarity.options import Options
from ser_probe.analysis.similarity.permutation import _KINDS, draw_orders, permute_pairs
from ser_probe.analysis.similarity.sources import Sides
from ser_probe.errors import AnalysisError

SPEAKERS = np.repeat(list("abcde"), 6)


def _p(name: str, x: np.ndarray, y: np.ndarray, orders: np.ndarray, **options: object) -> float:
    given = Options(**{"neighbours": 4, "batch": 20, "folds": 3, **options})  # type: ignore[arg-type]
    return float(permute_pairs([name], Sides([x], [y]), given, orders)[name].p[0, 0])


@pytest.mark.parametrize("name", MEASURES)
def test_related_and_unrelated_are_told_apart(name: str, rng: np.random.Generator) -> None:
    x, unrelated = rng.standard_normal((2, 30, 4))
    orders = draw_orders(30, 19)
    assert _p(name, x, x[:, :3] + 0.3 * unrelated[:, :3], orders) == pytest.approx(0.05)
    assert _p(name, x, rng.standard_normal((30, 4)), orders) > 0.05


@pytest.mark.parametrize("name", sorted(_KINDS))
@pytest.mark.parametrize("single", [False, True])
def test_permuting_a_matrix_is_permuting_the_clips(name: str, single: bool, rng: np.random.Generator) -> None:
    dtype = np.float32 if single else np.float64
    x, y = (rng.standard_normal((25, d)).astype(dtype) for d in (4, 3))
    orders = draw_orders(25, 40, seed=1)
    observed = compare_two(name, x, y)
    as_large = sum(compare_two(name, x, y[order]) >= observed for order in orders)
    for memory in (2**20, 3000):
        assert _p(name, x, y, orders, memory_bytes=memory) == (1 + as_large) / 41


def test_p_is_uniform_without_relation(rng: np.random.Generator) -> None:
    p = np.array([
        _p("cka_debiased", rng.standard_normal((20, 3)), rng.standard_normal((20, 4)), draw_orders(20, 19, seed=seed))
        for seed in range(300)
    ])  # fmt: skip
    # Three standard errors of the mean of 300 uniform values; the mean of 1/20 .. 20/20 is 0.525.
    assert p.mean() == pytest.approx(0.525, abs=0.05)
    assert (p <= 0.1).mean() == pytest.approx(0.1, abs=0.052)


def test_to_know_the_speaker_is_enough_for_clips_and_not_within_speakers(rng: np.random.Generator) -> None:
    p = {"clips": [], "within-speaker": []}  # type: ignore[var-annotated]
    for seed in range(40):
        of_speaker = np.repeat(2 * rng.standard_normal((5, 3)), 6, axis=0)
        x, y = (of_speaker + rng.standard_normal((30, 3)) for _ in range(2))
        for permute, found in p.items():
            orders = draw_orders(30, 39, permute=permute, groups=SPEAKERS, seed=seed)  # type: ignore[arg-type]
            found.append(_p("cka_debiased", x, y, orders))
    assert np.mean(p["clips"]) < 0.05
    # Uniform: mean 0.51, and its standard error over 40 is 0.045.
    assert np.mean(p["within-speaker"]) == pytest.approx(0.51, abs=0.15)


def test_what_is_exchanged(rng: np.random.Generator) -> None:
    clips = draw_orders(30, 50, seed=2)
    assert all(sorted(order) == list(range(30)) for order in clips)
    assert len({tuple(order) for order in clips}) == 50
    within = draw_orders(30, 20, permute="within-speaker", groups=SPEAKERS)
    assert all((SPEAKERS[order] == SPEAKERS).all() for order in within)
    assert (within != np.arange(30)).any()
    uneven = np.array(list("aabbcccdd"))
    blocks = draw_orders(9, 60, permute="speakers", groups=uneven)
    for order in blocks:
        assert order[4:7].tolist() == [4, 5, 6], "no other speaker has three clips"
        moved = [tuple(order[start : start + 2]) for start in (0, 2, 7)]
        assert sorted(moved) == [(0, 1), (2, 3), (7, 8)]
    assert {tuple(order) for order in blocks} == {
        (*sum(((start, start + 1) for start in order[:2]), ()), 4, 5, 6, order[2], order[2] + 1)
        for order in itertools.permutations((0, 2, 7))
    }
    np.testing.assert_array_equal(blocks, draw_orders(9, 60, permute="speakers", groups=uneven))


@pytest.mark.parametrize(
    ("permute", "groups", "message"),
    [
        ("within-speaker", None, "speakers must be known"),
        ("speakers", None, "speakers must be known"),
        ("within-speaker", np.arange(9), "Nothing can be exchanged by permuting within-speaker"),
        ("speakers", np.array(list("aabbbcccc")), "Nothing can be exchanged by permuting speakers"),
    ],
)
def test_nothing_to_exchange(permute: str, groups: np.ndarray | None, message: str) -> None:
    with pytest.raises(AnalysisError, match=message):
        draw_orders(9, 5, permute=permute, groups=groups)  # type: ignore[arg-type]


def test_pairs_that_are_not_asked_for_have_no_p(rng: np.random.Generator) -> None:
    arrays, wanted = list(rng.standard_normal((3, 30, 4))), np.zeros((3, 3), bool)
    wanted[0, 1] = wanted[2, 2] = True
    for name in ("cka_debiased", "procrustes"):
        null = permute_pairs([name], Sides(arrays, wanted=wanted), Options(), draw_orders(30, 9))[name]
        np.testing.assert_array_equal(np.isfinite(null.p), wanted)
        assert null.p[2, 2] == 0.1


def test_equal_values_count_whatever_the_rounding(rng: np.random.Generator) -> None:
    """Every order of copies of one clip gives the same value: p must be 1, not decided by the last bit."""
    x = np.repeat(rng.standard_normal((2, 40)), 8, axis=0).astype(np.float32)
    within = draw_orders(16, 19, permute="within-speaker", groups=np.repeat(["a", "b"], 8))
    assert _p("cka_debiased", x, x, within) == 1
