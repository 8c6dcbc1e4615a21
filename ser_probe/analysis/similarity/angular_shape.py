"""The angle between two representations after the best rotation: `angular_shape`.

Source: Williams, Kunz, Kornblith & Linderman 2021, equation 5: arccos |A' B|_* of centred A and B of Frobenius norm 1.

- Range [0, pi/2] rad; 0 for equal representations.
- A metric: symmetric, 0 only between shapes that are equal up to the maps below, and no detour is shorter (the triangle
  inequality), so that representations can be clustered or laid out by it. 1 less `procrustes` is its cosine.
- Unchanged by shift, rotation and isotropic scaling of either side; not by other linear maps.
- Near 0 it turns rounding of 1e-16 into 1e-8 rad. As of `procrustes`, it is small for few clips in many dimensions.
"""

from __future__ import annotations

import numpy as np

from ser_probe.analysis.similarity.procrustes import nuclear_norms
from ser_probe.analysis.similarity.sources import Sides, Source


def angular_distance(x: Source, y: Source) -> float:
    """Return the angular shape distance of two representations [N, D1] and [N, D2], in rad.

    Raises:
        AnalysisError: If there are fewer than 4 clips, other clip counts, NaN, or features that do not vary.
    """
    return float(np.arccos(nuclear_norms(Sides([x], [y], ["x"], ["y"]))[0, 0]))
