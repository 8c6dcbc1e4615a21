"""Clips of speakers whose voices differ, with features of which some are linear in a representation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from ser_probe.analysis.acoustics.folds import acoustic_folds
from ser_probe.analysis.acoustics.prediction import AcousticTargets, prepare_acoustic_targets

N, N_SPEAKERS, WIDTH = 240, 8, 12


@dataclass(frozen=True)
class Voices:
    """AcousticTargets: 0 kept by x, 1 kept as far as the speaker goes, 2 kept with noise, 3 not kept."""

    x: np.ndarray
    y: np.ndarray
    speakers: np.ndarray
    genders: np.ndarray


@pytest.fixture
def voices(rng: np.random.Generator) -> Voices:
    speaker = np.arange(N) % N_SPEAKERS
    gender = speaker % 2
    x = rng.standard_normal((N, WIDTH))
    x[:, 0] += 40 * gender
    y = np.stack(
        [
            x[:, 1] + 0.05 * rng.standard_normal(N),
            3 * gender + rng.standard_normal(N),
            x[:, 2] + rng.standard_normal(N),
            rng.standard_normal(N),
        ],
        axis=1,
    )
    return Voices(x, 50 + 7 * y, np.array([f"s{s}" for s in speaker]), np.array(["f", "m"])[gender])


@pytest.fixture
def targets(voices: Voices) -> AcousticTargets:
    folds = acoustic_folds(voices.speakers, 4, genders=voices.genders)
    return prepare_acoustic_targets(voices.y, folds, speakers=voices.speakers, n_inner=3)
