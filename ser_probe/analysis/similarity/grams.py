"""Inner products of all pairs of centred Gram matrices, on all clips and without each speaker: the engine of `cka`.

With K the Gram of centred features, every term of HSIC is a sum over clips of K_ij L_ij, of products of row sums, or
of products of diagonals. The first is a matrix product of flattened Grams, taken in blocks of rows; the others need
no Gram. Each is kept by speaker, so that HSIC without a speaker is a subtraction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ser_probe.analysis.inputs import check_features, check_lengths
from ser_probe.analysis.resampling import group_codes
from ser_probe.errors import AnalysisError

MIN_CLIPS = 4  # unbiased HSIC divides by n (n - 3)
MEMORY_BYTES = 512 * 2**20  # for one block of rows of all Gram matrices
# Spread below this share of the features' size is rounding, not variation.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class PreparedFeatures:
    """Representations whose rows are sorted by speaker, to be centred, and scaled to a centred Gram of trace 1."""

    arrays: Sequence[np.ndarray]
    means: list[np.ndarray]
    scales: list[float]
    names: Sequence[str]
    order: np.ndarray  # clips sorted by speaker [N]
    sizes: list[int]  # clips of each speaker [G]

    def rows(self, index: int) -> np.ndarray:
        """Return one representation, float64 [N, D]. Computed on use: together they may not fit into memory."""
        rows = self.arrays[index][self.order].astype(np.float64)
        rows -= self.means[index]
        rows *= self.scales[index]
        return rows


def prepare_features(
    arrays: Sequence[np.ndarray],
    what: str,
    names: Sequence[str] | None = None,
    groups: np.ndarray | None = None,
) -> PreparedFeatures:
    if not len(arrays):
        raise AnalysisError(f"There is no {what} to compare", expected="at least one array [N, D]")
    names = names or [f"{what} {index}" for index in range(len(arrays))]
    checked = [check_features(array, name) for array, name in zip(arrays, names, strict=True)]
    check_lengths(**dict(zip(names, checked, strict=True)), **({} if groups is None else {"groups": groups}))
    n = len(checked[0])
    if n < MIN_CLIPS:
        raise AnalysisError("CKA needs at least 4 clips", where=names[0], found=f"{n} clips")
    codes = np.zeros(n, int) if groups is None else group_codes(groups)[1]
    means, scales = [], []
    for array, name in zip(checked, names, strict=True):
        wide = array.astype(np.float64)
        mean = wide.mean(axis=0)
        spread = np.linalg.norm(wide - mean)
        if spread <= _ROUNDING * np.linalg.norm(wide):
            raise AnalysisError(
                "The features do not vary between clips, so their similarity to others is not defined",
                where=name,
                found=f"{n} equal rows",
                fix="check the extraction: a layer that is the same for every clip carries nothing",
            )
        means.append(mean)
        scales.append(float(1 / spread))
    order = np.argsort(codes, kind="stable")
    return PreparedFeatures(checked, means, scales, list(names), order, np.bincount(codes).tolist())


@dataclass(frozen=True)
class InnerProducts:
    """Sums over i, j of K_ij L_ij: i of one speaker and j any clip (`rows`), or both of one speaker (`within`)."""

    rows: np.ndarray  # [G, R, S]
    within: np.ndarray  # [G, R, S]
    own_first: np.ndarray  # K with itself [G, R]
    own_first_within: np.ndarray
    own_second: np.ndarray  # L with itself [G, S]
    own_second_within: np.ndarray


def inner_products(first: PreparedFeatures, second: PreparedFeatures, memory_bytes: int) -> InnerProducts:
    n, n_groups = len(first.order), len(first.sizes)
    shape = (n_groups, len(first.arrays), len(second.arrays))
    rows, within = np.zeros(shape), np.zeros(shape)
    own = [np.zeros((n_groups, width)) for width in (shape[1], shape[1], shape[2], shape[2])]
    both = shape[1] + (0 if second is first else shape[2])
    most_rows = max(1, int(memory_bytes / (8 * n * both)))
    for low in range(0, n, most_rows):
        block = slice(low, min(low + most_rows, n))
        grams = _gram_rows(first, block)
        others = grams if second is first else _gram_rows(second, block)
        for group, columns in enumerate(_speakers(first.sizes)):
            inside = slice(max(columns.start, block.start) - low, min(columns.stop, block.stop) - low)
            if inside.start >= inside.stop:
                continue
            part, part_others = _flat(grams, inside), _flat(others, inside)
            rows[group] += part @ part_others.T
            inner, inner_others = _flat(grams[:, inside, columns]), _flat(others[:, inside, columns])
            within[group] += inner @ inner_others.T
            for total, mine in zip(own, (part, inner, part_others, inner_others), strict=True):
                total[group] += np.einsum("ij,ij->i", mine, mine)
    return InnerProducts(rows, within, *own)


def _speakers(sizes: Sequence[int]) -> list[slice]:
    """Return each speaker's clips."""
    stops = np.cumsum(sizes).tolist()
    return [slice(stop - size, stop) for stop, size in zip(stops, sizes, strict=True)]


def _gram_rows(prepared: PreparedFeatures, block: slice) -> np.ndarray:
    """Return the same rows of all centred Gram matrices, float64 [R, rows, N]."""
    grams = np.empty((len(prepared.arrays), block.stop - block.start, len(prepared.order)))
    for index in range(len(grams)):
        rows = prepared.rows(index)
        np.matmul(rows[block], rows.T, out=grams[index])
    return grams


