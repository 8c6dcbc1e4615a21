"""The engine of all pairs: precision, blocks, sets of speakers, and representations that are read on use."""

from __future__ import annotations

import numpy as np
import pytest

from ser_probe.analysis.similarity.cka import cka_pairs
from ser_probe.analysis.similarity.sources import MOST_SETS, prepare, speaker_sets
from tests.analysis.similarity.oracle_cka import linear_cka

TARGET = 1e-6  # the issue's
N, WIDTH = 300, 256


def _layers(rng: np.random.Generator) -> list[np.ndarray]:
    """Float32 layers with a mean 50 times their spread, as transformers have, one of them with an outlier dimension."""
    common = rng.standard_normal((N, 20))
    layers = [
        common @ rng.standard_normal((20, WIDTH))
        + 4 * rng.standard_normal((N, WIDTH))
        + 250 * rng.standard_normal(WIDTH)
        for _ in range(4)
    ]
    layers[2][:, 7] *= 300
    layers.append(rng.standard_normal((N, WIDTH)))  # unrelated
    return [layer.astype(np.float32) for layer in layers]


def test_products_in_float32_are_those_of_float64_within_the_target(rng: np.random.Generator) -> None:
    layers = _layers(rng)
    groups = rng.integers(0, 7, N).astype(str)
    single = cka_pairs(layers, groups=groups, memory_bytes=200_000)
    double = cka_pairs([layer.astype(np.float64) for layer in layers], groups=groups)
    for found, expected in ((single["cka_debiased"], double["cka_debiased"]), (single["cka"], double["cka"])):
        np.testing.assert_allclose(found.value, expected.value, atol=TARGET)
        np.testing.assert_allclose(found.ci_low, expected.ci_low, atol=10 * TARGET)
        assert found.value.dtype == np.float64
    np.testing.assert_allclose(single["cka"].baseline, double["cka"].baseline, atol=TARGET)
    for i, j in ((0, 1), (1, 2), (3, 4)):
        assert single["cka_debiased"].value[i, j] == pytest.approx(linear_cka(layers[i], layers[j]), abs=TARGET)


def test_without_centring_float32_would_not_do(rng: np.random.Generator) -> None:
    """The counter-case: the same products of features as they are."""
    x, y = (layer + np.float32(1000) for layer in _layers(rng)[:2])
    centring = np.eye(N, dtype=np.float32) - np.float32(1 / N)
    k, l = (centring @ (z @ z.T) @ centring for z in (x, y))  # noqa: E741 - the paper's letters
    naive = (k * l).sum() / np.sqrt((k * k).sum() * (l * l).sum())
    assert abs(naive - linear_cka(x, y, debiased=False)) > 10 * TARGET


def test_sources_are_read_on_use_and_never_changed(rng: np.random.Generator) -> None:
    layers, reads = _layers(rng), []

    def read(index: int) -> np.ndarray:
        reads.append(index)
        return layers[index]

    before = [layer.copy() for layer in layers]
    lazy = cka_pairs([lambda i=i: read(i) for i in range(5)], memory_bytes=10**9)
    np.testing.assert_array_equal(
        lazy["cka_debiased"].value, cka_pairs(layers, memory_bytes=10**9)["cka_debiased"].value
    )
    # Once to check it, once for its margins, once for its block of rows.
    assert [reads.count(i) for i in range(5)] == [3] * 5
    assert all((a == b).all() for a, b in zip(before, layers, strict=True))


def test_a_memory_map_is_a_source(rng: np.random.Generator, tmp_path: object) -> None:
    layers = _layers(rng)
    stored = np.memmap(f"{tmp_path}/layers.f32", np.float32, "w+", shape=(5, N, WIDTH))
    stored[:] = layers
    found = cka_pairs(list(stored))["cka_debiased"].value
    np.testing.assert_array_equal(found, cka_pairs(layers)["cka_debiased"].value)


def test_more_speakers_than_sets_are_left_out_in_sets(rng: np.random.Generator) -> None:
    groups = np.repeat(np.arange(150), 2).astype(str)
    sets = speaker_sets(groups)
    assert len(set(sets)) == MOST_SETS
    assert all(len(set(sets[groups == speaker])) == 1 for speaker in set(groups))
    np.testing.assert_array_equal(sets, speaker_sets(groups))
    x = rng.standard_normal((N, 6))
    y = x + rng.standard_normal((N, 6))
    dealt = cka_pairs([x], [y], groups=groups)["cka_debiased"]
    single = cka_pairs([x], [y], groups=np.repeat(np.arange(60), 5).astype(str))["cka_debiased"]
    widths = [each.ci_high[0, 0] - each.ci_low[0, 0] for each in (dealt, single)]
    # Independent clips: however they are dealt into speakers, the spread is the same, up to chance.
    assert widths[0] == pytest.approx(widths[1], rel=0.4)


def test_integers_are_multiplied_in_float64(rng: np.random.Generator) -> None:
    counts = rng.integers(0, 200, (40, 6), dtype=np.uint8)
    assert prepare([counts], "x").dtype == np.float64
    assert prepare([counts.astype(np.float16)], "x").dtype == np.float32
    assert cka_pairs([counts])["cka_debiased"].value[0, 0] == pytest.approx(1)
    expected = linear_cka(counts.astype(float), counts[:, :3].astype(float))
    assert cka_pairs([counts], [counts[:, :3]])["cka_debiased"].value[0, 0] == pytest.approx(expected, abs=1e-10)
