"""CKA with a Gaussian kernel, biased (`cka_rbf`) and debiased (`cka_rbf_debiased`).

Source: Kornblith et al. 2019, section 4, with the estimators of `cka`. The bandwidth is a fraction of the median
distance between the clips of a representation, so the scale of the features does not matter. A narrow kernel looks at
near neighbours only; as it widens, RBF CKA becomes linear CKA.

- Range: `cka_rbf` [0, 1], `cka_rbf_debiased` [-1, 1]; 1 for equal representations.
- Unchanged by shift, rotation and isotropic scaling of either side; not by other linear maps.
- On unrelated clips the biased value is not 0; its exact mean over all permutations of the clips is the baseline.
- Intervals leave out a speaker and keep the bandwidth.
"""

from __future__ import annotations

from collections.abc import Sequence

from ser_probe.analysis.similarity.kernels import rbf
from ser_probe.analysis.similarity.options import Options, PairValues
from ser_probe.analysis.similarity.pair_statistics import Statistic, measure_by_kernel
from ser_probe.analysis.similarity.sources import Sides

_STATISTICS: dict[str, Statistic] = {"cka_rbf": "double", "cka_rbf_debiased": "u"}


def rbf_measures(names: Sequence[str], sides: Sides, options: Options) -> dict[str, PairValues]:
    """Compute RBF CKA of all pairs at once; `options.rbf_fraction` is the bandwidth."""
    statistics = {name: _STATISTICS[name] for name in names}
    return measure_by_kernel(rbf(options.rbf_fraction), statistics, sides.prepare(options.groups), options)
