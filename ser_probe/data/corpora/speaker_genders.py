"""The gender of each speaker, where a corpus writes it into every file name and a few names are wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from ser_probe.data.corpora.clips import count_of


def settle_genders(speakers: Sequence[str], genders: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Return each clip's gender as most clips of its speaker have it, and a note where clips disagree.

    Args:
        speakers: One a clip.
        genders: As the clip's own name has it, one a clip.

    Returns:
        The genders, one a clip, and at most one note. A speaker without a majority keeps an empty gender.
    """
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for speaker, gender in zip(speakers, genders, strict=True):
        counts[speaker][gender] += 1
    mixed = sorted(speaker for speaker, count in counts.items() if len(count) > 1)
    majority = {speaker: _most_frequent(count) for speaker, count in counts.items()}
    if not mixed:
        return list(genders), ()
    odd = sum(gender != majority[speaker] for speaker, gender in zip(speakers, genders, strict=True))
    note = (
        f"names give speakers {', '.join(mixed)} two genders; what most clips of the speaker say counts, against "
        f"{count_of(odd, 'clip')}"
    )
    return [majority[speaker] for speaker in speakers], (note,)


def _most_frequent(count: Counter[str]) -> str:
    first, *others = count.most_common(2)
    return "" if others and others[0][1] == first[1] else first[0]
