"""Classes predicted from binned properties, for many arrangements of the classes at once.

Naive Bayes over bins: how much more often a class is in a bin than by chance, multiplied over the properties; every
class is equally likely beforehand. It sees single values, thresholds and trends alike; of how two properties work
together it sees only their product. What it learns are counts, so that leaving out one fold is a subtraction, and
it is fitted anew for each of thousands of permutations. Tests that permute classes under fits that stay as they are
would find too much: the folds' fits share clips, and their errors go together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse

from ser_probe.analysis.audit.property_bins import Bins

SMOOTHING = 5.0
"""So many clips are added to what a class has in a bin and to what it would have by chance: few clips say little, and a
bin that training never saw says nothing."""
MOST_POSTERIORS = 2_000_000
"""So many are held at a time, clips x classes x arrangements: what fits into a processor's cache."""


class BinnedBayes:
    """Predicts classes from groups of properties, each clip by a fit without the clips of its fold.

    Args:
        bins: The properties.
        folds: Each clip's fold, int in [0, F), [N].
        n_classes: C.
        groups: Positions of the properties of each group; no group is empty.
    """

    def __init__(
        self, bins: Sequence[Bins], folds: np.ndarray, n_classes: int, groups: Sequence[Sequence[int]]
    ) -> None:
        self._folds, self._n_classes = np.asarray(folds, np.int64), n_classes
        self._n_folds = int(folds.max()) + 1
        # A property's cells: its bins in the first fold, in the second, ...
        self._cells = [self._folds * each.count + each.codes for each in bins]
        self._n_bins = [each.count for each in bins]
        self._groups = [_Rows(self._cells, [each.count * self._n_folds for each in bins], group) for group in groups]

    @property
    def batch(self) -> int:
        """How many arrangements are best given at a time."""
        return int(np.clip(MOST_POSTERIORS // (len(self._folds) * self._n_classes), 1, 200))

    def predict(self, classes: np.ndarray) -> np.ndarray:
        """Return the most likely class by each group of properties, the first of equals, int [R, N].

        Args:
            classes: Each clip's class, int in [0, C), [N].
        """
        tables, _ = self._learn(classes[None], range(len(self._cells)))
        # Rounding must not decide between equals.
        scores = [np.round(rows.scores(tables)[:, :, 0], 4) for rows in self._groups]
        return np.stack([each.argmax(axis=0)[rows.of_clip] for each, rows in zip(scores, self._groups, strict=True)])

    def certainty(self, arrangements: np.ndarray, needed: Sequence[int]) -> np.ndarray:
        """Return how probable the true class is held to be, on average within each class and then over the classes.

        It is what the UAR would be if each class were guessed as often as it is held probable. Unlike the UAR it moves
        when a few clips are named for certain, and hardly when none is named at all.

        Args:
            arrangements: Classes, int in [0, C), [P, N].
            needed: Which groups.

        Returns:
            [P, R], a column per group that is needed.
        """
        members = {member for row in needed for member in self._groups[row].members}
        tables, counts = self._learn(arrangements, sorted(members))
        of_class = self._count(arrangements, np.zeros(len(self._folds), np.int64), 1)[:, 0]
        answers = []
        for row in needed:
            rows = self._groups[row]
            if len(rows.members) == 1:  # its rows are the bins, of which the clips are counted already
                scores, there = tables[rows.members[0]], counts[rows.members[0]]
            else:
                scores = rows.scores(tables)
                scores -= scores.max(axis=0)
                there = self._count(arrangements, rows.of_clip, scores.shape[1])
            scores = np.exp(scores)
            scores *= there / scores.sum(axis=0)
            recall = scores.sum(axis=1, dtype=float) / np.maximum(of_class, 1)
            answers.append(recall.sum(axis=0) / (of_class > 0).sum(axis=0))
        return np.stack(answers, axis=1)

    def _count(self, arrangements: np.ndarray, cells: np.ndarray, size: int) -> np.ndarray:
        """Return the clips of each class in each cell, float32 [C, size, P]: classes first, which are summed over."""
        count = len(arrangements)
        place = arrangements.astype(np.int64) * (size * count) + cells * count + np.arange(count)[:, None]
        counted = np.bincount(place.ravel(), minlength=self._n_classes * size * count)
        return counted.astype(np.float32).reshape(self._n_classes, size, count)

    def _learn(
        self, arrangements: np.ndarray, members: Sequence[int]
    ) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
        """Return, by property, what is learnt and what there is to be predicted, both float32 [C, F * B, P].

        The first is the logarithm of how much more often each class is in each bin than by chance, without the clips
        of one fold in turn; the second the number of that fold's clips.
        """
        in_fold = self._count(arrangements, self._folds, self._n_folds)[:, :, None]
        of_class = in_fold.sum(axis=1, keepdims=True) - in_fold
        tables, there = {}, {}
        for member in members:
            size = self._n_folds * self._n_bins[member]
            counts = self._count(arrangements, self._cells[member], size)
            there[member] = counts
            counts = counts.reshape(self._n_classes, self._n_folds, self._n_bins[member], -1)
            learnt = counts.sum(axis=1, keepdims=True) - counts
            in_bin = learnt.sum(axis=0)
            by_chance = of_class * (in_bin / np.maximum(in_bin.sum(axis=1, keepdims=True), 1))
            table = np.log((learnt + SMOOTHING) / (by_chance + SMOOTHING))
            tables[member] = table.reshape(there[member].shape)
        return tables, there


class _Rows:
    """The distinct rows of a group's properties and folds: clips that are equal in them are scored once."""

    def __init__(self, cells: Sequence[np.ndarray], sizes: Sequence[int], members: Sequence[int]) -> None:
        self.members = list(members)
        self.of_clip = np.zeros(len(cells[0]), np.int64)
        for member in members:
            self.of_clip = np.unique(self.of_clip * sizes[member] + cells[member], return_inverse=True)[1]
        first = np.unique(self.of_clip, return_index=True)[1]
        starts = np.cumsum([0, *(sizes[member] for member in members)])
        places = np.stack(
            [start + cells[member][first] for start, member in zip(starts, members, strict=False)], axis=1
        )
        self._picked = scipy.sparse.csr_matrix(
            (np.ones(places.size, np.float32), places.ravel(), np.arange(len(first) + 1) * len(members)),
            shape=(len(first), starts[-1]),
        )

    def scores(self, tables: dict[int, np.ndarray]) -> np.ndarray:
        """Return the log odds of each class, float32 [C, U, P]."""
        stacked = np.concatenate([tables[member] for member in self.members], axis=1)
        return np.stack([self._picked @ of_class for of_class in stacked])
