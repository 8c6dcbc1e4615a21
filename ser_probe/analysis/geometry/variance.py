"""What the variance of a representation is about: shares of label, speaker, gender, sentence.

The sums of squares are those of the multivariate ANOVA's trace: sums over all dimensions of the univariate ones, so
that a dimension counts by its variance. Every share is adjusted for chance as epsilon squared (Kelley 1935):
(SS - df * MS of the noise) / total SS. Without that, a factor of many values explains much by chance alone; with it,
a factor that means nothing has share 0 on average, and the share of one that means little may be below 0.

- A `marginal` share is what the factor explains alone: factors that go together in the clips share it.
- A `unique` share is what it explains beyond all other factors (type II: beyond those that do not contain it; the
  speakers' is beyond gender). In a balanced design both agree, and the unique shares and the residual sum to 1.

Speakers are a sample of speakers. So the noise of what each speaker has one value of (gender) is the spread between
speakers, and the noise of the label is how differently speakers express it (the interaction, if it can be estimated).

Invariant to shift, rotation and isotropic scaling.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ser_probe.analysis.geometry.designs import Plan, one_hot, whitener

MEASURES = ("marginal_share", "unique_share", "fisher_ratio")
RESIDUAL, JOINT = "residual", "joint"
LABEL = "label"
_Fits = dict[tuple[str, ...], tuple[float, int]]


@dataclass(frozen=True)
class _Whitened:
    """A plan's models for one set of clips: by model the rows of B it needs, and its whitener."""

    n: int
    models: Mapping[tuple[str, ...], tuple[np.ndarray, np.ndarray]]


class VariancePartition:
    """The partition of variance among factors, for many representations of the same clips.

    Args:
        plan: Terms and models.
        blocks: Each clip's jackknife block, int in [0, B), [N].
        permuted: Permuted classes by factor, int [P, N], for the null.
    """

    def __init__(self, plan: Plan, blocks: np.ndarray, permuted: Mapping[str, np.ndarray] | None = None) -> None:
        self.plan, self.blocks, self.permuted = plan, blocks, dict(permuted or {})
        self.n_blocks = int(blocks.max()) + 1
        self._columns = one_hot(plan.blocks, list(plan.blocks))
        ends = np.cumsum([codes.max() + 1 for codes in plan.blocks.values()])
        self._places = {
            name: np.arange(end - codes.max() - 1, end)
            for (name, codes), end in zip(plan.blocks.items(), ends, strict=True)
        }
        kept = [self._columns, *(self._columns[blocks != block] for block in range(self._n_left_out))]
        self._arranged = [self._whiten(columns.T @ columns, len(columns), plan.models()) for columns in kept]
        self._null = {name: [self._permute(name, codes) for codes in copies] for name, copies in self.permuted.items()}

    @property
    def _n_left_out(self) -> int:
        return self.n_blocks if self.n_blocks > 1 else 0

    def shares(self, rows: np.ndarray) -> dict[tuple[str, str], np.ndarray]:
        """Return shares of all clips and without each block, by (measure, term), [1 + B] (or [1] for one block).

        Args:
            rows: Centred features, float64 [N, D].
        """
        products = self._columns.T @ rows
        squared = np.einsum("nd,nd->n", rows, rows)
        by_set = [self._shares(self._arranged[0], products, squared.sum())]
        for block in range(self._n_left_out):
            left_out = self.blocks == block
            kept = products - self._columns[left_out].T @ rows[left_out]
            by_set.append(self._shares(self._arranged[1 + block], kept, squared[~left_out].sum()))
        return {key: np.array([shares[key] for shares in by_set]) for key in by_set[0]}

    def baselines(self, rows: np.ndarray) -> dict[tuple[str, str], float]:
        """Return the mean shares of permuted classes, by (measure, term), for the factors that have any.

        Args:
            rows: Centred features, float64 [N, D].
        """
        # Interactions are not permuted with their factors, so the null has none, and their columns come last.
        n_columns = 1 + max(place[-1] for name, place in self._places.items() if name in self.plan.additive)
        products = self._columns[:, :n_columns].T @ rows
        total = np.einsum("nd,nd->", rows, rows)
        means: dict[tuple[str, str], float] = {}
        for name, copies in self._null.items():
            width = len(self._places[name])
            one_hots = (self.permuted[name].T[:, :, None] == np.arange(width)).astype(np.float64)
            moved = (one_hots.reshape(len(rows), -1).T @ rows).reshape(len(copies), width, -1)
            drawn = []
            for copy, classes in zip(copies, moved, strict=True):
                replaced = products.copy()
                replaced[self._places[name]] = classes
                drawn.append(self._shares(copy, replaced, total, only=name))
            means |= {key: float(np.mean([shares[key] for shares in drawn])) for key in drawn[0]}
        return means

    def _permute(self, name: str, codes: np.ndarray) -> _Whitened:
        columns = self._columns.copy()
        place = self._places[name]
        columns[:, place] = codes[:, None] == np.arange(len(place))
        return self._whiten(columns.T @ columns, len(columns), self.plan.models(only=name))

    def _whiten(self, cross_product: np.ndarray, n: int, models: list[tuple[str, ...]]) -> _Whitened:
        made = {}
        for model in models:
            places = np.concatenate([self._places[name] for name in model])
            made[model] = places, whitener(cross_product[np.ix_(places, places)])
        return _Whitened(n, made)

    def _shares(
        self, whitened: _Whitened, products: np.ndarray, squares: float, *, only: str | None = None
    ) -> dict[tuple[str, str], float]:
        """Return the shares of one set of clips from B = U'X and the sum of squares."""
        first = next(iter(self._places.values()))
        of_mean = float((products[first].sum(axis=0) ** 2).sum()) / whitened.n
        fits: _Fits = {(): (0.0, 1)}
        for model, (places, white) in whitened.models.items():
            fits[model] = float(((white.T @ products[places]) ** 2).sum()) - of_mean, white.shape[1]
        error = self.plan.full if only is None else self.plan.additive
        return _partition(self.plan, fits, squares - of_mean, whitened.n, error, only)


