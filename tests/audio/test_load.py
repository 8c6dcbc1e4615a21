"""Decoding: against analytic signals, real recordings at two rates, and every kind of broken file."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import firwin, resample_poly

from ser_probe.audio.load import AudioSpec, inspect_clip, load_clip, resample
from ser_probe.audio.loudness import measure_loudness
from ser_probe.errors import AudioError, ConfigError
from ser_probe.files import content_id, fingerprint

RATE_HZ = 16_000
SPEC = AudioSpec()
LEVELLED = AudioSpec(loudness_lufs=-23)
LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 92000\n"

# -110 dB: a twentieth of half a step of 16 bits. Ratios of large numbers, as 24414 to 16000, come nearest to it.
RESAMPLING_ERROR = 3e-6
# Two steep filters, both flat to -120 dB where the test has its sound.
OTHER_FILTER = 1e-5
STORED_RATES_HZ = [8_000, 11_025, 22_050, 24_414, 44_056, 44_100, 44_101, 48_000, 96_000, 192_000]
# Two clips that differ by a gain are equal up to the rounding of 16-bit files (half a step is 1.5e-5 of full scale).
PCM_STEPS = 1e-4

WriteClip = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write samples as a float WAV, so that nothing is rounded."""

    def write(samples: np.ndarray, rate_hz: int = RATE_HZ, name: str = "clip.wav", subtype: str = "FLOAT") -> Path:
        path = tmp_path / name
        soundfile.write(path, samples, rate_hz, subtype=subtype)
        return path

    return write


def test_a_clip_at_the_wanted_rate_comes_as_it_is(write: Callable[..., Path], rng: np.random.Generator) -> None:
    samples = (0.1 * rng.standard_normal(4_000)).astype(np.float32)
    clip = load_clip(write(samples), SPEC)
    assert clip.samples.dtype == np.float32
    assert clip.sample_rate_hz == RATE_HZ
    assert clip.notes == ()
    np.testing.assert_array_equal(clip.samples, samples)


def test_channels_are_averaged(write: Callable[..., Path], rng: np.random.Generator) -> None:
    channels = (0.1 * rng.standard_normal((4_000, 3))).astype(np.float32)
    expected = channels.astype(np.float64).mean(axis=1).astype(np.float32)
    np.testing.assert_array_equal(load_clip(write(channels), SPEC).samples, expected)


def sine(rate_hz: int, frequency_hz: float, duration_s: float = 1.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(round(duration_s * rate_hz)) / rate_hz + 0.3)


@pytest.mark.parametrize("frequency_hz", [60, 1_234.5, 3_400])
@pytest.mark.parametrize("from_hz", STORED_RATES_HZ)
def test_resampling_meets_the_analytic_sine(from_hz: int, frequency_hz: float) -> None:
    made = resample(sine(from_hz, frequency_hz), from_hz, RATE_HZ)
    assert len(made) == RATE_HZ
    inner = slice(1_000, -1_000)  # the filter sees zeros beyond the ends
    # Amplitude, frequency and phase at once: a sample's delay at 1234.5 Hz would be an error of 0.2.
    np.testing.assert_allclose(made[inner], sine(RATE_HZ, frequency_hz)[inner], rtol=0, atol=RESAMPLING_ERROR)


