"""prepare audio: what is written is what extraction hears; stopped runs go on; originals stay as they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from ser_probe.audio.load import AudioSpec, load_clip
from ser_probe.config import AudioConfig
from ser_probe.errors import ConfigError, ManifestError
from ser_probe.files import file_sha256
from ser_probe.steps import prepare_audio as module
from ser_probe.steps.prepare_audio import JOURNAL, SETTINGS, prepare_audio

from .conftest import Said

RATE = 16_000
AS_EXTRACTED = AudioConfig(loudness_lufs=-23.0, trim="energy")


def sound(seed: int, rate: int = RATE, channels: int = 1) -> np.ndarray:
    """Half a second of silence, a second of a buzz, and a quarter of silence."""
    time = np.arange(rate) / rate
    buzz = 0.1 * (seed + 1) * np.sign(np.sin(2 * np.pi * (100 + 20 * seed) * time)) * (0.3 + np.abs(np.sin(9 * time)))
    clip = np.concatenate([np.zeros(rate // 2), buzz, np.zeros(rate // 4)])
    return np.stack([clip, 0.5 * clip], axis=1) if channels == 2 else clip


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two folders of clips, one of another rate with two channels, and a damaged one."""
    root = tmp_path / "corpus"
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
    soundfile.write(root / "a/one.wav", sound(0), RATE)
    soundfile.write(root / "a/one.flac", sound(1), RATE)
    soundfile.write(root / "b/two.wav", sound(2, 44_100, channels=2), 44_100)
    (root / "b/bad.wav").write_bytes(b"RIFF")
    return root


def contents(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): file_sha256(path) for path in sorted(root.rglob("*")) if path.is_file()}


def test_written_and_heard_samples_are_equal(corpus: Path, tmp_path: Path) -> None:
    before = contents(corpus)
    outcome = prepare_audio(corpus, tmp_path / "out", AS_EXTRACTED, workers=0)
    assert contents(corpus) == before
    manifest = pd.read_csv(tmp_path / "out/manifest.csv").set_index("original_path")["path"].to_dict()
    assert manifest == {"a/one.flac": "a/one.flac.wav", "a/one.wav": "a/one.wav.wav", "b/two.wav": "b/two.wav"}
    spec = AudioSpec(loudness_lufs=-23.0, trim="energy", max_duration_s=30.0)
    for original, written in manifest.items():
        heard, again = load_clip(corpus / original, spec), load_clip(tmp_path / "out" / written, AudioSpec())
        np.testing.assert_array_equal(again.samples, heard.samples)
    report = pd.read_csv(tmp_path / "out/preparation.csv").set_index("original_path")
    assert report["loudness_lufs"].to_numpy() == pytest.approx(-23.0, abs=0.1)
    assert report["removed_before_s"].to_numpy() == pytest.approx(0.45, abs=0.03)
    assert report["removed_after_s"].to_numpy() == pytest.approx(0.2, abs=0.03)
    assert report.loc["b/two.wav", ["stored_rate_hz", "stored_channels"]].tolist() == [44_100, 2]
    assert (outcome.n_rejected, outcome.rejects) == (1, tmp_path / "out/rejects.csv")
    assert pd.read_csv(tmp_path / "out/rejects.csv")["path"].tolist() == ["b/bad.wav"]
    assert str(outcome.summary["loudness"]).startswith("3 of 3 clips")


def test_columns_of_a_manifest_travel_along(corpus: Path, tmp_path: Path) -> None:
    rows = pd.DataFrame({"path": ["b/two.wav", "a/one.wav"], "label": ["joy", "fear"], "speaker": ["01", "02"]})
    rows.assign(duration_s=1.0, clip_id="x").to_csv(corpus / "m.csv", index=False)
    prepare_audio(corpus / "m.csv", tmp_path / "out", AudioConfig(), sample_rate_hz=8000, workers=0)
    table = pd.read_csv(tmp_path / "out/manifest.csv", dtype=str)
    assert list(table) == ["path", "label", "speaker", "original_path"]
    assert table[["path", "speaker"]].to_numpy().tolist() == [["b/two.wav", "01"], ["a/one.wav", "02"]]
    assert soundfile.info(tmp_path / "out/b/two.wav").samplerate == 8000


def test_integers_are_scaled_below_full_scale(corpus: Path, tmp_path: Path) -> None:
    loud = AudioConfig(loudness_lufs=0.0)
    prepare_audio(corpus, tmp_path / "out", loud, sample_format="pcm16", workers=0)
    report = pd.read_csv(tmp_path / "out/preparation.csv")
    assert (report["peak_dbfs"] < 0).all()
    assert report["notes"].str.contains("scaled down by .* dB: pcm16").all()
    samples, _ = soundfile.read(tmp_path / "out/b/two.wav", dtype="int16")
    assert np.abs(samples.astype(int)).max() == 32767


