"""A file's samples: telephone codings, channels that cancel, values beyond all scales, and the same audio again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_probe.audio import load_file
from ser_probe.audio.load import AudioSpec, hear_clip, load_clip
from ser_probe.audio.sample_sums import MIN_MEAN_ENERGY
from ser_probe.errors import AudioError

from ..conftest import SHARED_DATA
from ..voices import voice
from .containers import RATE_HZ, write_coded

ROOT = Path(__file__).resolve().parents[2]
LEVELLED = AudioSpec(loudness_lufs=-23, peak_dbfs=-1)


@pytest.mark.parametrize(("container", "coding", "agreement"), [
    ("WAV", "GSM610", 0.9), ("WAV", "G721_32", 0.98), ("AU", "G723_24", 0.95), ("WAV", "NMS_ADPCM_32", 0.9),
    ("AIFF", "GSM610", 0.9), ("W64", "GSM610", 0.9),
])  # fmt: skip
def test_telephone_codings_are_decoded(container: str, coding: str, agreement: float, tmp_path: Path) -> None:
    """The decoder cannot seek in them."""
    samples = voice(1, 130, 1.0)
    made = load_clip(write_coded(tmp_path, container, coding, samples), AudioSpec()).samples[: len(samples)]
    assert np.corrcoef(made, samples[: len(made)])[0, 1] > agreement


def stereo(tmp_path: Path, left: np.ndarray, right: np.ndarray, subtype: str = "PCM_16") -> Path:
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([left, right], axis=1), RATE_HZ, subtype=subtype)
    return path


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
@pytest.mark.parametrize("remainder", ["none", "a rounding step", "a hundredth"])
def test_channels_that_cancel_are_refused(remainder: str, subtype: str, tmp_path: Path) -> None:
    left = voice(1, 130, 1.0)
    right = -left
    if remainder == "a rounding step":
        right[::3] += 1 / 32_768
    elif remainder == "a hundredth":
        right *= 0.98
    path = stereo(tmp_path, left, right, subtype)
    with pytest.raises(AudioError, match=r"channels cancel(.|\n)*of the energy of 2 channels(.|\n)*keep one channel"):
        load_clip(path, AudioSpec())


def test_an_offset_does_not_hide_that_channels_cancel(tmp_path: Path) -> None:
    left = 0.3 * voice(1, 130, 1.0)
    with pytest.raises(AudioError, match="channels cancel"):
        load_clip(stereo(tmp_path, left + 0.4, 0.4 - left), AudioSpec())


@pytest.mark.parametrize("kind", ["alike", "one silent", "independent", "wide", "one inverted and half as loud"])
def test_stereo_as_recorded_is_taken(kind: str, tmp_path: Path) -> None:
    left, noise = voice(1, 130, 1.0), voice(2, 171, 1.0)
    middle, side = 0.3 * left, 0.6 * noise
    right = {
        "alike": left,
        "one silent": 0 * left,
        "independent": noise,
        "wide": middle - side,
        "one inverted and half as loud": -0.5 * left,
    }[kind]
    left = middle + side if kind == "wide" else left
    clip = load_clip(stereo(tmp_path, left, right, "FLOAT"), AudioSpec())
    np.testing.assert_allclose(clip.samples, (left + right) / 2, atol=1e-6)
    energy = np.mean([np.var(left), np.var(right)])
    assert np.var(clip.samples) > 10 * MIN_MEAN_ENERGY * energy  # far from what is refused


def test_real_stereo_recordings_are_taken() -> None:
    paths = [*(SHARED_DATA / "RAVDESS").rglob("*.wav"), *(SHARED_DATA / "EMOVO_original").rglob("*.wav")]
    paths = [path for path in paths if soundfile.info(path).channels == 2]
    if not paths:
        pytest.skip("no stereo recordings are at hand")
    for path in paths:
        channels, _ = soundfile.read(path)
        assert np.var(channels.mean(axis=1)) > 100 * MIN_MEAN_ENERGY * np.mean(np.var(channels, axis=0)), path
        assert len(load_clip(path, AudioSpec()).samples)


@pytest.mark.parametrize("peak", [1e10, 1e30, 1e155, 1e300])
@pytest.mark.parametrize("spec", [AudioSpec(), AudioSpec(8_000), LEVELLED], ids=["as is", "resampled", "levelled"])
def test_a_sample_beyond_any_scale_is_refused(peak: float, spec: AudioSpec, tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    soundfile.write(path, voice(1, 130, 0.5).astype(np.float64) * peak, RATE_HZ, subtype="DOUBLE")
    with pytest.raises(AudioError, match=r"beyond any full scale(.|\n)*clip\.wav(.|\n)*2147483648(.|\n)*a sample of"):
        load_clip(path, spec)


def test_integers_stored_as_floats_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    samples = voice(1, 130, 0.5)
    soundfile.write(path, samples * 2.0**31, RATE_HZ, subtype="FLOAT")
    levelled = load_clip(path, LEVELLED).samples
    soundfile.write(path, samples, RATE_HZ, subtype="FLOAT")
    np.testing.assert_allclose(levelled, load_clip(path, LEVELLED).samples, rtol=1e-5, atol=1e-7)


def test_what_vanishes_in_float32_is_silence(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    soundfile.write(path, voice(1, 130, 0.5).astype(np.float64) * 1e-200, RATE_HZ, subtype="DOUBLE")
    with pytest.raises(AudioError, match="silent"):
        load_clip(path, AudioSpec())


def test_a_preparation_that_ends_in_no_number_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ser_probe.audio import load

    path = write_coded(tmp_path, "WAV", "PCM_16")
    monkeypatch.setattr(load, "resample", lambda samples, *rates: np.full_like(samples, np.inf))
    with pytest.raises(AudioError, match=r"makes samples that are not finite(.|\n)*WAV-PCM_16\.bin"):
        load_clip(path, AudioSpec())


def test_the_same_audio_has_the_same_id_in_any_container(tmp_path: Path) -> None:
    samples = np.round(voice(1, 130, 1.0) * 32_768) / 32_768
    paths = [write_coded(tmp_path, container, coding, samples) for container, coding in (
        ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("AIFF", "PCM_16"),
        ("CAF", "ALAC_16"),
    )]  # fmt: skip
    paths.append(write_coded(tmp_path, "WAVEX", "PCM_16", np.stack([samples, samples], axis=1)))
    facts = [hear_clip(path, max_duration_s=10) for path in paths]
    assert len({fact.audio_id for fact in facts}) == 1
    assert len({fact.clip_id for fact in facts}) == len(paths)
    samples[7] += 1 / 32_768
    other = hear_clip(write_coded(tmp_path, "WAV", "PCM_16", samples), max_duration_s=10)
    assert other.audio_id != facts[0].audio_id
    soundfile.write(tmp_path / "slower.wav", samples, 8_000)
    assert hear_clip(tmp_path / "slower.wav", max_duration_s=10).audio_id != other.audio_id


class Raises:
    """A decoder that fails in its own way."""

    error: Exception = ValueError()

    def __init__(self, *arguments: object) -> None:
        raise self.error


@pytest.mark.parametrize("error", [ValueError("odd"), ZeroDivisionError(), KeyError("x"), RuntimeError("broken")])
def test_whatever_the_decoder_raises_is_an_error_of_the_file(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_coded(tmp_path, "WAV", "PCM_16")
    monkeypatch.setattr(Raises, "error", error)
    monkeypatch.setattr(load_file.soundfile, "SoundFile", Raises)
    with pytest.raises(AudioError, match=r"cannot be opened as audio(.|\n)*WAV-PCM_16\.bin") as caught:
        load_clip(path, AudioSpec())
    assert caught.value.found  # never an empty reason


@pytest.mark.parametrize("error", [ImportError("libsndfile"), MemoryError()])
def test_a_broken_installation_is_no_fault_of_a_file(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_coded(tmp_path, "WAV", "PCM_16")
    monkeypatch.setattr(Raises, "error", error)
    monkeypatch.setattr(load_file.soundfile, "SoundFile", Raises)
    with pytest.raises(type(error)):
        load_clip(path, AudioSpec())


@pytest.mark.parametrize(("package", "error"), [
    ("soundfile", "OSError('sndfile library not found')"), ("soxr", "ImportError('undefined symbol: x')"),
])  # fmt: skip
def test_a_package_that_cannot_be_loaded_is_said_and_no_clip_blamed(package: str, error: str, tmp_path: Path) -> None:
    (tmp_path / f"{package}.py").write_text(f"raise {error}\n")
    write_coded(tmp_path, "WAV", "PCM_16").rename(tmp_path / "a.wav")
    (tmp_path / "m.csv").write_text("path\na.wav\n")
    program = "import sys; from ser_probe.cli.main import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, "extract", "m.csv", "--model", "tiny-wavlm-base", "-o", "e.h5"],
        cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
    )  # fmt: skip
    assert done.returncode == 1
    assert f"the package {package} cannot be loaded" in done.stderr
    assert f"pip install --force-reinstall {package}" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*.rejects.csv"))
