"""Standardising in compiled code is standardising in numpy."""

from __future__ import annotations

import numpy as np
import pytest

from ser_probe.analysis.probes.side_by_side import standardise_into
from ser_probe.analysis.probes.training import standardisation, standardise


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_rows_are_standardised_as_by_numpy(rng: np.random.Generator, dtype: type) -> None:
    x = (rng.standard_normal((30, 20)) * 5 + 100).astype(dtype)
    x[:, 3] = 1
    train = np.flatnonzero(rng.random(30) < 0.7)
    z = np.zeros((30, 64), np.float32)
    mean, scale = standardise_into(z, 32, x, train)
    # Features of order 1, rounded once to float32.
    np.testing.assert_allclose(z[:, 32:52], standardise(x, train), atol=1e-6)
    for found, expected in zip((mean, scale), standardisation(x, train), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)  # float64 both, summed in another order
    assert (z[:, 35] == 0).all()
    assert (z[:, 52] == 1).all()
    assert (z[:, :32] == 0).all()
    assert (z[:, 53:] == 0).all()
