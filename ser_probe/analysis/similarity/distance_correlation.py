"""Distance correlation, as it was defined (`distance_correlation`) and corrected for bias (`..._debiased`).

Sources: Szekely, Rizzo & Bakirov 2007, definitions 2 to 4; Szekely & Rizzo 2014, sections 2 and 3. Both correlate the
matrices of Euclidean distances between clips, doubly centred or U-centred.

- `distance_correlation`: the root of the correlation of doubly centred distances, in [0, 1]. In the population it is 0
  only for independent data, whatever the form of the dependence. In a sample it is far from 0 for unrelated data of
  many dimensions: the baseline is the root of the exact mean of its square over all permutations of the clips.
- `distance_correlation_debiased`: the correlation of U-centred distances, in [-1, 1], without a root; 0 on average for
  unrelated data.
- Both are 1 for equal representations, and unchanged by shift, rotation and isotropic scaling of either side.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ser_probe.analysis.similarity.kernels import distance
from ser_probe.analysis.similarity.options import Options, PairValues
from ser_probe.analysis.similarity.pair_statistics import Statistic, measure_by_kernel
from ser_probe.analysis.similarity.sources import Sides

_STATISTICS: dict[str, Statistic] = {"distance_correlation": "double", "distance_correlation_debiased": "u"}


def distance_measures(names: Sequence[str], sides: Sides, options: Options) -> dict[str, PairValues]:
    """Compute distance correlations of all pairs at once."""
    statistics = {name: _STATISTICS[name] for name in names}
    return measure_by_kernel(
        distance(), statistics, sides.prepare(options.groups), options, transforms={"double": _root}
    )


def _root(squared: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(squared, 0))
