"""What a model is fed of a clip, and what of it enters the cache key."""

from __future__ import annotations

import json

import numpy as np
import pytest
from transformers import Wav2Vec2FeatureExtractor

from ser_probe.models.backbone import Backbone
from ser_probe.models.inputs import InputSpec, normalise_clip


def test_normalisation_equals_the_feature_extractor_of_transformers(clips: list[np.ndarray]) -> None:
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True)
    for clip in clips:
        expected = extractor(clip, sampling_rate=16_000, return_tensors="np").input_values[0]
        np.testing.assert_array_equal(normalise_clip(clip), expected)


def test_normalisation_survives_digital_silence() -> None:
    assert np.array_equal(normalise_clip(np.full(800, 0.25, np.float32)), np.zeros(800, np.float32))


@pytest.mark.parametrize("normalise", [True, False])
def test_a_waveform_is_normalised_or_left_as_it_is(clips: list[np.ndarray], normalise: bool) -> None:
    spec = InputSpec(16_000, normalise)
    np.testing.assert_array_equal(spec.prepare(clips[9]), normalise_clip(clips[9]) if normalise else clips[9])
    assert spec.prepare(clips[9][::2].astype(np.float64)).dtype == np.float32
    # This is a part of every key of the models that hear waveforms: another entry would make their caches stale.
    assert spec.ingredients() == {"sample_rate_hz": 16_000, "normalise": normalise}


def test_ingredients_tell_inputs_apart_and_are_json(tiny_models: dict[str, Backbone]) -> None:
    inputs = {name: b.input for name, b in tiny_models.items()}
    texts = {name: json.dumps(spec.ingredients(), sort_keys=True) for name, spec in inputs.items()}
    assert len(set(texts.values())) == 4, "waves, normalised waves, and two kinds of log-mel features"
    for one in inputs:
        for other in inputs:
            assert (inputs[one] == inputs[other]) == (texts[one] == texts[other]), (one, other)
