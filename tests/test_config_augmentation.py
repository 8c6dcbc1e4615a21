"""The section finetune.augment: what it reads, what it refuses, and that parameters pass through as they were given."""

from __future__ import annotations

from typing import Any

import pytest

from ser_probe.config.augmentation import AugmentConfig
from ser_probe.config.loading import check_options, study_yaml
from ser_probe.errors import ConfigError

NOISE = {"library": "audiomentations", "name": "AddGaussianSNR", "min_snr_db": 5, "max_snr_db": 30.5}
MASK = {"name": "FrequencyMask", "max_width_hz": 1500.0}


def check(**options: Any) -> AugmentConfig:
    return check_options(AugmentConfig, {"transforms": [NOISE, MASK], **options})


def test_what_is_read() -> None:
    config = check(mode="union", probability=0.3)
    noise, mask = config.transforms
    assert (noise.library, noise.name) == ("audiomentations", "AddGaussianSNR")
    assert noise.parameters == {"min_snr_db": 5, "max_snr_db": 30.5}
    assert isinstance(noise.parameters["min_snr_db"], int), "what is whole stays whole"
    assert (mask.library, mask.parameters) == ("ser-probe", {"max_width_hz": 1500.0})
    assert (config.mode, config.probability) == ("union", 0.3)
    assert (check().mode, check().probability) == ("on-the-fly", 0.5)


def test_parameters_of_any_shape_pass_through() -> None:
    given = {"sounds_path": ["a.wav", "b"], "noise_rms": "absolute"}
    (transform,) = check(transforms=[{"library": "audiomentations", "name": "AddShortNoises", **given}]).transforms
    assert transform.parameters == given


def test_it_is_written_out_and_read_back() -> None:
    config = check(mode="union")
    assert "min_snr_db: 5" in study_yaml(config)
    assert check_options(AugmentConfig, config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"mode": "onion"}, "expected 'on-the-fly' or 'union', found 'onion'; did you mean 'union'?"),
        ({"probability": 0.0}, "probability (command line): expected a number above 0, found 0.0"),
        ({"probability": 1.5}, "probability (command line): expected 1 or less, found 1.5"),
        ({"transforms": []}, "transforms (command line): expected a list with at least 1, found []"),
        ({"transforms": [{"library": "ser-probe"}]}, "transforms[0].name (command line): required, and not given"),
        (
            {"transforms": [{**NOISE, "library": "torchaudio"}]},
            "transforms[0].library (command line): expected 'audiomentations', 'torch-audiomentations' or 'ser-probe', "
            "found 'torchaudio'",
        ),
        ({"seed": 3}, "seed (command line): unknown key; known: mode, probability, transforms"),
    ],
)  # fmt: skip
def test_what_is_refused(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(**options)
    assert fault in str(caught.value)


def test_there_must_be_something_to_apply() -> None:
    with pytest.raises(ConfigError, match="transforms: required, and not given"):
        check_options(AugmentConfig, {"mode": "union"})
