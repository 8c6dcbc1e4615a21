"""How many bits the labels cost given the representation: the online code of Voita & Titov.

A probe's accuracy hides how hard it was to get there. The online (prequential) code charges for it: labels are sent in
blocks, each coded with a probe trained on the blocks before, so a layer from which little training suffices gives a
short code. Source: Voita & Titov 2020, "Information-Theoretic Probing with Minimum Description Length", EMNLP, section
2.2.2; their fractions are kept.

Clips of one speaker are not exchangeable with those of another: a voice that is known from an earlier block would
shorten the code of a later one for reasons that have nothing to do with the target. So speakers are put in a random
order, all clips of a speaker come together, and blocks end where speakers do. Blocks are therefore fewer and coarser
than the paper's, and what the first one costs (it is sent uncoded) bounds the compression: see `ceiling`.

The family matters more here than for an accuracy: a probe that is sure and wrong is charged for being sure. On few
clips a linear probe with early stopping is: on a layer without information it needs more bits than the uniform code.
A regularised one whose strength was chosen by its loss on other speakers is not overconfident.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from scipy.special import log_softmax

from ser_probe.analysis.inputs import RepresentationKey, check_features, check_lengths, key_columns
from ser_probe.analysis.probes.families import TEST, TRAIN, UNUSED, VALIDATION, ClassProbes, Folds
from ser_probe.analysis.resampling import group_codes
from ser_probe.errors import AnalysisError
from ser_probe.runtime import derive_seed

FRACTIONS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.0625, 0.125, 0.25, 0.5, 1.0)
"""The share of the clips after which each block ends (the paper's)."""

# Of the speakers sent so far, this share (one at least) stops the probe's training instead of training it.
_VALIDATION_SHARE = 0.2


class Fit(Protocol):
    """A family of probes with its options and seeds filled in."""

    def __call__(
        self, x: np.ndarray, labels: np.ndarray, folds: Folds, *, groups: np.ndarray, n_classes: int
    ) -> ClassProbes:
        """Train all probes: x [R, N, D], labels int [N], groups [N]."""
        ...


@dataclass(frozen=True)
class Transmission:
    """One order in which labels are sent.

    Args:
        order: Positions of the clips, as sent, int [N].
        ends: How many clips have been sent after each block, ascending; the last is N.
        n_validation: How many of the clips sent, counted from the end, only stop the probe for the next block; one
            entry per block but the last.
    """

    order: np.ndarray
    ends: tuple[int, ...]
    n_validation: tuple[int, ...]


def plan_transmission(
    labels: np.ndarray, groups: np.ndarray, *, seed: int, needs_validation: bool = False
) -> Transmission:
    """Return an order of the clips in which speakers stay together, cut into blocks at speakers' ends.

    The first block ends after two speakers or more, where those that train have shown every class; the others at the
    first speaker's end past each of `FRACTIONS`.

    Args:
        labels: Classes, int in [0, C), [N].
        groups: Speakers [N].
        seed: Seed of the order.
        needs_validation: Whether some of the speakers sent, one at least, must only stop the training.

    Raises:
        AnalysisError: If no block is left to be coded: too few speakers, or classes that only the last ones have.
    """
    names, codes = group_codes(groups)
    rng = np.random.default_rng(derive_seed("order of speakers", seed))
    speakers = rng.permutation(len(names))
    order = np.concatenate([rng.permutation(np.flatnonzero(codes == speaker)) for speaker in speakers])
    ends = np.cumsum([np.count_nonzero(codes == speaker) for speaker in speakers])
    n_classes = len(np.unique(labels))
    held = [max(1, round(_VALIDATION_SHARE * k)) if needs_validation else 0 for k in range(len(speakers))]
    enough = [
        k for k in range(2, len(speakers))
        if len(np.unique(labels[order[: ends[k - held[k] - 1]]])) == n_classes
    ]  # fmt: skip
    if not enough:
        raise AnalysisError(
            "The labels cannot be sent block by block: no block is left after the one that shows every class",
            expected="3 or more speakers, most of them with every class",
            found=f"{len(names)} speakers, {n_classes} classes",
            fix="use more speakers, or turn analyze.probe.description_length off",
        )
    wanted = [int(np.searchsorted(ends, fraction * len(order), side="left")) + 1 for fraction in FRACTIONS]
    cuts = sorted({enough[0], *(k for k in wanted if k > enough[0])})
    sent = tuple(int(ends[k - 1]) for k in cuts)
    return Transmission(order, sent, tuple(int(ends[k - 1] - ends[k - held[k] - 1]) for k in cuts[:-1]))


def transmission_folds(plan: Transmission) -> Folds:
    """Return a fold per coded block: it is tested, the clips sent before train and stop its probe."""
    parts = np.full((len(plan.ends) - 1, len(plan.order)), UNUSED, np.int8)
    for block, (start, stop, held) in enumerate(zip(plan.ends, plan.ends[1:], plan.n_validation, strict=False)):
        parts[block, plan.order[: start - held]] = TRAIN
        parts[block, plan.order[start - held : start]] = VALIDATION
        parts[block, plan.order[start:stop]] = TEST
    return Folds([f"block-{block + 1}" for block in range(len(parts))], parts)


def describe_labels(
    x: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    *,
    fit: Fit,
    names: Sequence[str | RepresentationKey],
    order_seeds: Sequence[int] = (0, 1, 2),
    needs_validation: bool = False,
) -> pd.DataFrame:
    """Return how many bits the labels cost given each representation.

    Args:
        x: Features of R representations, [R, N, D].
        labels: Labels [N].
        groups: Speakers [N].
        fit: The family that codes; it is called once for all blocks of all orders.
        names: R names.
        order_seeds: Seeds of the orders in which speakers are sent; a row each.
        needs_validation: Whether the family stops by validation clips.

    Returns:
        A row per representation, order and measure:

        - `codelength`: bits for all labels; the first block costs log2 C a clip;
        - `compression`: N log2 C / codelength. 1: the representation says nothing of the labels; a probe that is sure
          and wrong gets below 1. It cannot exceed the column `ceiling`, N / (clips of the first block);
        - `bits_per_clip`: of the coded blocks alone, without the first.

        Beside it `uniform_bits` (N log2 C) and `frequency_bits`, the code that learns how often each class occurs and
        nothing else: a probe that does not beat that one has read no label. Codelengths do not change with the names
        or the order of classes; whether they change with a linear map of the features depends on the family.

    Raises:
        AnalysisError: If features are NaN, lengths differ, or no block is left to be coded.
    """
    x = check_features(x, "The probes' features", ndim=3)
    check_lengths(features=x[0], labels=labels, speakers=groups)
    classes, codes = group_codes(labels)
    plans = [plan_transmission(codes, groups, seed=seed, needs_validation=needs_validation) for seed in order_seeds]
    folds = [transmission_folds(plan) for plan in plans]
    together = Folds(
        [f"order-{seed}-{name}" for seed, of_order in zip(order_seeds, folds, strict=True) for name in of_order.names],
        np.concatenate([of_order.parts for of_order in folds]),
    )
    logits = fit(x, codes, together, groups=np.asarray(groups), n_classes=len(classes)).logits
    rows: list[dict[str, object]] = []
    first = 0
    for seed, plan, of_order in zip(order_seeds, plans, folds, strict=True):
        blocks = slice(first, first + len(of_order.names))
        first = blocks.stop
        bits = _block_bits(logits[:, blocks], codes, of_order)
        uniform = len(codes) * np.log2(len(classes))
        facts = {
            "order_seed": seed, "uniform_bits": uniform, "ceiling": len(codes) / plan.ends[0],
            "frequency_bits": frequency_code(codes[plan.order], len(classes), first=plan.ends[0]),
            "n_blocks": len(plan.ends), "n": len(codes), "n_speakers": len(set(map(str, groups))),
        }  # fmt: skip
        for name, coded in zip(names, bits, strict=True):
            total = plan.ends[0] * np.log2(len(classes)) + coded
            values = {
                "codelength": total,
                "compression": uniform / total,
                "bits_per_clip": coded / (len(codes) - plan.ends[0]),
            }
            rows += [{**key_columns(name), "measure": measure, "value": value, **facts}
                     for measure, value in values.items()]  # fmt: skip
    return pd.DataFrame(rows)


def frequency_code(labels: np.ndarray, n_classes: int, *, first: int) -> float:
    """Return the bits of labels whose frequencies are learnt on the way and of which nothing else is known.

    The first ones cost log2 C each; each later one costs -log2 (n_c + 1/2) / (n + C/2), n_c of the n labels before it
    being of its class (Krichevsky & Trofimov 1981).

    Args:
        labels: Classes, int in [0, C), in the order sent, [N].
        n_classes: C.
        first: How many are sent uncoded.
    """
    seen = np.cumsum(np.eye(n_classes)[labels], axis=0)
    before = np.arange(first, len(labels))
    n_of_class = seen[before - 1, labels[before]]
    return float(first * np.log2(n_classes) - np.log2((n_of_class + 0.5) / (before + n_classes / 2)).sum())


def _block_bits(logits: np.ndarray, labels: np.ndarray, folds: Folds) -> np.ndarray:
    """Return the bits of all coded blocks, [R], the mean over probe seeds; logits [R, F, S, N, C]."""
    total = np.zeros(len(logits))
    for block in range(len(folds.names)):
        clips = folds.test(block)
        surprise = -log_softmax(logits[:, block][:, :, clips].astype(np.float64), axis=-1) / np.log(2)
        total += surprise[..., np.arange(len(clips)), labels[clips]].sum(axis=-1).mean(axis=-1)
    return total
