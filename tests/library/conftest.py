"""What the library is tried on: a few clips of eight speakers whose features tell three labels apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest


@dataclass(frozen=True)
class Tiny:
    """Clips in memory: layers [2, 72, 6] of two checkpoints, labels and speakers."""

    before: np.ndarray
    after: np.ndarray
    labels: np.ndarray
    speakers: np.ndarray
    features: pd.DataFrame


@pytest.fixture
def tiny(rng: np.random.Generator) -> Tiny:
    n = 72
    labels = np.array(["anger", "joy", "sadness"])[np.arange(n) // 8 % 3]
    before = rng.standard_normal((2, n, 6))
    before[1, np.arange(n), pd.factorize(labels)[0]] += 3
    after = before + 0.3 * rng.standard_normal(before.shape)
    speakers = np.array([f"s{number}" for number in np.arange(n) % 8])
    names = ["F0semitoneFrom27.5Hz_sma3nz_amean", "loudness_sma3_amean"]
    features = pd.DataFrame(before[0, :, :2] + 0.2 * rng.standard_normal((n, 2)), columns=names)
    return Tiny(before, after, labels, speakers, features)