@pytest.mark.parametrize("from_hz", [rate for rate in STORED_RATES_HZ if rate > RATE_HZ])
def test_what_lies_above_the_new_band_is_gone_and_would_alias_otherwise(from_hz: int) -> None:
    tone = 2 * sine(from_hz, 8_300)
    assert np.abs(resample(tone, from_hz, RATE_HZ)[1_000:-1_000]).max() < RESAMPLING_ERROR
    nearest = tone[np.arange(RATE_HZ) * from_hz // RATE_HZ]
    spectrum = np.abs(np.fft.rfft(nearest)) / RATE_HZ
    assert spectrum[RATE_HZ - 8_300] > 0.3  # at 7.7 kHz


@pytest.mark.parametrize(("up", "down"), [(2, 1), (1, 2), (1, 3), (2, 3), (1, 6), (160, 441)])
def test_small_ratios_agree_with_another_resampler(up: int, down: int, rng: np.random.Generator) -> None:
    """Speech-like noise under 3 kHz, where both filters pass all."""
    from_hz = RATE_HZ * down // up
    spectrum = np.fft.rfft(rng.standard_normal(from_hz))
    spectrum[3_000:] = 0
    samples = np.fft.irfft(spectrum, n=from_hz)
    samples /= np.abs(samples).max()
    filter_taps = firwin(128 * max(up, down) + 1, 1 / max(up, down), window=("kaiser", 14.0))
    expected = resample_poly(samples, up, down, window=filter_taps)
    made = resample(samples, from_hz, RATE_HZ)
    assert len(made) == len(expected)
    np.testing.assert_allclose(made[1_000:-1_000], expected[1_000:-1_000], rtol=0, atol=OTHER_FILTER)
    assert np.abs(made[1_001:-999] - expected[1_000:-1_000]).max() > 0.1  # a sample late


@pytest.mark.parametrize("from_hz", [*STORED_RATES_HZ, 1_000, 16_001, 191_999, 768_000])
def test_the_length_is_rounded_up_and_the_end_is_not_lost(from_hz: int, rng: np.random.Generator) -> None:
    for n_samples in (1, 2, 3, 399, 400, 401, 4_799, 4_800, 4_801):
        samples = rng.standard_normal(n_samples)
        made = resample(samples, from_hz, RATE_HZ)
        assert len(made) == -(-n_samples * RATE_HZ // from_hz)
        longer = resample(np.append(samples, np.zeros(3 * from_hz // RATE_HZ + 9)), from_hz, RATE_HZ)
        np.testing.assert_allclose(made, longer[: len(made)], rtol=0, atol=1e-12)


def test_equal_rates_change_nothing(rng: np.random.Generator) -> None:
    samples = rng.standard_normal(100)
    assert resample(samples, RATE_HZ, RATE_HZ) is samples


def test_neither_threads_nor_what_ran_before_show(rng: np.random.Generator) -> None:
    clips = [(rate_hz, rng.standard_normal(n)) for rate_hz in STORED_RATES_HZ for n in (500, 9_001)]
    alone = [resample(samples, rate_hz, RATE_HZ) for rate_hz, samples in clips]
    with ThreadPoolExecutor(8) as pool:
        order = list(rng.permutation(np.tile(np.arange(len(clips)), 20)))
        together = list(pool.map(lambda number: resample(clips[number][1], clips[number][0], RATE_HZ), order))
    for number, made in zip(order, together, strict=True):
        np.testing.assert_array_equal(made, alone[number])


DECODES = """
import sys
from pathlib import Path
from ser_probe.audio.load import AudioSpec, load_clip
clip = load_clip(Path(sys.argv[1]), AudioSpec(loudness_lufs=-23))
print(*(name for name in ("torch", "torchaudio") if name in sys.modules), file=sys.stderr)
sys.stdout.buffer.write(clip.samples.tobytes())
"""


def test_decoding_loads_no_torch_and_is_the_same_in_another_process(
    write: Callable[..., Path], rng: np.random.Generator
) -> None:
    path = write(0.1 * rng.standard_normal(30_000), 24_414)
    done = subprocess.run([sys.executable, "-c", DECODES, path], capture_output=True, check=True)
    assert done.stderr.decode().split() == []
    assert done.stdout == load_clip(path, LEVELLED).samples.tobytes()


def test_emovo_as_published_equals_its_16_khz_version(emovo_root: Path) -> None:
    originals = sorted((emovo_root.parent / "EMOVO_original").rglob("*.wav"))
    if not originals:
        pytest.skip("EMOVO as published is not at hand")
    for path in originals:
        ours = load_clip(path, SPEC).samples
        theirs = load_clip(emovo_root / path.parent.name / path.name, SPEC).samples
        assert len(ours) == len(theirs)
        # Made with another resampler: they differ in the transition band near 8 kHz only.
        assert np.corrcoef(ours, theirs)[0, 1] > 0.999, path.name
    # One sample of delay is enough to break it, so the agreement is no accident.
    assert np.corrcoef(ours[1:], theirs[:-1])[0, 1] < 0.99


def test_loudness_normalisation_removes_the_level(write_clip: WriteClip) -> None:
    loud, quiet = write_clip("loud.wav", gain=0.5), write_clip("quiet.wav", gain=0.5)
    samples, _ = soundfile.read(loud)
    soundfile.write(quiet, samples * 0.1, RATE_HZ, subtype="PCM_16")
    levelled = [load_clip(path, LEVELLED).samples for path in (loud, quiet)]
    np.testing.assert_allclose(levelled[0], levelled[1], atol=PCM_STEPS)
    assert measure_loudness(levelled[1], RATE_HZ) == pytest.approx(-23, abs=1e-3)
    plain = [load_clip(path, SPEC).samples for path in (loud, quiet)]
    assert np.abs(plain[0] - plain[1]).max() > 0.1


def test_the_peak_guard_scales_down_only(write: Callable[..., Path], rng: np.random.Generator) -> None:
    path = write(0.2 * np.sin(np.arange(RATE_HZ)))
    guarded = load_clip(path, AudioSpec(loudness_lufs=-3, peak_dbfs=-6))
    assert np.abs(guarded.samples).max() == pytest.approx(10 ** (-6 / 20), rel=1e-6)
    assert "scaled down by" in guarded.notes[-1]
    assert "no sample exceeds -6 dBFS" in guarded.notes[-1]
    untouched = load_clip(path, AudioSpec(peak_dbfs=-6))
    assert untouched.notes == ()
    np.testing.assert_array_equal(untouched.samples, load_clip(path, SPEC).samples)


def test_notes_of_the_loudness_reach_the_clip(write: Callable[..., Path]) -> None:
    short = load_clip(write(0.1 * np.sin(np.arange(1_600))), LEVELLED)
    assert "measured as one block of 100 ms" in short.notes[0]
    faint = load_clip(write(1e-6 * np.sin(np.arange(RATE_HZ))), LEVELLED)
    assert "very quiet (under the loudness gate of -70 LUFS): gain held at 40 dB" in faint.notes[0]
    assert np.isfinite(faint.samples).all()


def test_facts_are_those_of_the_file(write: Callable[..., Path], rng: np.random.Generator) -> None:
    path = write(0.1 * rng.standard_normal((44_100, 2)), 44_100)
    facts = inspect_clip(path)
    assert (facts.duration_s, facts.sample_rate_hz, facts.channels) == (1.0, 44_100, 2)
    assert facts.clip_id == content_id(path)


@pytest.mark.parametrize("suffix", ["flac", "ogg", "mp3"])
def test_other_formats_are_read(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"clip.{suffix}"
    soundfile.write(path, 0.3 * np.sin(np.arange(RATE_HZ) / 10), RATE_HZ)
    assert inspect_clip(path).duration_s == pytest.approx(1, abs=0.1)  # MP3 pads
    assert np.abs(load_clip(path, SPEC).samples).max() == pytest.approx(0.3, abs=0.05)


def broken(kind: str, folder: Path) -> Path:
    """Make a file that neither `inspect_clip` nor `load_clip` can use."""
    path = folder / f"{kind}.wav"
    if kind == "folder":
        path.mkdir()
    elif kind == "no audio":
        path.write_bytes(b"These are words, not sound. " * 20)
    elif kind == "header cut":
        soundfile.write(path, np.ones(400), RATE_HZ)
        path.write_bytes(path.read_bytes()[:20])
    elif kind == "no samples":
        soundfile.write(path, np.zeros(0), RATE_HZ)
    elif kind == "pointer":
        path.write_text(LFS_POINTER)
    elif kind == "empty":
        path.touch()
    elif kind == "raw":
        path = path.with_suffix(".raw")
        path.write_bytes(bytes(4_000))
    return path


@pytest.mark.parametrize("read", [inspect_clip, lambda path: load_clip(path, SPEC)], ids=["inspect", "load"])
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "does not exist(.|\n)*audio root"),
        ("folder", "is a folder"),
        ("empty", "empty file(.|\n)*0 bytes"),
        ("pointer", "Git LFS pointer(.|\n)*git lfs pull"),
        ("no audio", "cannot be opened as audio(.|\n)*WAV, FLAC"),
        ("header cut", "cannot be opened as audio"),
        ("raw", "cannot be opened as audio"),
        ("no samples", "holds no samples"),
    ],
)
def test_broken_files_say_what_is_wrong(
    kind: str, message: str, read: Callable[[Path], object], tmp_path: Path
) -> None:
    path = broken(kind, tmp_path)
    with pytest.raises(AudioError, match=message) as caught:
        read(path)
    assert f"where: {path}" in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def with_value(value: float) -> np.ndarray:
    samples = 0.1 * np.sin(np.arange(4_000.0))
    samples[[17, 40]] = value
    return samples


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.full(1, 0.5), "too short(.|\n)*25 ms(.|\n)*0.06 ms"),
        (np.sin(np.arange(399.0)), "too short(.|\n)*24.94 ms"),
        (np.sin(np.arange(130 * RATE_HZ)), "too long(.|\n)*at most 120 s(.|\n)*130.0 s(.|\n)*max_duration_s"),
        (with_value(np.nan), "NaN or infinite(.|\n)*2 of 4000, the first at sample 17"),
        (with_value(-np.inf), "NaN or infinite"),
        (np.zeros(4_000), "silent(.|\n)*4000 equal samples"),
        (np.full(4_000, 0.25), "silent"),
        (np.outer(np.sin(np.arange(4_000)), [1, -1]), "channels cancel(.|\n)*keep one channel"),
    ],
    ids=["one sample", "399 samples", "long", "NaN", "infinite", "zeros", "constant", "cancelling"],
)
def test_unusable_samples_say_what_is_wrong(samples: np.ndarray, message: str, write: Callable[..., Path]) -> None:
    path = write(samples)
    inspect_clip(path)  # the header is in order
    with pytest.raises(AudioError, match=message):
        load_clip(path, SPEC)


