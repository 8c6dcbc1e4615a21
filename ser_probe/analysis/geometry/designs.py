"""The linear models whose fit says what the variance is about: which terms, which columns, which degrees of freedom.

Nothing here looks at features: a plan is made once for a set of clips and serves every representation of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ser_probe.analysis.geometry.arrangements import is_within
from ser_probe.analysis.resampling import group_codes
from ser_probe.errors import AnalysisError

# Relative to the largest eigenvalue of a matrix of counts; true zeros are at 1e-15, the smallest others above 1e-6.
_RANK_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Term:
    """A term of the partition.

    Args:
        name: A factor, or two joined by `:`.
        alone: Models are tuples of column blocks; this one has the term alone. Empty for an interaction.
        base: Everything that does not contain the term (type II): what its unique share is on top of.
        stratum: Whether each speaker has one value of it, so that its noise is that between speakers.
    """

    name: str
    alone: tuple[str, ...]
    base: tuple[str, ...]
    stratum: bool

    @property
    def whole(self) -> tuple[str, ...]:
        """The base and the term."""
        return (*self.base, self.name)


@dataclass(frozen=True)
class Plan:
    """What is fitted.

    Args:
        terms: The terms of the partition.
        blocks: The models' column blocks by name: each clip's class, int [N].
        additive: The model of all factors.
        full: The same with the interaction, where it can be fitted: its remainder is the noise.
        speaker: Which factor is the speaker.
    """

    terms: Sequence[Term]
    blocks: Mapping[str, np.ndarray]
    additive: tuple[str, ...]
    full: tuple[str, ...]
    speaker: str | None

    def models(self, *, only: str | None = None) -> list[tuple[str, ...]]:
        """Return every model that some share needs, without repeats; `only` for one term without interactions."""
        models: dict[tuple[str, ...], None] = {self.full if only is None else self.additive: None}
        for term in self.terms:
            if only is not None and term.name != only:
                continue
            models |= dict.fromkeys(model for model in (term.alone, term.base, term.whole) if model)
            if term.stratum and self.speaker is not None:
                models |= {(*term.whole, self.speaker): None, (self.speaker,): None}
        return list(models)


def plan_partition(factors: Mapping[str, np.ndarray], *, speaker: str | None = None) -> Plan:
    """Plan the partition of variance among factors.

    Args:
        factors: Each clip's class by factor [N]; all of the same clips.
        speaker: Which of them is the speaker: factors that each speaker has one value of are tested against the
            spread between speakers, and its interaction with the label is added where every cell has clips.

    Returns:
        The plan. `label:<speaker>` is one of its terms where every speaker has clips of every label and some cells
        have more than one.

    Raises:
        AnalysisError: If there is no factor, a factor has one value only, or too few clips are left for the noise.
    """
    codes = {name: group_codes(values)[1] for name, values in factors.items()}
    if not codes:
        raise AnalysisError("There is no factor to explain the variance by", fix="name columns such as label, speaker")
    if single := [name for name, values in codes.items() if values.max() == 0]:
        raise AnalysisError(
            "A factor with a single value explains nothing", where=", ".join(single), fix="leave it out"
        )
    terms = []
    for name, values in codes.items():
        contained = [other for other in codes if other != name and not _contains(codes[other], values)]
        stratum = speaker is not None and name != speaker and _contains(codes[speaker], values)
        terms.append(Term(name, (name,), tuple(contained), stratum))
    additive, blocks = tuple(codes), dict(codes)
    n = len(next(iter(codes.values())))
    _check_remainder(additive, blocks, n)
    full = additive
    if speaker is not None and "label" in codes and speaker != "label":
        cells = codes["label"] * (codes[speaker].max() + 1) + codes[speaker]
        name = f"label:{speaker}"
        filled = len(np.unique(cells)) == (codes["label"].max() + 1) * (codes[speaker].max() + 1)
        if filled and rank_of(one_hot(blocks | {name: cells}, (*additive, name))) < n:
            blocks[name] = cells
            full = (*additive, name)
            terms.append(Term(name, (), additive, False))
    return Plan(terms, blocks, additive, full, speaker)


def one_hot(blocks: Mapping[str, np.ndarray], model: Sequence[str]) -> np.ndarray:
    """Return a model's columns, one per class of each of its blocks, float64 [N, p]; the sum of a block's is 1."""
    return np.concatenate(
        [(blocks[name][:, None] == np.arange(blocks[name].max() + 1)).astype(np.float64) for name in model], axis=1
    )


def whitener(cross_product: np.ndarray) -> np.ndarray:
    """Return W [p, r] with W W' the pseudo-inverse of a model's cross-product U'U [p, p]; r is the model's rank.

    With B = U'X, the squared length of W'B is the sum of squares that the model explains.
    """
    values, vectors = np.linalg.eigh(cross_product)
    kept = values > _RANK_TOLERANCE * max(values[-1], 1.0)
    return vectors[:, kept] / np.sqrt(values[kept])


def rank_of(columns: np.ndarray) -> int:
    """Return the rank of a model's columns [N, p]."""
    return int(whitener(columns.T @ columns).shape[1])


def _contains(fine: np.ndarray, coarse: np.ndarray) -> bool:
    """Tell whether `fine` divides the clips further than `coarse`: a model with it leaves the other one nothing."""
    return is_within(fine, coarse) and not is_within(coarse, fine)


def _check_remainder(model: tuple[str, ...], blocks: Mapping[str, np.ndarray], n: int) -> None:
    if rank_of(one_hot(blocks, model)) >= n:
        levels = ", ".join(f"{name}: {blocks[name].max() + 1}" for name in model)
        raise AnalysisError(
            "The factors have so many values that no clips are left to estimate the noise from",
            expected=f"fewer values than the {n} clips",
            found=levels,
            fix="leave out the factor with the most values",
        )
