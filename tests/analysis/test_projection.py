"""Panels share a layout, repeat for a seed, and say how far they can be trusted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import silhouette_score

from ser_probe.analysis.projection import UmapPanels, umap_panels
from ser_probe.errors import AnalysisError

N, WIDTH = 90, 24
OPTIONS = {"n_neighbors": 8, "seed": 3}


@pytest.fixture(scope="module")
def clips() -> dict[str, np.ndarray]:
    """Clips that cluster by speaker at first and by label at last."""
    rng = np.random.default_rng(5)
    speaker, label = rng.integers(0, 4, N), rng.integers(0, 5, N)
    first = 2 * rng.standard_normal((4, WIDTH))[speaker] + rng.standard_normal((N, WIDTH))
    last = 2 * rng.standard_normal((5, WIDTH))[label] + rng.standard_normal((N, WIDTH))
    return {"first": first, "last": last, "speaker": speaker, "label": label}


@pytest.fixture(scope="module")
def joint(clips: dict[str, np.ndarray]) -> UmapPanels:
    return umap_panels(clips["first"], [clips["first"], clips["last"]], **OPTIONS)


@pytest.fixture(scope="module")
def on_reference(clips: dict[str, np.ndarray]) -> UmapPanels:
    return umap_panels(clips["first"], [clips["first"], clips["last"]], fit="reference", **OPTIONS)


def test_the_same_seed_gives_the_same_map(clips: dict[str, np.ndarray], joint: UmapPanels) -> None:
    again = umap_panels(clips["first"], [clips["first"], clips["last"]], **OPTIONS)
    for a, b in zip(joint.coordinates, again.coordinates, strict=True):
        np.testing.assert_array_equal(a, b)
    other = umap_panels(clips["first"], [clips["first"], clips["last"]], **{**OPTIONS, "seed": 4})
    assert (other.coordinates[0] != joint.coordinates[0]).any()


def test_torch_keeps_its_threads(clips: dict[str, np.ndarray]) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        umap_panels(clips["first"], [clips["last"]], fit="reference", **OPTIONS)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_clips_that_did_not_move_stay(joint: UmapPanels, on_reference: UmapPanels) -> None:
    np.testing.assert_array_equal(on_reference.coordinates[0], on_reference.coordinates[1])
    first, same, last = joint.coordinates
    spread = first.std(axis=0).mean()
    assert np.median(np.linalg.norm(same - first, axis=1)) < 0.4 * spread
    assert np.median(np.linalg.norm(last - first, axis=1)) > 0.4 * spread


def test_joint_panels_show_what_is_new_and_placed_ones_do_not(
    clips: dict[str, np.ndarray], joint: UmapPanels, on_reference: UmapPanels
) -> None:
    assert silhouette_score(joint.coordinates[0], clips["speaker"]) > 0.4
    assert silhouette_score(joint.coordinates[2], clips["label"]) > 0.4
    assert joint.trustworthiness[2] > on_reference.trustworthiness[2] + 0.05
    assert min(joint.trustworthiness) > 0.8


def test_shapes(joint: UmapPanels, on_reference: UmapPanels, clips: dict[str, np.ndarray]) -> None:
    for panels in (joint, on_reference):
        assert [panel.shape for panel in panels.coordinates] == [(N, 2)] * 3
        assert {panel.dtype for panel in panels.coordinates} == {np.dtype(np.float32)}
        assert len(panels.trustworthiness) == 3
    alone = umap_panels(clips["first"], [], pca_dims=500, **OPTIONS)
    assert len(alone.coordinates) == 1


def test_too_few_clips_for_the_neighbours() -> None:
    with pytest.raises(AnalysisError, match="too few clips for a map") as caught:
        umap_panels(np.eye(30), [], n_neighbors=15)
    assert "more than 30 clips" in str(caught.value.expected)
    with pytest.raises(AnalysisError, match="too few clips for a map"):
        umap_panels(np.eye(30), [], n_neighbors=1)


def test_panels_of_other_clips_an_unknown_fit_and_nan(clips: dict[str, np.ndarray]) -> None:
    first = clips["first"]
    with pytest.raises(AnalysisError, match="different shape cannot share"):
        umap_panels(first, [first[:-1]])
    with pytest.raises(AnalysisError, match="way to fit the map is not known"):
        umap_panels(first, [], fit="stacked")  # type: ignore[arg-type]
    with pytest.raises(AnalysisError, match="NaN or infinite"):
        umap_panels(first, [first * np.nan])
