"""Batches of frames: padding, mask and lengths agree."""

from __future__ import annotations

import numpy as np
import torch

from ser_probe.models.frames import pad_frames


def test_pad_frames_takes_arrays_and_keeps_them(rng: np.random.Generator) -> None:
    parts = [rng.standard_normal((n, 3)).astype(np.float32) for n in (2, 5, 1)]
    frames = pad_frames(parts)
    assert frames.features.shape == (3, 5, 3)
    assert frames.mask.sum(dim=1).tolist() == frames.n_frames.tolist() == [2, 5, 1]
    for row, part in enumerate(parts):
        np.testing.assert_array_equal(frames.features[row, : len(part)], part)
    assert torch.count_nonzero(frames.features[~frames.mask]) == 0
