"""What drift is measured by: for each measure its range, what leaves it unchanged, and its value where nothing moved.

Two states x and y of a layer, on the same N clips; x is the one measured from. Xc, Yc are centred over the clips,
tr S the total variance of x.

| measure | range | unchanged by | source |
|---|---|---|---|
| `cka_debiased` | [-1, 1] | shift, rotation, isotropic scaling | Kornblith et al. 2019; Song et al. 2007 |
| `procrustes` | [0, 1] | shift, rotation, isotropic scaling | Ding et al. 2021, halved, Xc and Yc of norm 1 |
| `mean_cosine` | [-1, 1] | scaling of single clips | - |
| `mean_cosine_centred` | [-1, 1] | shift, scaling of single centred clips | - |
| `knn_overlap` | [0, 1] | shift, rotation, isotropic scaling | Huh et al. 2024, with distances |
| `relative_norm_change` | (-1, inf) | rotation | - |
| `mean_shift` | about 0 to inf | rotation, shift and scaling of both alike | Frechet 1957, first part |
| `covariance_shift` | [0, inf) | shift; rotation and scaling of both alike | Frechet 1957, second part (Bures) |
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Measure:
    """How a measure of drift is read.

    Args:
        unchanged: Its value where nothing has moved; the further from it, the more has.
        bounds: The range of its values.
        side: Where drift takes it: 1 up, -1 down, 0 to either side.
        by_group: Whether it is given for labels and speakers too.
    """

    unchanged: float
    bounds: tuple[float, float]
    side: int
    by_group: bool = True


MEASURES: dict[str, Measure] = {
    "cka_debiased": Measure(1.0, (-1.0, 1.0), -1),
    # At most 1 over all clips; clips of one group may lie on the wrong side altogether.
    "procrustes": Measure(0.0, (0.0, 2.0), 1),
    "mean_cosine": Measure(1.0, (-1.0, 1.0), -1),
    "mean_cosine_centred": Measure(1.0, (-1.0, 1.0), -1),
    "knn_overlap": Measure(1.0, (0.0, 1.0), -1),
    "relative_norm_change": Measure(0.0, (-1.0, np.inf), 0),
    # Below 0 the estimate says that speakers moved apart, not that they moved alike.
    "mean_shift": Measure(0.0, (-np.inf, np.inf), 1),
    # A group's share of it says nothing: it is a difference of two covariances, and no mean over clips.
    "covariance_shift": Measure(0.0, (0.0, np.inf), 1, by_group=False),
}
"""Measures of drift by name."""