def _flat(grams: np.ndarray, rows: slice = slice(None)) -> np.ndarray:
    """Return some rows of each Gram, one after the other, [R, rows * N]: a view, where the Grams are contiguous."""
    n_columns = grams.shape[2]
    start, stop, _ = rows.indices(grams.shape[1])
    return grams.reshape(len(grams), -1)[:, start * n_columns : stop * n_columns]


class PairedHsic:
    """HSIC of all pairs on all clips, or on all clips but one speaker's, from sums that are computed once."""

    def __init__(self, first: PreparedFeatures, second: PreparedFeatures, sums: InnerProducts) -> None:
        self.first, self.second, self.sums = first, second, sums
        self.margins = _Margins(first)
        self.other_margins = self.margins if second is first else _Margins(second)

    def cka(self, left_out: int | None, debiased: bool) -> np.ndarray:
        """Return the CKA of all pairs [R, S], on all clips or without one speaker (then NaN where undefined)."""
        sums, remaining = self.sums, _without(left_out)
        a, b = self.margins.of(left_out), self.other_margins.of(left_out)
        cross = _hsic(remaining(sums.rows, sums.within), a, b, np.matmul, debiased)
        own_a = remaining(sums.own_first, sums.own_first_within)
        own_b = remaining(sums.own_second, sums.own_second_within)
        own_a, own_b = _hsic(own_a, a, a, _row_products, debiased), _hsic(own_b, b, b, _row_products, debiased)
        if left_out is None:
            check_own(own_a, self.first.names)
            check_own(own_b, self.second.names)
        with np.errstate(invalid="ignore", divide="ignore"):
            # Rounding may pass the bound of the Cauchy-Schwarz inequality by 1e-16.
            return np.clip(cross / np.sqrt(own_a[:, None] * own_b[None, :]), -1, 1)


def _hsic(
    product: np.ndarray,
    a: _Margin,
    b: _Margin,
    times: Callable[[np.ndarray, np.ndarray], np.ndarray],
    debiased: bool,
) -> np.ndarray:
    """Return HSIC from inner products and margins; `times` pairs rows all with all, or each with its own."""
    n = a.n
    if not debiased:
        totals = times(a.sums.sum(axis=1, keepdims=True), b.sums.sum(axis=1, keepdims=True).T)
        return product - 2 / n * times(a.sums, b.sums.T) + totals / n**2
    # Song et al. 2007, equation 4: the same with the diagonal taken out everywhere.
    sums_a, sums_b = a.sums - a.diagonal, b.sums - b.diagonal
    totals = times(sums_a.sum(axis=1, keepdims=True), sums_b.sum(axis=1, keepdims=True).T)
    product = product - times(a.diagonal, b.diagonal.T)
    return product + totals / ((n - 1) * (n - 2)) - 2 / (n - 2) * times(sums_a, sums_b.T)


def _row_products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ji->i", a, b)


def _without(left_out: int | None) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return the function that sums inner products over all pairs of clips in which one speaker has no part."""

    def remaining(rows: np.ndarray, within: np.ndarray) -> np.ndarray:
        total = rows.sum(axis=0)
        # The Grams are symmetric: the speaker's rows count twice, but for what lies in both rows and columns.
        return total if left_out is None else total - 2 * rows[left_out] + within[left_out]

    return remaining


@dataclass(frozen=True)
class _Margin:
    """Of the centred Grams of the remaining clips: their number, row sums [R, N] and diagonals [R, N]."""

    n: int
    sums: np.ndarray
    diagonal: np.ndarray


class _Margins:
    """Row sums and diagonals of all centred Grams, by the speaker that is left out."""

    def __init__(self, prepared: PreparedFeatures) -> None:
        self.starts = np.concatenate([[0], np.cumsum(prepared.sizes)])
        n, count = len(prepared.order), len(prepared.arrays)
        self.diagonal = np.empty((count, n))
        self.by_group = np.empty((count, len(prepared.sizes), n))  # each clip's sum over each speaker's clips
        for index in range(count):
            rows = prepared.rows(index)
            self.diagonal[index] = np.einsum("ij,ij->i", rows, rows)
            self.by_group[index] = np.add.reduceat(rows, self.starts[:-1], axis=0) @ rows.T
        self.total = self.by_group.sum(axis=1)

    def of(self, left_out: int | None) -> _Margin:
        if left_out is None:
            return _Margin(self.total.shape[1], self.total, self.diagonal)
        gone = slice(self.starts[left_out], self.starts[left_out + 1])
        sums, diagonal = self.total - self.by_group[:, left_out], self.diagonal.copy()
        sums[:, gone] = diagonal[:, gone] = 0
        return _Margin(self.total.shape[1] - (gone.stop - gone.start), sums, diagonal)


def check_own(own: np.ndarray, names: Sequence[str]) -> None:
    """Check that every representation has a similarity to itself; the Grams have trace 1."""
    flat = np.flatnonzero(own <= _ROUNDING)
    if len(flat):
        raise AnalysisError(
            "The features vary in one clip only, so their debiased similarity to others is not defined",
            where=names[flat[0]],
            fix="look at that clip: all others have equal features",
        )
