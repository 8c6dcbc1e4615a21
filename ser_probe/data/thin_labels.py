"""Labels of too few speakers: nothing about other speakers can be learnt from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

MIN_SPEAKERS = 2
_TOO_FEW = f"at least {MIN_SPEAKERS} are needed to test on a speaker not trained on"


def thin_labels(clips: pd.DataFrame) -> Iterator[str]:
    """Yield the faults of the labels of some clips; nothing where the table has no labels or speakers."""
    if not {"label", "speaker"} <= {*clips.columns}:
        return
    speakers = _speakers_of_each(clips)
    for label, count in speakers[speakers < MIN_SPEAKERS].items():
        yield f"label {label!r} has {count} speaker; {_TOO_FEW}"
    if len(speakers) == 1:
        yield f"there is only one label, {speakers.index[0]!r}"


def labels_to_keep(faults: Sequence[str], clips: pd.DataFrame) -> str | None:
    """Return how to go on without the thin labels; None where there are other faults, or too few labels are left."""
    if not all(_TOO_FEW in fault for fault in faults):
        return None
    speakers = _speakers_of_each(clips)
    kept = [str(label) for label in speakers.index[speakers >= MIN_SPEAKERS]]
    if len(kept) < 2:
        return None
    return f"name the labels to keep with data.labels ({', '.join(kept)}), or give two labels one name in the table"


def _speakers_of_each(clips: pd.DataFrame) -> pd.Series:
    """Return the number of speakers of each label."""
    return clips[clips["label"] != ""].groupby("label")["speaker"].nunique()