def test_the_shortest_clip_that_yields_a_frame_is_taken(write: Callable[..., Path]) -> None:
    assert len(load_clip(write(np.sin(np.arange(400.0))), SPEC).samples) == 400
    # 1103 samples at 44.1 kHz are a little over 25 ms and become 401.
    assert len(load_clip(write(np.sin(np.arange(1_103.0)), 44_100), SPEC).samples) >= 400


@pytest.mark.parametrize("rate_hz", [999, 768_001, 2_000_000])
def test_a_rate_of_no_recorder_is_refused(rate_hz: int, write: Callable[..., Path]) -> None:
    path = write(np.sin(np.arange(float(rate_hz))), rate_hz)
    with pytest.raises(AudioError, match=f"none at which speech is recorded(.|\n)*{rate_hz} Hz in the header"):
        load_clip(path, SPEC)


@pytest.mark.parametrize("rate_hz", [1_000, 16_001, 200_000, 768_000])
def test_any_other_rate_is_taken(rate_hz: int, write: Callable[..., Path]) -> None:
    clip = load_clip(write(np.sin(np.arange(float(rate_hz))), rate_hz), SPEC)
    assert len(clip.samples) == RATE_HZ


def test_a_file_that_breaks_off_is_an_error(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "clip.flac"
    soundfile.write(path, 0.1 * rng.standard_normal(50_000), RATE_HZ)
    path.write_bytes(path.read_bytes()[:40_000])
    with pytest.raises(AudioError, match="breaks off"):
        load_clip(path, SPEC)


def test_the_settings_are_checked_all_at_once() -> None:
    with pytest.raises(ConfigError, match=r"4 faults(.|\n)*sample_rate_hz(.|\n)*loudness(.|\n)*peak(.|\n)*max_dur"):
        AudioSpec(sample_rate_hz=100, loudness_lufs=3, peak_dbfs=1, max_duration_s=float("nan"))


def test_ingredients_tell_what_changes_a_sample_and_nothing_else() -> None:
    changes = [{"sample_rate_hz": 8_000}, {"loudness_lufs": -23}, {"loudness_lufs": -20}, {"peak_dbfs": -1}]
    prints = {fingerprint(dataclasses.replace(SPEC, **change).ingredients()) for change in changes}
    assert len({fingerprint(SPEC.ingredients()), *prints}) == 1 + len(changes)
    assert AudioSpec(max_duration_s=10).ingredients() == SPEC.ingredients()
    assert AudioSpec(loudness_lufs=-23.0).ingredients() == LEVELLED.ingredients()
