"""Canonical correlations: are there directions in one representation that follow directions in the other?

Sources: Raghu, Gilmer, Yosinski & Sohl-Dickstein 2017 (mean correlation; SVCCA: principal components first); Morcos,
Raghu & Bengio 2018 (PWCCA: directions weighted by how much of the first representation they account for).

| measure | what | range | unrelated clips |
|---|---|---|---|
| `cca_mean` | mean canonical correlation | [-1, 1] | 0 |
| `cca_mean_squared` | mean of the correlation times its size, the square with its sign | [-1, 1] | 0 |
| `svcca` | `cca_mean` of the components with 99 % of the variance | [-1, 1] | 0 |
| `pwcca` | weighted mean; not symmetric, weights are those of the first | [-1, 1] | 0 |
| `..._insample` | the same, measured on the clips that the directions were fitted on | [0, 1] | far above 0 |

Directions are fitted on some speakers and the correlations measured on the others, in folds: fitted and measured on the
same clips, d directions of n clips always correlate, by about sqrt(d / n). The in-sample values of the literature are
there for comparison; their baseline is what unrelated clips give: exact for the mean square (the mean over all
permutations is max(d1, d2) / (n - 1)), and from the limit law of Wachter (1980) for the mean.

- 1 for equal representations. `cca_mean` and `cca_mean_squared` are unchanged by invertible linear maps and shifts of
  either side; `svcca` by shift, rotation and isotropic scaling; `pwcca` by shift and isotropic scaling, and by any
  invertible linear map of the second side, but not by rotation of the first: its features lend the weights.
- With fewer than 2 d fitting clips, for the larger d after components, directions are mostly noise: flagged. Where
  d1 + d2 exceed the fitting clips, correlations of 1 exist for any data: the value is refused, NaN with a flag.

Arrays of one pair here; all pairs in `cca_pairs`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SUFFIX = "_insample"
FEW, REFUSED = "n < 2 d", "refused: n < d1 + d2"


@dataclass(frozen=True)
class Whitened:
    """A representation in its principal components, on the clips that directions are fitted on and on others.

    Attributes:
        fitted: Scores with orthonormal columns [M, K].
        held_out: The other clips in the same coordinates [T, K].
        loadings: Singular values times components [K, D]: fitted @ loadings are the centred features.
    """

    fitted: np.ndarray
    held_out: np.ndarray
    loadings: np.ndarray


def whiten(
    features: np.ndarray, fit: np.ndarray, held_out: np.ndarray, *, variance: float = 1.0, components: int | None = None
) -> Whitened:
    """Return a representation's principal components, fitted on some clips.

    Args:
        features: Features [N, D].
        fit: The clips to fit on [M].
        held_out: The other clips [T].
        variance: The share of the variance to keep; components that are rounding are left out in any case.
        components: The most components to keep.
    """
    rows = features[fit]
    mean = rows.mean(axis=0)
    left, sizes, right = np.linalg.svd(rows - mean, full_matrices=False)
    # Features are stored in float32: smaller components are its rounding.
    kept = int((sizes > sizes[0] * max(rows.shape) * np.finfo(np.float32).eps).sum())
    shares = np.cumsum(sizes**2) / (sizes**2).sum()
    if variance < 1:
        kept = min(kept, int(np.searchsorted(shares, variance)) + 1)
    kept = min(kept, components or kept)
    scores = (features[held_out] - mean) @ right[:kept].T / sizes[:kept]
    return Whitened(left[:, :kept], scores, sizes[:kept, None] * right[:kept])


def correlate(x: Whitened, y: Whitened, *, in_sample: bool = False) -> dict[str, float]:
    """Return `cca_mean`, `cca_mean_squared` and `pwcca` of two whitened representations of the same clips."""
    products = (x.fitted.T @ y.fitted).astype(np.float64)
    left, fitted, right = np.linalg.svd(products, full_matrices=False)
    correlations = fitted if in_sample else _correlations(x.held_out @ left, y.held_out @ right.T)
    # Morcos et al. 2018, section 3: how far each direction lies along the features of the first representation.
    weights = np.abs(left.T @ x.loadings).sum(axis=1)
    return {
        "cca_mean": float(correlations.mean()),
        "cca_mean_squared": float((correlations * np.abs(correlations)).mean()),
        "pwcca": float(weights @ correlations / weights.sum()),
    }


def _correlations(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the correlation of each column with its fellow; 0 where one does not vary."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    norms = np.linalg.norm(x, axis=0) * np.linalg.norm(y, axis=0)
    return np.divide((x * y).sum(axis=0), norms, out=np.zeros(len(norms)), where=norms > 0)


def flag_of(x: Whitened, y: Whitened) -> str:
    """Return why a correlation must be read with care, or not at all; empty where neither."""
    m, d_x, d_y = len(x.fitted), x.fitted.shape[1], y.fitted.shape[1]
    # Centring takes one dimension of the clips.
    if d_x + d_y > m - 1:
        return REFUSED
    return FEW if m < 2 * max(d_x, d_y) else ""


def baseline_of(name: str, x: Whitened, y: Whitened) -> float:
    """Return a measure's mean for unrelated clips; NaN where it is refused."""
    if not name.endswith(SUFFIX):
        return 0.0
    m, (low, high) = len(x.fitted), sorted((x.fitted.shape[1], y.fitted.shape[1]))
    if low + high > m - 1:
        return np.nan
    return high / (m - 1) if is_measure(name, "cca_mean_squared") else wachter_mean(low / (m - 1), high / (m - 1))


def wachter_mean(low: float, high: float) -> float:
    """Return the mean canonical correlation of unrelated data, in the limit of many clips and dimensions.

    Args:
        low: The fewer dimensions over the clips less one.
        high: The more dimensions over the clips less one; together at most 1.

    The squared correlations x have the density sqrt((r+ - x)(x - r-)) / (2 pi low x (1 - x)) (Wachter 1980).
    """
    middle = low * (1 - high) + high * (1 - low)
    half = 2 * np.sqrt(low * (1 - low) * high * (1 - high))
    angles = (np.arange(2000) + 0.5) * np.pi / 2000
    squares = middle + half * np.cos(angles)
    density = (half * np.sin(angles)) ** 2 / (squares * (1 - squares))
    return float((density * np.sqrt(squares)).sum() / density.sum())


def is_measure(name: str, measure: str) -> bool:
    """Say whether a name is that of a measure, held-out or in-sample."""
    return name.removesuffix(SUFFIX) == measure
