"""One set of emotion names for all corpora, and the tables that map each corpus's codes to it.

The shared names are nouns. A name stands for what the speakers were asked to portray; that two corpora use the
same name does not mean that they recorded the same thing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ser_probe.errors import ManifestError, collect, did_you_mean

EMOTIONS = (
    "anger", "boredom", "calm", "contempt", "disgust", "fear", "happiness", "neutral", "sadness", "surprise",
)  # fmt: skip

EMOVO_CODES = {
    "dis": "disgust",  # disgusto
    "gio": "happiness",  # gioia
    "neu": "neutral",  # neutro
    "pau": "fear",  # paura
    "rab": "anger",  # rabbia
    "sor": "surprise",  # sorpresa
    "tri": "sadness",  # tristezza
}
EMODB_CODES = {
    "A": "fear",  # Angst
    "E": "disgust",  # Ekel
    "F": "happiness",  # Freude
    "L": "boredom",  # Langeweile
    "N": "neutral",
    "T": "sadness",  # Trauer
    "W": "anger",  # Wut
}
CREMA_D_CODES = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}
CREMA_D_VOTES = {code[0]: name for code, name in CREMA_D_CODES.items()}


def name_emotions(codes: Iterable[str], table: Mapping[str, str], *, where: object = None) -> list[str]:
    """Return the shared emotion name of each code.

    Args:
        codes: A corpus's emotion codes, one a clip.
        table: Code to shared name, one of the tables of this module or the user's own.
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
