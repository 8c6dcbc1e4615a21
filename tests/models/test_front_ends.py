"""Front ends: the way a GPU takes gives what the way of a CPU gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ser_probe.errors import BackboneError
from ser_probe.models.backbone import Backbone
from ser_probe.models.forward import run_prepared
from ser_probe.models.front_ends import run_padded_convolutions
from ser_probe.models.inputs import normalise_clip
from ser_probe.models.loading import load_backbone
from tests.models.conftest import RELATIVE_TOLERANCE, relative_difference


def test_the_padded_front_end_equals_clip_by_clip(backbone: Backbone, clips: list[np.ndarray]) -> None:
    """The way a GPU takes against the way a CPU takes."""
    if backbone.input.normalise:
        clips = [normalise_clip(clip) for clip in clips]
    padded = run_padded_convolutions(backbone.model, [torch.from_numpy(clip) for clip in clips])

    assert padded.n_frames.tolist() == [
        backbone.model.feature_extractor(torch.from_numpy(c)[None]).shape[-1] for c in clips
    ]
    assert torch.count_nonzero(padded.features[~padded.mask]) == 0
    for row, clip in enumerate(clips):
        alone = backbone.model.feature_extractor(torch.from_numpy(clip)[None])[0].T.detach()
        found = padded.features[row, : len(alone)].detach()
        # Over a clip and not by frame: frames of near silence hold little more than round-off.
        assert relative_difference(found.flatten().numpy(), alone.flatten().numpy()) < RELATIVE_TOLERANCE


def test_a_front_end_whose_norm_mixes_channels_is_refused(clips: list[np.ndarray]) -> None:
    backbone = load_backbone("tiny-hubert-base")
    backbone.model.feature_extractor.conv_layers[0].layer_norm = nn.GroupNorm(4, 48)
    with pytest.raises(BackboneError, match="mixes channels"):
        run_padded_convolutions(backbone.model, [torch.from_numpy(clip) for clip in clips[:2]])


def test_the_padded_front_end_of_data2vec_is_exact_too(
    tiny_models: dict[str, Backbone], clips: list[np.ndarray]
) -> None:
    backbone, waves = tiny_models["tiny-data2vec-audio-base"], [normalise_clip(clip) for clip in clips[:6]]
    padded, alone = (
        run_padded_convolutions(backbone.model, [torch.from_numpy(w) for w in waves]),
        run_prepared(backbone, waves),
    )
    assert torch.equal(padded.n_frames, alone.n_frames)
    found, expected = padded.features.detach().flatten().numpy(), alone.features.detach().flatten().numpy()
    assert relative_difference(found, expected) < RELATIVE_TOLERANCE


def test_a_prepared_clip_that_is_too_short_is_refused(tiny_models: dict[str, Backbone]) -> None:
    waves = [np.zeros(400, np.float32), np.zeros(399, np.float32)]
    with pytest.raises(BackboneError, match="too short for one frame") as caught:
        run_prepared(tiny_models["tiny-wavlm-base"], waves)
    assert caught.value.where == "clip 1 of the batch"
