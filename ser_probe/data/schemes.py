"""The names of the splits and of the ways to make them. Loads nothing, so that the command line can list them."""

from __future__ import annotations

SPLITS = ("train", "validation", "test")

# Shares of the speakers, by preset.
FRACTIONS = {
    "study_e": {"train": 0.64, "validation": 0.20, "test": 0.16},
    # 80-20 of 80-20: a fifth held out for the test, then a fifth of the rest for validation.
    "study_b": {"train": 0.64, "validation": 0.16, "test": 0.20},
}

SCHEMES = {
    "study_e": "64/20/16 % of the speakers train, validate and test",
    "study_b": "80-20 of 80-20: 64/16/20 % of the speakers train, validate and test",
    "loso": "leave one speaker out: speaker `fold` tests, the next one validates",
    "kfold": "k groups of speakers: group `fold` tests, the next one validates",
    "manifest": "the manifest's own `split` column",
}
