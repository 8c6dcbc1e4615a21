"""Which of the four groups of eGeMAPS a functional belongs to.

Source: Eyben et al. 2016, "The Geneva Minimalistic Acoustic Parameter Set (GeMAPS) for Voice Research and Affective
Computing", IEEE Transactions on Affective Computing 7, section 3: frequency, energy and amplitude, spectral balance,
and temporal features. Names are openSMILE's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

GROUPS = ("frequency", "energy", "spectral", "temporal")
"""The groups, in the paper's order."""

OTHER = "other"
"""The group of names that are not eGeMAPS'."""

# By the start of the name, the longest that fits: the relative level of a formant is spectral, its frequency is not.
_STARTS = {
    "F0semitone": "frequency",
    "jitter": "frequency",
    "F1frequency": "frequency",
    "F2frequency": "frequency",
    "F3frequency": "frequency",
    "F1bandwidth": "frequency",
    "F2bandwidth": "frequency",
    "F3bandwidth": "frequency",
    "loudnessPeaksPerSec": "temporal",
    "loudness": "energy",
    "shimmer": "energy",
    "HNR": "energy",
    "equivalentSoundLevel": "energy",
    "alphaRatio": "spectral",
    "hammarbergIndex": "spectral",
    "slope": "spectral",
    "spectralFlux": "spectral",
    "mfcc": "spectral",
    "logRelF0": "spectral",
    "F1amplitude": "spectral",
    "F2amplitude": "spectral",
    "F3amplitude": "spectral",
    "VoicedSegmentsPerSec": "temporal",
    "MeanVoicedSegment": "temporal",
    "StddevVoicedSegment": "temporal",
    "MeanUnvoicedSegment": "temporal",
    "StddevUnvoicedSegment": "temporal",
}


def functional_group(name: str) -> str:
    """Return the group of a functional, or `other` where the name is not eGeMAPS'."""
    fitting = [start for start in _STARTS if name.startswith(start)]
    return _STARTS[max(fitting, key=len)] if fitting else OTHER


def group_columns(names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the positions of each group's functionals, in the order of `GROUPS`; groups without any are left out."""
    groups = np.array([functional_group(name) for name in names], dtype=object)
    return {group: np.flatnonzero(groups == group) for group in (*GROUPS, OTHER) if (groups == group).any()}
