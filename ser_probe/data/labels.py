"""One set of emotion names for all corpora; each importer maps its corpus's codes to it.

The shared names are nouns. A name stands for what the speakers were asked to portray; that two corpora use the
same name does not mean that they recorded the same thing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ser_probe.errors import ManifestError, collect, did_you_mean

EMOTIONS = (
    "anger", "boredom", "calm", "contempt", "disgust", "fear", "happiness", "neutral", "sadness", "surprise",
)  # fmt: skip


def name_emotions(codes: Iterable[str], table: Mapping[str, str], *, where: object = None) -> list[str]:
    """Return the shared emotion name of each code.

    Args:
        codes: A corpus's emotion codes, one a clip.
        table: Code to shared name, an importer's or the user's own.
        where: What to name as the place of the codes in an error.

    Raises:
        ManifestError: If codes are not in the table; every one is named once, with the codes near it.
    """
    codes = list(codes)
    unknown = sorted({code for code in codes if code not in table})
    if unknown:
        faults = [f"{code!r} ({codes.count(code)} clips): {did_you_mean(code, table)}" for code in unknown]
        raise collect(ManifestError, "Emotion codes that the label table does not know", faults, where=where)
    return [table[code] for code in codes]