def _partition(
    plan: Plan, fits: _Fits, total: float, n: int, error: tuple[str, ...], only: str | None
) -> dict[tuple[str, str], float]:
    """Return adjusted shares from each model's sum of squares (about the mean) and rank."""
    shares: dict[tuple[str, str], float] = {}
    noise = _mean_square(total - fits[error][0], n - fits[error][1])
    interaction = next((term for term in plan.terms if not term.alone and only is None), None)
    # Noise of one term that is another's: without these, shares would not sum to 1.
    moved: dict[str, float] = {}
    for term in plan.terms:
        if only is not None and term.name != only:
            continue
        if term.alone:
            squares, rank = fits[term.alone]
            within = _mean_square(total - squares, n - rank)
            error_ms = within if not term.stratum else _between_speakers(plan, fits, term.alone, (str(plan.speaker),))
            shares["marginal_share", term.name] = (squares - (rank - 1) * error_ms) / total
            shares["fisher_ratio", term.name] = (squares - (rank - 1) * error_ms) / n / within if within > 0 else np.nan
        squares, df = fits[term.whole][0] - fits[term.base][0], fits[term.whole][1] - fits[term.base][1]
        error_ms = noise
        if term.stratum:
            error_ms = _between_speakers(plan, fits, term.whole, (*term.whole, str(plan.speaker)))
            moved[str(plan.speaker)] = moved.get(str(plan.speaker), 0.0) + df * (error_ms - noise)
        elif interaction is not None and term.name == LABEL:
            more, rank = fits[interaction.whole]
            error_ms = _mean_square(more - fits[interaction.base][0], rank - fits[interaction.base][1])
            moved[interaction.name] = df * (error_ms - noise)
        shares["unique_share", term.name] = (squares - df * error_ms) / total
    if only is None:
        for name, squares in moved.items():
            shares["unique_share", name] += squares / total
        shares["unique_share", RESIDUAL] = (n - 1) * noise / total
        shares["unique_share", JOINT] = 1 - sum(value for key, value in shares.items() if key[0] == "unique_share")
    return shares


def _between_speakers(plan: Plan, fits: _Fits, model: tuple[str, ...], with_speakers: tuple[str, ...]) -> float:
    squares, rank = fits[model]
    more, rank_with = fits[with_speakers]
    return _mean_square(more - squares, rank_with - rank)


def _mean_square(squares: float, df: int) -> float:
    """Return a mean square; NaN where no degree of freedom is left."""
    return max(squares, 0.0) / df if df > 0 else float("nan")
