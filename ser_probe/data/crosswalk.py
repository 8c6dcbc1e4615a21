"""The crosswalk: which words of corpora and tables stand for which shared emotion name.

It joins spellings and translations of one word, never two emotions: excitement is not happiness, pleasant surprise not
surprise, and calm not neutral until the user says so with a map. Two corpora that use one word may still have recorded
different things.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from ser_probe.data.identities import spelling_key
from ser_probe.data.labels import EMOTIONS

WORDS: Mapping[str, tuple[str, ...]] = {
    "amusement": ("amused",),
    "anger": ("angry", "ang", "hot anger", "rabbia", "Wut", "Ärger", "colère", "ira", "enojo", "生气"),
    "anxiety": ("anxious",),
    "apology": ("apologetic",),
    "assertiveness": ("assertive",),
    "boredom": ("bored", "Langeweile", "noia"),
    "calm": ("calmness", "calma"),
    "concern": ("concerned",),
    "contempt": ("contemptuous", "disprezzo"),
    "disappointment": ("disappointed",),
    "disgust": ("disgusted", "dis", "disgusto", "Ekel", "dégoût", "asco"),
    "encouragement": ("encouraging",),
    "enthusiasm": ("enthusiastic",),
    "excitement": ("excited", "exc"),
    "fear": ("fearful", "fea", "scared", "paura", "Angst", "peur", "miedo"),
    "frustration": ("frustrated", "fru"),
    "happiness": (
        "happy", "hap", "joy", "joyful", "gioia", "felicità", "Freude", "joie", "felicidad", "alegría", "快乐",
    ),
    "high_activation": (),
    "low_activation": (),
    "neutral": ("neutrality", "neu", "neutral state", "neutro", "neutre", "中立"),
    "no_agreement": ("no agreement", "xxx"),
    "other": ("oth", "others"),
    "pain": (),
    "pleasant_surprise": ("pleasant surprise", "pleasantly surprised", "ps"),
    "pleasure": ("pleased",),
    "sadness": ("sad", "tristezza", "Trauer", "tristesse", "tristeza", "伤心"),
    "sleepiness": ("sleepy",),
    "surprise": ("surprised", "sur", "sorpresa", "Überraschung", "惊喜"),
}  # fmt: skip
"""Words that become each shared name, besides the name itself; case and blanks do not matter."""


def find_emotion(word: str) -> str | None:
    """Return the shared name of a word; None where the crosswalk does not have it."""
    return _by_word().get(spelling_key(word, zeros=False))


@cache
def _by_word() -> Mapping[str, str]:
    return {spelling_key(word, zeros=False): name for name in EMOTIONS for word in (name, *WORDS.get(name, ()))}