@pytest.mark.parametrize(("sample_format", "bits"), [("pcm16", 16), ("pcm24", 24)])
def test_integers_are_the_nearest(corpus: Path, tmp_path: Path, sample_format: str, bits: int) -> None:
    prepare_audio(corpus, tmp_path / "out", AudioConfig(), sample_format=sample_format, workers=0)
    heard = load_clip(corpus / "b/two.wav", AudioSpec()).samples
    written, _ = soundfile.read(tmp_path / "out/b/two.wav", dtype="float64")
    steps = (written - heard) * 2 ** (bits - 1)
    assert np.abs(steps).max() <= 0.5 + 1e-6
    assert abs(steps.mean()) < 0.05, "no offset"


class Stopped:
    """Lets some clips be written, and then stops as Ctrl-C does."""

    def __init__(self, after: int) -> None:
        self.after = after

    def __call__(self, work: Any, tasks: list[Any], *, workers: int | None = None) -> Iterator[Any]:
        for task in tasks[: self.after]:
            yield work(task)
        raise KeyboardInterrupt


def test_a_stopped_run_goes_on(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    prepare_audio(corpus, whole, AS_EXTRACTED, workers=0)
    with monkeypatch.context() as patch:
        patch.setattr(module, "work_on_clips", Stopped(2))
        with pytest.raises(KeyboardInterrupt):
            prepare_audio(corpus, out, AS_EXTRACTED, workers=0)
    with open(out / JOURNAL, "a") as journal:
        journal.write('{"place": "b/two.w')  # what a kill may leave
    said = Said()
    prepare_audio(corpus, out, AS_EXTRACTED, workers=0, progress=said)
    assert "2 of 4 clips are there already" in said.lines
    one, other = contents(whole), contents(out)
    assert {name: one[name] for name in one if name.endswith((".wav", ".csv"))} == {
        name: other[name] for name in other if name.endswith((".wav", ".csv"))
    }
    # What was changed or removed is made again, and nothing else.
    (out / "b/two.wav").write_bytes(b"short")
    soundfile.write(corpus / "a/one.wav", sound(3), RATE)
    said = Said()
    prepare_audio(corpus, out, AS_EXTRACTED, workers=0, progress=said)
    assert "1 of 4 clips are there already" in said.lines
    assert contents(out)["b/two.wav"] == one["b/two.wav"]
    assert contents(out)["a/one.wav.wav"] != one["a/one.wav.wav"]


def test_a_folder_of_another_preparation_or_of_other_files(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare_audio(corpus, out, AudioConfig(), workers=0)
    with pytest.raises(ConfigError, match=r"prepared otherwise(.|\n)*found: another loudness, trim"):
        prepare_audio(corpus, out, AS_EXTRACTED, workers=0)
    with pytest.raises(ConfigError, match=r"prepared otherwise(.|\n)*sample format"):
        prepare_audio(corpus, out, AudioConfig(), sample_format="pcm16", workers=0)
    (out / SETTINGS).write_text(json.dumps({"audio": 3}))
    with pytest.raises(Exception, match=SETTINGS):
        prepare_audio(corpus, out, AudioConfig(), workers=0)
    with pytest.raises(ConfigError, match=r"holds other files(.|\n)*a, b"):
        prepare_audio(corpus / "a", corpus, AudioConfig(), workers=0)


def test_outputs_among_the_originals_and_clips_outside_the_root(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="in the folder of the originals"):
        prepare_audio(corpus, corpus / "new", AudioConfig(), workers=0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ManifestError, match="no audio file"):
        prepare_audio(tmp_path / "empty", tmp_path / "out", AudioConfig(), workers=0)
    away = tmp_path / "away.csv"
    away.write_text(f"path\n{corpus / 'a/one.wav'}\n")
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(ManifestError, match=r"outside the audio root(.|\n)*--audio-root"):
        prepare_audio(away, tmp_path / "out", AudioConfig(), audio_root=tmp_path / "elsewhere", workers=0)
    with pytest.raises(ConfigError, match="would replace an original"):
        module._plan(module.read_manifest(away), tmp_path)


def test_one_process_at_a_time_in_a_folder(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with module._claim(tmp_path / "out"), pytest.raises(ConfigError, match="Another process prepares clips"):
        prepare_audio(corpus, tmp_path / "out", AudioConfig(), workers=0)
    prepare_audio(corpus, tmp_path / "out", AudioConfig(), workers=0)
