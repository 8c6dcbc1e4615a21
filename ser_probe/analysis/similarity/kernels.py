"""Kernels: how similar two clips are within one representation, which is an entry of its pair matrix.

Measures such as CKA, distance correlation and RSA compare two representations through their N x N matrices of such
entries. Each kernel here turns a block of inner products into a block of entries, so that all of them share one fast
matrix product. No kernel may look at more than the two clips and a parameter that was set on all clips.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ser_probe.errors import AnalysisError

# Clips whose pairs set the median distance; more would change it by a thousandth and take longer than the rest.
_MEDIAN_CLIPS = 2000
# Spread below this share of the features' size is rounding, not variation.
_ROUNDING = 1e-7


@dataclass(frozen=True)
class Kernel:
    """A kernel over pairs of clips.

    Attributes:
        name: What it is called.
        prepare: Takes features [N, D] and the representation's name; returns those whose inner products count.
        parameter: Takes these and their squared norms [N]; returns the kernel's parameter.
        entries: Turns inner products [A, B] into entries, in place, given the squared norms [A, 1] and [1, B] and the
            parameter; None where they are the entries.
        diagonal: Takes the squared norms; returns the entries of clips with themselves [N].
        raw: Whether `prepare` takes features as they are; else centred, and scaled to norm 1 in all.
    """

    name: str
    prepare: Callable[[np.ndarray, str], np.ndarray]
    parameter: Callable[[np.ndarray, np.ndarray], float]
    entries: Callable[[np.ndarray, np.ndarray, np.ndarray, float], None] | None
    diagonal: Callable[[np.ndarray], np.ndarray]
    raw: bool = False


def linear() -> Kernel:
    """Return the kernel of linear CKA: the inner product of centred features."""
    return Kernel("linear", _as_they_are, _none, None, lambda norms: norms)


def rbf(fraction: float) -> Kernel:
    """Return exp(-d^2 / 2 s^2) with s a fraction of the median distance (Kornblith et al. 2019, section 4)."""

    def bandwidth(features: np.ndarray, norms: np.ndarray) -> float:
        return 1 / (2 * (fraction * median_distance(features, norms)) ** 2)

    def entries(products: np.ndarray, left: np.ndarray, right: np.ndarray, scale: float) -> None:
        _squared_distances(products, left, right)
        products *= -scale
        np.exp(products, out=products)

    return Kernel("rbf", _as_they_are, bandwidth, entries, np.ones_like)


def distance() -> Kernel:
    """Return the Euclidean distance of two clips."""

    def entries(products: np.ndarray, left: np.ndarray, right: np.ndarray, _: float) -> None:
        _squared_distances(products, left, right)
        np.sqrt(products, out=products)

    return Kernel("distance", _as_they_are, _none, entries, np.zeros_like)


def correlation_distance() -> Kernel:
    """Return 1 less the Pearson correlation of two clips' features: the dissimilarity of RSA.

    Of vectors of norm 1 it is half their squared distance, which loses nothing where all clips resemble each other.
    """

    def entries(products: np.ndarray, left: np.ndarray, right: np.ndarray, _: float) -> None:
        _squared_distances(products, left, right)
        products *= 0.5

    return Kernel("correlation distance", _standardise_clips, _none, entries, np.zeros_like, raw=True)


def median_distance(features: np.ndarray, norms: np.ndarray) -> float:
    """Return the median Euclidean distance between clips, of some 2000 evenly spaced ones where there are more."""
    step = max(1, -(-len(features) // _MEDIAN_CLIPS))
    sample, sample_norms = features[::step], norms[::step]
    squared = sample @ sample.T
    _squared_distances(squared, sample_norms[:, None], sample_norms[None, :])
    return float(np.sqrt(np.median(squared[np.triu_indices(len(sample), 1)])))


def _as_they_are(features: np.ndarray, name: str) -> np.ndarray:
    return features


def _standardise_clips(features: np.ndarray, name: str) -> np.ndarray:
    wide = features.astype(np.float64)
    sizes = np.linalg.norm(wide, axis=1, keepdims=True)
    wide -= wide.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    if flat := int((norms <= _ROUNDING * sizes).sum()):
        raise AnalysisError(
            "A clip whose features are all equal has no correlation with others",
            where=name,
            found=f"{flat} of {len(features)} clips",
            expected="at least two features that differ within each clip",
            fix="compare by distance: rdm euclidean",
        )
    wide /= norms
    wide -= wide.mean(axis=0)
    return wide.astype(features.dtype)


def _none(features: np.ndarray, norms: np.ndarray) -> float:
    return 0.0


def _squared_distances(products: np.ndarray, left: np.ndarray, right: np.ndarray) -> None:
    """Turn inner products into squared distances, in place."""
    products *= -2
    products += left
    products += right
    np.maximum(products, 0, out=products)  # rounding: equal clips
