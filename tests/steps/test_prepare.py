"""prepare: which clips are kept, which are left out and why, who is in which split."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from ser_probe.audio import load
from ser_probe.config import AudioConfig, DataConfig, SplitConfig, check_options
from ser_probe.errors import ManifestError, SplitError
from ser_probe.steps.prepare import PreparedClips, prepare_clips, prepare_corpus, read_clips

from ..voices import RATE_HZ, recording, voice
from .conftest import Said


def data(**options: Any) -> DataConfig:
    return check_options(DataConfig, {"manifest": "corpus/manifest.csv", **options})


def prepared(split: SplitConfig | None = None, **options: Any) -> PreparedClips:
    return prepare_clips(read_clips(data(**options)), AudioConfig(), split, strict=bool(options.get("strict")))


def test_speakers_are_split_and_audited(corpus: Path) -> None:
    found = prepared(SplitConfig())
    table = found.manifest.table
    assert len(table) == 72
    assert (table.groupby("speaker")["split"].nunique() == 1).all()
    assert (table.groupby("split")["gender"].nunique() == 2).all()
    assert table["clip_id"].is_unique
    assert table["duration_s"].between(0.5, 0.9).all()
    assert found.audit is not None


def test_a_split_column_is_kept_and_checked(corpus: Path) -> None:
    table = pd.read_csv(corpus / "manifest.csv")
    assert prepared().audit is None, "without a split there is nothing to audit"
    parts = {"s0": "train", "s1": "train", "s2": "dev", "s3": "dev", "s4": "test", "s5": "test"}
    table.assign(split=table["speaker"].map(parts)).to_csv(corpus / "manifest.csv", index=False)
    found = prepared()
    assert found.manifest.table.groupby("split")["speaker"].nunique().to_dict() == {
        "test": 2, "train": 2, "validation": 2,
    }  # fmt: skip
    assert found.audit is not None
    shared = table.assign(split=["train", "test"] * 36)
    shared.to_csv(corpus / "manifest.csv", index=False)
    with pytest.raises(SplitError, match="speaker"):
        prepared()


def test_what_the_table_shows_is_found_before_a_clip_is_decoded(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "hear_clip", lambda *_, **__: pytest.fail("a clip was decoded"))
    table = pd.read_csv(corpus / "manifest.csv")
    path = corpus / "manifest.csv"
    table.drop(columns="speaker").to_csv(path, index=False)
    with pytest.raises(ManifestError, match=r"column 'speaker' .* is missing"):
        prepared(SplitConfig())
    table.assign(label="anger").to_csv(path, index=False)
    with pytest.raises(ManifestError, match="there is only one label, 'anger'"):
        prepared(SplitConfig())
    table[table["speaker"].isin(["s0", "s1"])].to_csv(path, index=False)
    with pytest.raises(SplitError, match="too few speakers"):
        prepared(SplitConfig())
    table.assign(split=["train", "test"] * 36).to_csv(path, index=False)
    with pytest.raises(SplitError, match="speaker 's0' is in test and train"):
        prepared()


@pytest.mark.parametrize(
    ("samples", "options", "reason"),
    [
        (np.where(np.arange(9000) == 100, np.nan, voice(0, 150, 9000 / RATE_HZ)), {"subtype": "FLOAT"},
         r"NaN or infinite \(1 of 9000, the first at sample 100\); export it again"),
        (np.zeros(9000), {}, r"The clip is silent \(9000 equal samples\); leave it out"),
        (np.ones(1), {}, "0.06 ms, shorter than 100 ms"),
        (voice(0, 150, 31), {}, "31.0 s, longer than 30 s"),
    ],
    ids=["nan", "silent", "one sample", "long"],
)  # fmt: skip
def test_clips_that_cannot_be_used_are_left_out(
    corpus: Path, samples: np.ndarray, options: dict[str, str], reason: str
) -> None:
    soundfile.write(corpus / "s0-joy-0.wav", samples, RATE_HZ, **options)
    rejects = prepared(SplitConfig()).report.rejects
    assert rejects["path"].to_list() == ["s0-joy-0.wav"]
    assert rejects["reason"].str.contains(reason).all()
    assert not rejects["reason"].str.contains("\n").any()
    with pytest.raises(ManifestError, match=r"s0-joy-0\.wav: "):
        prepared(SplitConfig(), strict=True)


def test_the_same_audio_as_wav_and_flac_is_one_clip(corpus: Path) -> None:
    samples, rate_hz = soundfile.read(corpus / "s0-joy-0.wav", dtype="int16")
    soundfile.write(corpus / "s0-joy-1.flac", samples, rate_hz)
    (corpus / "s0-joy-1.wav").unlink()
    (corpus / "s0-joy-1.flac").rename(corpus / "s0-joy-1.wav")
    rejects = prepared(SplitConfig()).report.rejects
    assert rejects["kind"].to_list() == ["duplicate"]
    assert rejects["reason"].to_list() == ["the same audio as s0-joy-0.wav"]


def test_headers_without_sizes_are_read_and_said(corpus: Path) -> None:
    path = corpus / "s0-joy-0.wav"
    whole = path.read_bytes()
    path.write_bytes(whole[:40] + bytes(4) + whole[44:])
    report = prepared(SplitConfig()).report
    assert report.rejects.empty
    assert "s0-joy-0.wav: the header states no size" in report.summary()
    path.write_bytes(whole[: len(whole) // 2])
    (reason,) = prepared(SplitConfig()).report.rejects["reason"]
    assert re.search(r"cut short: .* \(0\.\d\d s promised, 0\.\d\d s held\); copy or download it again", reason)


def test_no_rate_leaves_a_clip_out(corpus: Path) -> None:
    for take, rate_hz in enumerate([8_000, 24_414, 44_101]):
        soundfile.write(corpus / f"s1-joy-{take}.wav", voice(100 + take, 150, 0.6), rate_hz)
    assert prepared(SplitConfig()).report.rejects.empty


def test_choosing_clips(corpus: Path) -> None:
    assert set(read_clips(data(labels=["joy", "anger"])).table["label"]) == {"anger", "joy"}
    assert set(read_clips(data(keep={"gender": ["male"]})).table["speaker"]) == {"s1", "s3", "s5"}
    assert set(read_clips(data(target="gender")).table["label"]) == {"female", "male"}
    with pytest.raises(ManifestError, match="No clip has label 'joyy'") as raised:
        read_clips(data(labels=["joyy", "anger"]))
    assert raised.value.fix == "did you mean 'joy'?"
    with pytest.raises(ManifestError, match="The manifest has no column 'accent'"):
        read_clips(data(keep={"accent": ["x"]}))
    with pytest.raises(ManifestError, match="The manifest has no column 'valence'"):
        read_clips(data(target="valence"))


def test_a_corpus_by_name(corpus: Path, emovo_root: Path) -> None:
    config = check_options(DataConfig, {"corpus": "emovo", "root": str(emovo_root), "labels": ["anger", "fear"]})
    assert len(read_clips(config).table) == 168


def test_the_whole_verb(corpus: Path) -> None:
    said = Said()
    outcome = prepare_corpus(data(), AudioConfig(), SplitConfig(), Path("out/m.csv"), progress=said)
    assert outcome.files[-1] == Path("out/m.csv")
    assert sorted(path.name for path in Path("out").iterdir()) == ["m.audit", "m.csv", "m.rejects.csv"]
    assert outcome.n_rejected == 0
    assert "No speaker is in two splits" in str(outcome.summary["splits"])
    assert "72 clips" in str(outcome.summary["clips"])


def write_voices(root: Path, names: list[str]) -> str:
    root.mkdir()
    for number, name in enumerate(names):
        (root / name).write_bytes(recording(number, 150 + 10 * number, 0.5, 0.3))
    return str(root)


def test_a_corpus_of_two_speakers_is_written_without_splits(tmp_path: Path) -> None:
    words = [f"{speaker}_back_{emotion}.wav" for speaker in ("OAF", "YAF") for emotion in ("angry", "sad")]
    config = check_options(DataConfig, {"corpus": "tess", "root": write_voices(tmp_path / "tess", words)})
    said = Said()
    prepare_corpus(config, AudioConfig(), SplitConfig(), tmp_path / "m.csv", progress=said)
    table = pd.read_csv(tmp_path / "m.csv")
    assert set(table["speaker"]) == {"OAF", "YAF"}
    assert "split" not in table
    assert "no splits: train, validation, test need a speaker each" in said.lines


def test_a_corpus_without_speakers_is_written_without_splits(tmp_path: Path) -> None:
    words = [f"{emotion}_{voice}_A_hoy.wav" for voice in "FC" for emotion in ("Anger", "Fear")]
    config = check_options(DataConfig, {"corpus": "mesd", "root": write_voices(tmp_path / "mesd", words)})
    outcome = prepare_corpus(config, AudioConfig(), SplitConfig(), tmp_path / "m.csv")
    assert not {"split", "speaker"} & set(pd.read_csv(tmp_path / "m.csv"))
    assert "MESD: no file says who speaks" in str(outcome.summary["clips"])


def test_columns_and_values_are_named_by_any_spelling(corpus: Path) -> None:
    table = pd.read_csv(corpus / "manifest.csv").rename(columns={"label": "emotion", "speaker": "actor"})
    table["mood"] = np.where(table["emotion"] == "joy", "Up", "down")
    table["age"] = np.where(table["emotion"] == "joy", 20.0, 30.0)
    table.to_csv(corpus / "manifest.csv", index=False)
    assert set(read_clips(data(target="emotion", labels=["JOY", "anger"])).table["label"]) == {"joy", "anger"}
    kept = read_clips(data(keep={"actor": ["S1", "s2"]})).table
    assert set(kept["speaker"]) == {"s1", "s2"}
    assert set(read_clips(data(target="mood")).table["label"]) == {"Up", "down"}
    assert set(read_clips(data(target="age", labels=["20", "30"])).table["label"]) == {"20", "30"}
    with pytest.raises(ManifestError, match=r"no column 'moods'(.|\n)*did you mean 'mood'"):
        read_clips(data(target="moods"))


def test_notes_of_reading_are_said_before_a_fault(corpus: Path) -> None:
    table = pd.read_csv(corpus / "manifest.csv")
    table["split"] = ["train", "test"] * 36
    table.loc[::2, "speaker"] = table["speaker"].str.upper()
    table.to_csv(corpus / "manifest.csv", index=False)
    said = Said()
    with pytest.raises(SplitError, match=r"'s0' is in test and train(.|\n)*mend the column 'split'"):
        prepare_clips(read_clips(data()), AudioConfig(), None, progress=said)
    assert any("'S0'" in line and "differ by spelling alone" in line for line in said.lines)
