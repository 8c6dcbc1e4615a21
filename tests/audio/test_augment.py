"""Augmentation: every class that can be named keeps the contract of a transform, and every slip is said at once."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import pickle
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from ser_probe.audio import augment_classes
from ser_probe.audio.augment import (
    augment_copy,
    augment_on_the_fly,
    build_transform,
    check_transforms,
    ingredients,
)
from ser_probe.audio.augment_classes import OWN, PACKAGES, UNFIT, TransformSpec, list_classes, list_parameters
from ser_probe.audio.frequency_mask import FrequencyMask
from ser_probe.clip_length import MIN_SAMPLES
from ser_probe.errors import AudioError, ConfigError, MissingExtraError

RATE_HZ = 16_000
HAS_PACKAGES = all(importlib.util.find_spec(package) for package in PACKAGES.values())
pytestmark = pytest.mark.skipif(not HAS_PACKAGES, reason="needs the extra augment")

# Classes that import a package of their own, which the extra does not bring.
NEEDS = {
    "RoomSimulator": "pyroomacoustics",
    "Mp3Compression": "fast_mp3_augment",
    "Limiter": "numpy_audio_limiter",
    "LoudnessNormalization": "loudness",
}
PARAMETERS: dict[str, dict[str, Any]] = {
    "AdjustDuration": {"duration_seconds": 1.2},
    "SpliceOut": {"num_time_intervals": 2, "max_width": 100},
    "FrequencyMask": {"min_width_hz": 500},
}
WITH_FILES = {"AddBackgroundNoise": "sounds_path", "AddShortNoises": "sounds_path", "ApplyImpulseResponse": "ir_path"}
# Nothing to draw: every seed gives the same.
WITHOUT_DRAWS = {
    *("Clip", "Normalize", "PolarityInversion", "Reverse", "Trim", "Identity", "PeakNormalization", "TimeInversion"),
    "AdjustDuration",  # a shorter clip is padded, always alike
}


def named() -> list[tuple[str, str]]:
    return [(library, name) for library in (*PACKAGES, OWN) for name in list_classes(library)] if HAS_PACKAGES else []


@pytest.fixture
def clip() -> np.ndarray:
    """0.9 s of a voice-like sound with a pause, float32."""
    rng = np.random.default_rng(3)
    time_s = np.arange(14_400) / RATE_HZ
    voice = sum(np.sin(2 * np.pi * 140 * k * time_s) / k for k in range(1, 12))
    return (0.2 * voice * (time_s > 0.2) + 0.005 * rng.standard_normal(len(time_s))).astype(np.float32)


@pytest.fixture
def noises(tmp_path: Path) -> Path:
    folder = tmp_path / "noises"
    for name in ("b/2.wav", "a/1.wav", "3.wav"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        samples = np.random.default_rng(len(name) + ord(name[0])).standard_normal(8_000) * np.geomspace(1, 1e-3, 8_000)
        soundfile.write(folder / name, 0.1 * samples, RATE_HZ)
    return folder


@pytest.fixture
def spec_of(noises: Path) -> Callable[[str, str], TransformSpec]:
    def make(library: str, name: str) -> TransformSpec:
        if name in NEEDS and library == "audiomentations" and importlib.util.find_spec(NEEDS[name]) is None:
            pytest.skip(f"{name} needs {NEEDS[name]}")
        files = {WITH_FILES[name]: str(noises)} if name in WITH_FILES else {}
        return TransformSpec(library, name, {**PARAMETERS.get(name, {}), **files})

    return make


def tone(n_samples: int = RATE_HZ) -> np.ndarray:
    noise = 0.02 * np.random.default_rng(0).standard_normal(n_samples)
    return (0.2 * np.sin(2 * np.pi * 150 * np.arange(n_samples) / RATE_HZ) + noise).astype(np.float32)


def states() -> tuple[Any, ...]:
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    return random.getstate(), kind, keys.tolist(), rest, torch.get_rng_state().tolist()


def draw_from_all() -> None:
    random.random()
    np.random.rand(3)  # noqa: NPY002
    torch.rand(3)


@pytest.mark.parametrize(("library", "name"), named(), ids=[f"{library}-{name}" for library, name in named()])
def test_every_class_keeps_the_contract(
    library: str, name: str, clip: np.ndarray, spec_of: Callable[[str, str], TransformSpec]
) -> None:
    spec = spec_of(library, name)
    check_transforms([spec], clip)
    transform = build_transform(spec, RATE_HZ)
    before, given = states(), clip.copy()
    found = transform(clip, 11)
    assert states() == before, "the caller's generators are as they were"
    np.testing.assert_array_equal(clip, given, err_msg="the caller's samples are as they were")
    assert found.dtype == np.float32
    assert found.ndim == 1
    assert len(found) >= MIN_SAMPLES
    assert np.isfinite(found).all()
    transform(clip[:9_000], 12)
    draw_from_all()
    np.testing.assert_array_equal(transform(clip, 11), found, err_msg="whatever ran before")
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(transform))(clip, 11), found, err_msg="another process")
    others = [transform(clip, seed) for seed in range(12, 18)]
    same = [len(other) == len(found) and np.array_equal(other, found) for other in others]
    # Not each differs from each: some draw from a few files or pitches, or seldom add something.
    assert all(same) if name in WITHOUT_DRAWS else not all(same)


def test_the_probability_of_the_class_itself_is_one(clip: np.ndarray) -> None:
    for library in PACKAGES:
        inversion = build_transform(TransformSpec(library, "PolarityInversion"), RATE_HZ)
        for seed in range(20):
            np.testing.assert_array_equal(inversion(clip, seed), -clip)


def test_tempo_and_level_change_as_asked(clip: np.ndarray) -> None:
    stretch = TransformSpec(
        "audiomentations", "TimeStretch", {"min_rate": 1.25, "max_rate": 1.25, "leave_length_unchanged": False}
    )
    assert len(build_transform(stretch, RATE_HZ)(clip, 0)) == pytest.approx(len(clip) / 1.25, rel=0.02)
    louder = TransformSpec("torch-audiomentations", "Gain", {"min_gain_in_db": 5.999, "max_gain_in_db": 6.001})
    np.testing.assert_allclose(build_transform(louder, RATE_HZ)(clip, 0), clip * 10 ** (6 / 20), rtol=2e-4)


def test_an_octave_up_doubles_the_pitch() -> None:
    tone = np.sin(2 * np.pi * 200 * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)
    octave = TransformSpec("audiomentations", "PitchShift", {"min_semitones": 12, "max_semitones": 12})
    found = build_transform(octave, RATE_HZ)(tone, 0)
    assert np.abs(np.fft.rfft(found)).argmax() == pytest.approx(400, abs=3)
    assert len(found) == len(tone)


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_on_the_fly_each_is_drawn_with_its_probability(probability: float) -> None:
    samples = np.ones(500, np.float32)
    halve, third = (
        build_transform(TransformSpec("audiomentations", "Gain", {"min_gain_db": db, "max_gain_db": db}), RATE_HZ)
        for db in (-20.0, -40.0)
    )
    gains_db = [20 * np.log10(augment_on_the_fly(samples, [halve, third], probability, seed)[0]) for seed in range(400)]
    first = np.array([round(gain) in (-20, -60) for gain in gains_db])
    second = np.array([round(gain) in (-40, -60) for gain in gains_db])
    # Within four standard errors of 400 draws; each alone, and both together as often as independent draws are.
    tolerance = 4 * np.sqrt(probability * (1 - probability) / 400)
    assert abs(first.mean() - probability) <= tolerance
    assert abs(second.mean() - probability) <= tolerance
    assert abs((first & second).mean() - probability**2) <= tolerance


def test_on_the_fly_depends_on_the_seed_alone(clip: np.ndarray) -> None:
    transforms = [build_transform(TransformSpec(*named), RATE_HZ) for named in
                  (("audiomentations", "AddGaussianNoise"), (OWN, "FrequencyMask"))]  # fmt: skip
    once = augment_on_the_fly(clip, transforms, 1.0, 5)
    draw_from_all()
    np.testing.assert_array_equal(augment_on_the_fly(clip, transforms, 1.0, 5), once)
    assert not np.array_equal(augment_on_the_fly(clip, transforms, 1.0, 6), once)
    # In their order, each with a seed of its own: the second does not hear how often the first one drew.
    alone = augment_on_the_fly(clip, [transforms[1], transforms[1]], 1.0, 5)
    noisy = augment_on_the_fly(clip, transforms, 1.0, 5)
    assert not np.array_equal(alone, noisy)
    assert augment_on_the_fly(clip, transforms, 0.0, 5) is clip


def test_copies_of_a_union(clip: np.ndarray) -> None:
    noise = build_transform(TransformSpec("audiomentations", "AddGaussianNoise"), RATE_HZ)
    mask = build_transform(TransformSpec(OWN, "FrequencyMask", {"min_width_hz": 800}), RATE_HZ)
    copies = [augment_copy(clip, [noise, mask], copy, run_seed=1, clip_id="x") for copy in range(3)]
    assert copies[0] is clip
    assert not np.array_equal(copies[1], clip)
    assert len({copy.tobytes() for copy in copies}) == 3
    again = augment_copy(clip, [noise, mask], 1, run_seed=1, clip_id="x")
    np.testing.assert_array_equal(again, copies[1])
    for change in ({"run_seed": 2}, {"clip_id": "y"}):
        other = augment_copy(clip, [noise, mask], 1, **{"run_seed": 1, "clip_id": "x", **change})
        assert not np.array_equal(other, copies[1])


def test_files_are_found_in_one_order_and_count_by_content(noises: Path, clip: np.ndarray, tmp_path: Path) -> None:
    spec = TransformSpec("audiomentations", "AddBackgroundNoise", {"sounds_path": str(noises), "max_snr_db": 9.0})
    listed = [str(noises / name) for name in ("b/2.wav", "3.wav", "a/1.wav")]
    found = build_transform(spec, RATE_HZ)(clip, 1)
    elsewhere = tmp_path / "moved"
    noises.rename(elsewhere)
    moved = TransformSpec(spec.library, spec.name, {**spec.parameters, "sounds_path": [str(elsewhere)]})
    np.testing.assert_array_equal(build_transform(moved, RATE_HZ)(clip, 1), found)
    before = ingredients(moved)
    assert before["parameters"] == {"max_snr_db": 9.0}
    assert len(before["files"]) == len(listed)
    (elsewhere / "a/1.wav").write_bytes((elsewhere / "3.wav").read_bytes())
    assert ingredients(moved)["files"] != before["files"]


def test_ingredients_name_what_decides() -> None:
    for library in PACKAGES:
        assert ingredients(TransformSpec(library, "Gain"))["version"] == importlib.metadata.version(library)
    mask = TransformSpec(OWN, "FrequencyMask", {"n_masks": 2, "max_width_hz": 500})
    assert ingredients(mask) == {
        "library": OWN, "version": 1, "name": "FrequencyMask", "parameters": {"max_width_hz": 500, "n_masks": 2},
        "files": [],
    }  # fmt: skip


FAULTS = [
    (("audiomentation", "Gain", {}), "there is no library 'audiomentation'; did you mean 'audiomentations'"),
    (("audiomentations", "AddGausianSNR", {}), "no transform 'AddGausianSNR'; did you mean 'AddGaussianSNR'"),
    (("ser-probe", "PitchShift", {}), "give `library: audiomentations or torch-audiomentations`"),
    (("audiomentations", "FrequencyMask", {}), "give `library: ser-probe`"),
    (("audiomentations", "Compose", {}), "audiomentations has no transform 'Compose'"),
    (("audiomentations", "core.audio_loading_utils.load_sound_file", {}), "has no transform 'core.audio_"),
    (("audiomentations", "__builtins__", {}), "audiomentations has no transform '__builtins__'"),
    (("audiomentations", "Lambda", {}), "Lambda of audiomentations cannot be used: it runs a function"),
    (("audiomentations", "Resample", {}), "cannot be used: it changes the sampling rate"),
    (("audiomentations", "Gain", {"min_gain": 3}), "there is no parameter 'min_gain'; did you mean 'min_gain_db'"),
    (("torch-audiomentations", "Identity", {"level": 3}), "there is no parameter 'level'; it has none"),
    (("audiomentations", "Gain", {"p": 0.2}), "'p' is set by ser-probe; how often it is applied says `probability`"),
    (("torch-audiomentations", "Gain", {"mode": "per_batch"}), "the parameter 'mode' is set by ser-probe"),
    (("audiomentations", "AddBackgroundNoise", {}), "the parameter 'sounds_path' is required, and not given"),
    (
        ("audiomentations", "AddBackgroundNoise", {"sounds_path": "nowhere", "noise_transform": "os.system"}),
        "there is no parameter 'noise_transform'",
    ),
    (("audiomentations", "AddBackgroundNoise", {"sounds_path": "no.wav"}), "there is no file or folder 'no.wav'"),
    (
        ("audiomentations", "Gain", {"min_gain_db": 9.0, "max_gain_db": 2.0}),
        "refuses its parameters: min_gain_db cannot be greater than max_gain_db",
    ),
    (("audiomentations", "Gain", {"min_gain_db": "loud"}), "refuses its parameters: TypeError: '>' not supported"),
    (("audiomentations", "Clip", {"a_min": 1.0, "a_max": 0.0}), "refuses its parameters: it does not hold that a_min"),
    (
        ("audiomentations", "AdjustDuration", {"duration_seconds": 0.02}),
        "leaves too little of a clip of 16000 samples; 320 samples",
    ),
    (("audiomentations", "Gain", {"min_gain_db": 900, "max_gain_db": 900}), "samples that are not finite numbers"),
    (("ser-probe", "FrequencyMask", {"n_masks": 0}), "n_masks must be a whole number of 1 or more, not 0"),
    (("ser-probe", "FrequencyMask", {"low_hz": 7500}), "max_width_hz (1000) does not fit between 7500 and 8000 Hz"),
]


@pytest.mark.parametrize(("spec", "fault"), FAULTS, ids=[fault[:40] for _, fault in FAULTS])
def test_faults(spec: tuple[str, str, dict[str, Any]], fault: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        check_transforms([TransformSpec(*spec)], tone())
    assert fault in str(caught.value)
    assert "transforms[0]: " in str(caught.value)


def test_all_faults_of_all_transforms_come_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="The augmentations cannot be used: 4 faults") as caught:
        check_transforms([
            TransformSpec("audiomentations", "Gain", {"min_db": 1, "most": 2}),
            TransformSpec(OWN, "FrequencyMask"),
            TransformSpec("audiomentations", "PitchShft"),
            TransformSpec("audiomentations", "AddShortNoises", {"sounds_path": str(tmp_path)}),
        ], tone())  # fmt: skip
    lines = [line.split(":")[0] for line in str(caught.value).splitlines()[1:]]
    assert lines == [f"  - transforms[{number}]" for number in (0, 0, 2, 3)]
    assert f"there is no audio file in '{tmp_path}'" in str(caught.value)


@pytest.mark.parametrize(("library", "name"), [entry for entry in UNFIT if entry[0] == "torch-audiomentations"])
def test_what_is_left_out_of_torch_audiomentations_does_not_work_here(
    library: str, name: str, noises: Path, clip: np.ndarray
) -> None:
    """The counter-case of `UNFIT`: a class that works again with a later release should come back."""
    import torch_audiomentations

    made = getattr(torch_audiomentations, name)
    files = {"AddBackgroundNoise": {"background_paths": str(noises)}, "ApplyImpulseResponse": {"ir_paths": str(noises)}}
    batch = torch.from_numpy(clip)[None, None]
    transform = made(**files.get(name, {}), p=1.0, sample_rate=RATE_HZ, output_type="dict")
    if name == "ShuffleChannels":
        with pytest.warns(UserWarning, match="Mono audio"):
            assert torch.equal(transform(batch, sample_rate=RATE_HZ).samples, batch)
    else:
        with pytest.raises((AttributeError, ImportError)):
            transform(batch, sample_rate=RATE_HZ)


def test_what_cannot_be_repeated_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class that draws from a generator of its own, which no seed reaches."""

    class Restless(FrequencyMask):
        def apply(self, samples: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
            return super().apply(samples, sample_rate_hz, np.random.default_rng())

    monkeypatch.setitem(augment_classes.OWN_CLASSES, "Restless", Restless)
    with pytest.raises(ConfigError, match=r"Restless \(ser-probe\) with these parameters is not repeatable"):
        check_transforms([TransformSpec(OWN, "Restless")], tone())


def test_a_clip_that_a_class_cannot_work_on_is_named() -> None:
    splice = build_transform(TransformSpec("torch-audiomentations", "SpliceOut", {"max_width": 900}), RATE_HZ)
    with pytest.raises(AudioError, match=r"SpliceOut \(torch-audiomentations\) fails on a clip of 500 samples"):
        splice(np.ones(500, np.float32), 0)
    with pytest.raises(ConfigError, match="fails on a clip of 1600 samples"):
        check_transforms([splice.spec], tone(1_600))


def test_without_the_packages_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, clip: np.ndarray) -> None:
    for package in PACKAGES.values():
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"ser-probe\[augment\]"):
        build_transform(TransformSpec("audiomentations", "Gain"), RATE_HZ)
    with pytest.raises(ConfigError, match=r"2 faults(.|\n)*'torch_audiomentations'.*ser-probe\[augment\]"):
        check_transforms([TransformSpec(library, "Gain") for library in PACKAGES], tone())
    with pytest.raises(ConfigError, match="ser-probe has no transform 'Gain'; known: FrequencyMask"):
        build_transform(TransformSpec(OWN, "Gain"), RATE_HZ)
    assert build_transform(TransformSpec(OWN, "FrequencyMask"), RATE_HZ)(clip, 0).shape == clip.shape


def test_the_parameters_offered_are_those_of_the_class() -> None:
    assert list_parameters("audiomentations", "Gain") == ["min_gain_db", "max_gain_db"]
    assert "noise_transform" not in list_parameters("audiomentations", "AddShortNoises")
    assert list_parameters("torch-audiomentations", "Gain") == ["min_gain_in_db", "max_gain_in_db"]
    assert "mode" in list_parameters("audiomentations", "Padding"), "no other library's word"
