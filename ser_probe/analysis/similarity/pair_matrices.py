"""The N x N pair matrices of many representations, centred, a block of rows at a time.

A matrix is never held whole. What centring needs of it, its row sums, is found in one pass per representation; for
the linear kernel of centred features it follows from the clips' norms alone.

Entries are shifted by a_i + a_j so that the rows without the diagonal sum to 0 ("u", the U-centring of Szekely & Rizzo
2014), or by one number so that all of them together do ("mean"). HSIC, biased or not, does not notice such a shift, but
rounding does: entries near their mean lose least in float32.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from ser_probe.analysis.similarity.kernels import Kernel
from ser_probe.analysis.similarity.side_by_side import for_each
from ser_probe.analysis.similarity.sources import Prepared
from ser_probe.runtime import SILENT, Progress, counting

Centring = Literal["u", "mean"]
# Rows of a pair matrix that are looked at together to find row sums.
_ROWS = 256


class PairMatrices:
    """The centred pair matrices M of R representations, M_ij = K_ij + a_i + a_j.

    Attributes:
        prepared: The representations.
        offsets: a, float64 [R, N].
        diagonal: K_ii + 2 a_i, float64 [R, N].
        sums: Row sums of M without its diagonal, float64 [R, N]; exactly 0 for "u".
        by_set: The same, of each set of speakers' columns alone [R, G, N]; None for one set.
    """

    def __init__(self, prepared: Prepared, kernel: Kernel, centring: Centring, progress: Progress = SILENT) -> None:
        self.prepared, self.kernel, self.centring = prepared, kernel, centring
        count, n, n_sets = len(prepared), prepared.n, len(prepared.sizes)
        self.starts = np.concatenate([[0], np.cumsum(prepared.sizes)])
        self.offsets, self.diagonal, self.sums = (np.zeros((count, n)) for _ in range(3))
        self.parameters = np.zeros(count)
        self.by_set = np.empty((count, n_sets, n), prepared.dtype) if n_sets > 1 else None
        with counting(progress, f"{kernel.name} kernel", count, "representations") as advance:
            for_each(self._margins, count, n * n, advance)

    def __len__(self) -> int:
        return len(self.prepared)

    def features(self, index: int) -> np.ndarray:
        """Return the features whose inner products the kernel is made of [N, D]."""
        rows = self.prepared.raw_rows(index) if self.kernel.raw else self.prepared.rows(index)
        return self.kernel.prepare(rows, self.prepared.names[index])

    def fill(self, index: int, features: np.ndarray, rows: slice, columns: slice, out: np.ndarray) -> None:
        """Compute a part of one matrix into an array [rows, columns], with 0 on the diagonal."""
        np.matmul(features[rows], features[columns].T, out=out)
        if self.kernel.entries is not None:
            norms = _squared_norms(features)
            self.kernel.entries(out, norms[rows, None], norms[None, columns], self.parameters[index])
        shift = self.offsets[index].astype(out.dtype)
        out += shift[rows, None]
        out += shift[None, columns]
        on_diagonal = np.arange(max(rows.start, columns.start), min(rows.stop, columns.stop))
        out[on_diagonal - rows.start, on_diagonal - columns.start] = 0

    def _margins(self, index: int) -> None:
        """Find the offsets that centre a matrix, and its row sums after that."""
        n, n_sets = self.prepared.n, len(self.prepared.sizes)
        features = self.features(index)
        norms = _squared_norms(features).astype(np.float64)
        self.parameters[index] = self.kernel.parameter(features, norms.astype(features.dtype))
        if self.kernel.entries is None:
            # The rows of the Gram of centred features sum to 0.
            row_sums = -norms
            by_set = self._linear_by_set(features, norms) if n_sets > 1 else None
        else:
            by_set = self._row_sums(features, index)
            row_sums = by_set.sum(axis=0)
        total = row_sums.sum()
        if self.centring == "u":
            shift = -row_sums / (n - 2) + total / (2 * (n - 1) * (n - 2))
        else:
            shift = np.full(n, -total / (2 * n * (n - 1)))
            self.sums[index] = row_sums + (n - 2) * shift + shift.sum()
        self.offsets[index] = shift
        self.diagonal[index] = self.kernel.diagonal(norms) + 2 * shift
        if self.by_set is not None and by_set is not None:
            self.by_set[index] = by_set + self._shift_by_set(shift)

    def _linear_by_set(self, features: np.ndarray, norms: np.ndarray) -> np.ndarray:
        """Sum the Gram's rows over each set's columns without the diagonal, [G, N]."""
        sums = (np.add.reduceat(features, self.starts[:-1], axis=0) @ features.T).astype(np.float64)
        sums[self._set_of_clip(), np.arange(len(norms))] -= norms
        return sums

    def _row_sums(self, features: np.ndarray, index: int) -> np.ndarray:
        """Sum a matrix's rows over each set's columns without the diagonal, [G, N]."""
        assert self.kernel.entries is not None
        n = self.prepared.n
        sums, norms = np.empty((len(self.prepared.sizes), n)), _squared_norms(features)
        for low in range(0, n, _ROWS):
            rows = slice(low, min(low + _ROWS, n))
            entries = features[rows] @ features.T
            self.kernel.entries(entries, norms[rows, None], norms[None, :], self.parameters[index])
            entries[np.arange(rows.stop - low), np.arange(low, rows.stop)] = 0
            sums[:, rows] = np.add.reduceat(entries, self.starts[:-1], axis=1, dtype=np.float64).T
        return sums

    def _shift_by_set(self, shift: np.ndarray) -> np.ndarray:
        """Return what the shift a_i + a_j adds to each row's sum over each set's columns, [G, N]."""
        n, set_of_clip = len(shift), self._set_of_clip()
        counts = np.repeat(np.asarray(self.prepared.sizes, float)[:, None], n, axis=1)
        added = np.repeat(np.add.reduceat(shift, self.starts[:-1])[:, None], n, axis=1)
        counts[set_of_clip, np.arange(n)] -= 1
        added[set_of_clip, np.arange(n)] -= shift
        return counts * shift + added

    def _set_of_clip(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.prepared.sizes)), self.prepared.sizes)


def _squared_norms(features: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", features, features)
