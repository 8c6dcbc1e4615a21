"""One set of emotion names for all corpora; each importer maps its corpus's codes to it.

The shared names are nouns. A name stands for what the speakers were asked to portray, or, where a corpus was labelled
by listeners, for what they heard; that two corpora use the same name does not mean that they recorded the same thing.
Beside the six of Ekman, neutral, calm, boredom and contempt:

- amusement and sleepiness: EmoV-DB's, mostly laughter and yawns within read speech.
- anxiety, apology, assertiveness, concern, encouragement: the secondary emotions of JL-Corpus.
- disappointment, pain, pleasure: of ASVP-ESD, where they are mostly sounds without words.
- enthusiasm: RESD's; it is kept apart from excitement, which is IEMOCAP's, JL-Corpus's and ASVP-ESD's.
- frustration: IEMOCAP's largest class.
- high_activation and low_activation: BAVED's levels, which say how strong an emotion is and not which.
- pleasant_surprise: TESS's, where the user keeps it apart from surprise.
- other: an emotion that the corpus's list lacks. no_agreement: the listeners did not agree. Neither is an emotion.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ser_probe.errors import ManifestError, collect, did_you_mean

EMOTIONS = (
    "amusement", "anger", "anxiety", "apology", "assertiveness", "boredom", "calm", "concern", "contempt",
    "disappointment", "disgust", "encouragement", "enthusiasm", "excitement", "fear", "frustration", "happiness",
    "high_activation", "low_activation", "neutral", "no_agreement", "other", "pain", "pleasant_surprise", "pleasure",
    "sadness", "sleepiness", "surprise",
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
