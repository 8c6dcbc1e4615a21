"""Log-mel inputs: those of the stock feature extractors, of one clip at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from transformers import SeamlessM4TFeatureExtractor, WhisperFeatureExtractor

from ser_probe.errors import BackboneError
from ser_probe.models.backbone import Backbone
from ser_probe.models.catalogue import TINY_CONFIGS
from ser_probe.models.log_mel import TAIL_FRAMES, read_padded_log_mel, read_stacked_log_mel
from tests.models.conftest import synthetic_clip


class Config:
    """As much of a model's config as an input is read with."""

    def __init__(self, **entries: Any) -> None:
        self.__dict__.update(entries)


STACKED = Config(feature_projection_input_dim=160)
PADDED = Config(num_mel_bins=80, max_source_positions=1_500)


@pytest.mark.parametrize("n_samples", [560, 719, 720, 879, 880, 5_000, 16_001])
@pytest.mark.parametrize("padding_value", [0.0, 1.0])
def test_stacked_frames_are_the_valid_ones_of_the_stock_extractor(n_samples: int, padding_value: float) -> None:
    extractor = SeamlessM4TFeatureExtractor(padding_value=padding_value)
    clip = synthetic_clip(np.random.default_rng(1), n_samples)
    long = synthetic_clip(np.random.default_rng(2), 20_000)
    stock = extractor([long, clip], sampling_rate=16_000, return_tensors="np")
    found = read_stacked_log_mel(extractor, STACKED).prepare(clip)
    np.testing.assert_array_equal(found, stock["input_features"][1][stock["attention_mask"][1].astype(bool)])


@pytest.mark.parametrize("n_samples", [400, 401, 5_000, 16_000, 479_500, 480_000])
def test_padded_frames_say_all_that_the_stock_extractor_does(n_samples: int) -> None:
    extractor = WhisperFeatureExtractor()
    clip = synthetic_clip(np.random.default_rng(3), n_samples)
    stock = extractor(clip, sampling_rate=16_000, return_tensors="np", return_attention_mask=True)
    features, mask = stock["input_features"][0].T, stock["attention_mask"][0]
    found = read_padded_log_mel(extractor, PADDED).prepare(clip)
    assert len(found) == mask.sum() + TAIL_FRAMES
    known = min(len(found), 3_000)
    np.testing.assert_array_equal(found[:known], features[:known])
    assert (features[known:] == found[-1]).all(), "what follows is silence alone"


def test_frame_counts_equal_the_extractors_at_every_length(tiny_models: dict[str, Backbone]) -> None:
    lengths = np.arange(560, 1_300, 7)
    for name in ("tiny-wav2vec2-bert", "tiny-whisper"):
        backbone = tiny_models[name]
        counts = backbone.frame_counts(lengths)
        assert counts.dtype == np.int64
        rng = np.random.default_rng(4)
        tail = TAIL_FRAMES if name == "tiny-whisper" else 0
        made = [len(backbone.input.prepare(rng.standard_normal(n).astype(np.float32))) - tail for n in lengths]
        assert counts.tolist() == [-(-n // 2) if tail else n for n in made]


@pytest.mark.parametrize(
    ("read", "extractor", "config"),
    [
        (read_stacked_log_mel, SeamlessM4TFeatureExtractor(stride=4), STACKED),
        (read_padded_log_mel, WhisperFeatureExtractor(feature_size=128), PADDED),
        (read_padded_log_mel, WhisperFeatureExtractor(chunk_length=20), PADDED),
    ],
)
def test_a_feature_extractor_of_another_model_is_refused(read: Any, extractor: Any, config: Config) -> None:
    with pytest.raises(BackboneError, match="feature extractor and the model do not fit"):
        read(extractor, config)


@pytest.mark.parametrize("settings", [{"dither": 0.1}, {"padding_side": "left"}])
def test_a_feature_extractor_that_is_not_exact_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(BackboneError, match="adds noise or pads clips in front"):
        read_padded_log_mel(WhisperFeatureExtractor(**settings), PADDED)


def test_settings_change_the_key_where_they_change_values() -> None:
    def ingredients(**settings: Any) -> dict[str, Any]:
        return read_padded_log_mel(WhisperFeatureExtractor(**settings), PADDED).ingredients()

    assert ingredients() == ingredients(return_attention_mask=True)
    assert ingredients(n_fft=512) != ingredients()
    assert TINY_CONFIGS["tiny-whisper"]["num_mel_bins"] == 80
