"""UMAP panels that can be compared with each other. The door to umap.

UMAP (McInnes et al. 2018) keeps neighbourhoods, not distances: gaps between clusters, their sizes and densities mean
nothing, and the map is one of many. Two maps fitted apart cannot be compared at all, so the panels of one layer over
checkpoints share their layout here, in one of two ways:

- `joint`: all panels are laid out together (umap's AlignedUMAP): each keeps its own neighbourhoods, and each clip is
  drawn towards itself in the neighbouring panels. Clips that did not move still wander, by about a tenth of the
  map's spread; sudden moves are smoothed a little.
- `reference`: one map fitted on the reference; later panels are placed among its clips. Unmoved clips stay put. It
  shows what became of the old map and nothing else: what is new in a panel has no place on it, and clips that
  moved far land on whatever old cluster is nearest.

Measured on 300 clips whose clusters by speaker regroup by label over 8 panels (trustworthiness; maps of each panel
alone reach 0.97): joint 0.95 to 0.98 in every panel; reference 0.97 at first, 0.65 at the end. One map of all
panels stacked, which suggests itself, falls to 0.63 where panels hardly differ, because a clip's nearest neighbours
are then its own copies; it is therefore not offered.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness

from ser_probe.analysis.compiled_umap import keep_compiled
from ser_probe.analysis.inputs import check_features
from ser_probe.errors import AnalysisError
from ser_probe.runtime import logger

Fit = Literal["joint", "reference"]


@dataclass(frozen=True)
class UmapPanels:
    """Coordinates of panels in one layout.

    Args:
        coordinates: Per panel, float32 [N, 2], no unit.
        trustworthiness: Per panel, in [0, 1]: how far its neighbours on the map are its neighbours in the features
            (Venna & Kaski 2001). Low: do not read the panel.
        fit: How the layout was made.
    """

    coordinates: list[np.ndarray]
    trustworthiness: list[float]
    fit: Fit


def umap_panels(
    reference: np.ndarray,
    panels: Sequence[np.ndarray],
    *,
    seed: int = 0,
    n_neighbors: int = 15,
    min_dist: float = 0.1,
    pca_dims: int = 50,
    fit: Fit = "joint",
) -> UmapPanels:
    """Map a layer's clips at several checkpoints, in one layout. The same seed gives the same maps.

    Args:
        reference: The layer at the reference (step 0), [N, D]. It is the first panel.
        panels: The layer at later checkpoints, in order, each [N, D] of the same clips.
        seed: Seed of PCA and UMAP.
        n_neighbors: Neighbours that define a clip's surroundings; small shows detail, large shows outlines.
        min_dist: How close clips may lie on the map.
        pca_dims: Dimensions that PCA leaves for UMAP.
        fit: `joint` or `reference`; see the module.

    Returns:
        The reference and then the other panels, in order.

    Raises:
        AnalysisError: If there are too few clips for n_neighbors, NaN, or panels of another shape.
    """
    all_panels = [
        check_features(panel, f"The features of panel {index}") for index, panel in enumerate([reference, *panels])
    ]
    _check_panels(all_panels, n_neighbors, fit)
    dims = min(pca_dims, *all_panels[0].shape)
    # AlignedUMAP draws its layout from transform_seed, which is fixed unless set.
    options = {"n_neighbors": n_neighbors, "min_dist": min_dist, "random_state": seed, "transform_seed": seed}
    logger.info("Loading UMAP; its first map on a machine takes up to a minute, because it is compiled")
    with warnings.catch_warnings(), _torch_threads_restored():
        # umap warns of its single thread (the price of a repeatable map) and of spectral starts that it replaces.
        warnings.simplefilter("ignore")
        place = _place_aligned if fit == "joint" and panels else _place_on_reference
        coordinates = place(all_panels, dims, seed, options)
    trusted = [_trust(*pair, n_neighbors) for pair in zip(all_panels, coordinates, strict=True)]
    return UmapPanels(coordinates, trusted, fit)


@contextmanager
def _torch_threads_restored() -> Iterator[None]:
    """Restore torch's number of threads: numba sets that of OpenMP for the whole process, and the last bits of
    everything extracted or trained after a map would depend on it."""
    import torch

    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check_panels(panels: Sequence[np.ndarray], n_neighbors: int, fit: str) -> None:
    if fit not in get_args(Fit):
        raise AnalysisError("The way to fit the map is not known", expected=", ".join(get_args(Fit)), found=fit)
    if len({panel.shape for panel in panels}) > 1:
        raise AnalysisError(
            "Panels of different shape cannot share a layout",
            expected="the same clips and width in each",
            found=", ".join(str(panel.shape) for panel in panels),
            fix="join them on clip_id first, and use checkpoints of one model",
        )
    if n_neighbors < 2 or len(panels[0]) <= 2 * n_neighbors:
        raise AnalysisError(
            "There are too few clips for a map with this many neighbours",
            expected=f"n_neighbors of 2 or more, and more than {2 * max(n_neighbors, 2)} clips",
            found=f"n_neighbors {n_neighbors}, {len(panels[0])} clips",
            fix="set analyze.umap.neighbours lower, or show more clips: set analyze.splits to all",
        )


def _load_umap() -> Any:
    import umap

    keep_compiled()
    return umap


def _place_aligned(panels: Sequence[np.ndarray], dims: int, seed: int, options: dict[str, Any]) -> list[np.ndarray]:
    umap = _load_umap()

    # Only distances within a panel enter a map, so each panel may have axes of its own.
    reduced = [PCA(dims, random_state=seed).fit_transform(panel).astype(np.float32) for panel in panels]
    same_clip = {clip: clip for clip in range(len(panels[0]))}
    mapper = umap.AlignedUMAP(**options).fit(reduced, relations=[same_clip] * (len(panels) - 1))
    return [np.asarray(panel, dtype=np.float32) for panel in mapper.embeddings_]


def _place_on_reference(
    panels: Sequence[np.ndarray], dims: int, seed: int, options: dict[str, Any]
) -> list[np.ndarray]:
    umap = _load_umap()
    pca = PCA(dims, random_state=seed).fit(panels[0])
    reduced = [pca.transform(panel).astype(np.float32) for panel in panels]
    mapper = umap.UMAP(**options, n_jobs=1).fit(reduced[0])
    return [mapper.embedding_, *(mapper.transform(panel) for panel in reduced[1:])]


def _trust(features: np.ndarray, coordinates: np.ndarray, n_neighbors: int) -> float:
    return float(trustworthiness(features, coordinates, n_neighbors=n_neighbors))
