"""The values of a property by which a class is known: found in the counts, said in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.special

from ser_probe.analysis.audit.property_bins import Bins
from ser_probe.analysis.audit.property_groups import PROPERTY_NAMES, PropertyName

PURE = 0.95
"""A value names a class if so many of its clips have it: a few are always mislabelled."""
LEAST_NAMED = 10
"""In fewer clips, one class alone is too easily chance."""


_LONGEST_NAME = 24  # some corpora name speakers by 64 digits


@dataclass(frozen=True)
class Giveaway:
    """What gives a class away.

    Args:
        sentence: Which values, how many clips, which class.
        named: Clips whose class a value or a range names almost for certain (95 % of 10 clips or more).
        largest_share: Of the class that has most such clips, the share of its clips.
    """

    sentence: str
    named: int
    largest_share: float


def find_giveaway(
    properties: Sequence[tuple[str, Bins]], codes: np.ndarray, classes: Sequence[str], *, target: str
) -> Giveaway:
    """Return what gives the classes away: of single values and of all above or below a value, what says most.

    Most is the likelihood of so many clips of one class, against the share that it has of all clips.

    Args:
        properties: Column and bins of each property.
        codes: Each clip's class, int in [0, C), [N].
        classes: Their names, [C].
        target: `label`, `speaker` or `corpus`.
    """
    share = np.bincount(codes, minlength=len(classes)) / len(codes)
    most, sentence = 0.0, ""
    named, largest = 0, 0.0
    for column, bins in properties:
        if bins.count < 2:
            continue
        counts = np.bincount(bins.codes * len(classes) + codes, minlength=bins.count * len(classes))
        counts = counts.reshape(bins.count, len(classes))
        pure = (counts.max(axis=1) >= PURE * counts.sum(axis=1)) & (counts.sum(axis=1) >= LEAST_NAMED)
        if counts[pure].sum() > named:
            named = int(counts[pure].max(axis=1).sum())
            of_class = np.bincount(counts[pure].argmax(axis=1), counts[pure].max(axis=1), len(classes))
            largest = float((of_class / (share * len(codes))).max())
        rules, inside = _rules(bins, counts)
        evidence = _evidence(inside, share)
        if evidence.max() > most:
            most = float(evidence.max())
            rule, place = np.unravel_index(evidence.argmax(), evidence.shape)
            sentence = _sentence(column, bins, rules[rule], inside[rule], int(place), classes, share, target)
    return Giveaway(sentence, named, largest)


Rule = tuple[str, int, int]
"""How: `is`, `below`, `above`; the first and the last bin."""


def _rules(bins: Bins, counts: np.ndarray) -> tuple[list[Rule], np.ndarray]:
    """Return the rules, none of which covers all clips, and the clips of each class in each, [rules, C]."""
    rules: list[Rule] = [("is", place, place) for place in range(bins.count)]
    places = np.flatnonzero(bins.ordered)
    sums = np.cumsum(counts[places], axis=0)
    rules += [("below", int(places[0]), int(place)) for place in places[:-1]]
    rules += [("above", int(place), int(places[-1])) for place in places[1:]]
    return rules, np.concatenate([counts, sums[:-1], sums[-1:] - sums[:-1]])


def _evidence(inside: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return the log likelihood ratio of each class in each rule against its share of all clips, [rules, C].

    0 where a class has less than its share, and in rules of few clips.
    """
    total = inside.sum(axis=1, keepdims=True)
    rate = inside / np.maximum(total, 1)
    ratio = total * (scipy.special.rel_entr(rate, share) + scipy.special.rel_entr(1 - rate, 1 - share))
    return np.where((rate > share) & (total >= LEAST_NAMED), ratio, 0)


def _sentence(
    column: str,
    bins: Bins,
    rule: Rule,
    inside: np.ndarray,
    place: int,
    classes: Sequence[str],
    share: np.ndarray,
    target: str,
) -> str:
    words = PROPERTY_NAMES.get(column, PropertyName(f"a {column}"))
    name = classes[place]
    whose = {"label": "are", "speaker": "are speaker", "corpus": "are of"}[target]
    name = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
    here, total = int(inside[place]), int(inside.sum())
    return f"{here} of {total} clips with {_values(words, bins, rule)} {whose} {name} ({share[place]:.0%} of all clips)"


def _values(words: PropertyName, bins: Bins, rule: Rule) -> str:
    how, first, last = rule
    low, high = bins.low[first], bins.high[last]
    unit = f" {words.unit}" if words.unit else ""
    if isinstance(low, str):
        return f"{words.noun} {low}"
    if isinstance(low, float) and np.isnan(low):
        return f"no value for {words.noun.partition(' ')[2]}"
    if how == "below":
        return f"{words.noun} up to {_number(high)}{unit}"
    if how == "above":
        return f"{words.noun} from {_number(low)}{unit} up"
    if low == high:
        return f"{words.noun} of {_number(low)}{unit}"
    return f"{words.noun} of {_number(low)} to {_number(high)}{unit}"


def _number(value: object) -> str:
    assert isinstance(value, float)
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
