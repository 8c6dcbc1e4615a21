"""The verb audit: planted leaks and faults are found, a clean corpus raises no alarm, any split is judged."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from ser_probe.analysis.audit.findings import failing
from ser_probe.config.audit import AuditConfig
from ser_probe.errors import ManifestError, SerProbeError
from ser_probe.steps.audit import Audit, audit_manifest, judge_clips
from ser_probe.steps.audit_measuring import NO_FRAMES, PROPERTIES, MeasuredClips, measure_clips
from tests.audio.test_measured_clip import babble

QUIET = AuditConfig(figures=False)


@functools.cache
def sounds() -> list[np.ndarray]:
    rng = np.random.default_rng(20_240_601)
    return [babble(rng, 0.9) for _ in range(12)]


@pytest.fixture
def corpus(tmp_path: Path) -> pd.DataFrame:
    """Return the manifest of twelve clips of three speakers with a sentence each, which nothing is wrong with."""
    rows = []
    for number in range(12):
        speaker = f"s{number // 4}"
        soundfile.write(tmp_path / f"{number:02}.wav", sounds()[number], 16_000)
        split = {"s0": "train", "s1": "validation", "s2": "test"}[speaker]
        label = ("anger", "joy")[number % 2]
        rows.append((f"{number:02}.wav", label, speaker, split, f"Sentence {number}."))
    return pd.DataFrame(rows, columns=["path", "label", "speaker", "split", "sentence_text"])


@pytest.fixture
def audit(tmp_path: Path) -> Callable[..., Audit]:
    def run(table: pd.DataFrame, config: AuditConfig = QUIET, **more: object) -> Audit:
        table.to_csv(tmp_path / "m.csv", index=False)
        return audit_manifest(tmp_path / "m.csv", tmp_path / "out", config, **more)  # type: ignore[arg-type]

    return run


def found(result: Audit) -> dict[str, str]:
    return dict(zip(result.findings["check"], result.findings["severity"], strict=True))


def test_a_clean_corpus_raises_no_alarm(corpus: pd.DataFrame, audit: Callable[..., Audit], tmp_path: Path) -> None:
    result = audit(corpus, AuditConfig(figures=True, fail_on=("leaks", "shortcuts", "health")))
    assert found(result) == {}
    assert result.failing == []
    tables = {path.stem.removeprefix("audit_") for path in (tmp_path / "out" / "tables").glob("*.csv")}
    assert tables == {"clips", "copies", "counts", "findings", "models", "properties", "shortcuts", "speakers"}
    properties = pd.read_parquet(tmp_path / "out" / "tables" / "audit_properties.parquet")
    assert {*PROPERTIES, "path", "label", "speaker"} <= set(properties)
    assert {path.name for path in (tmp_path / "out" / "figures").glob("*.png")} == {
        "audit_counts.png", "audit_properties.png", "audit_shortcuts.png",
    }  # fmt: skip
    assert "Nothing was found." in (tmp_path / "out" / "audit.md").read_text()


def test_planted_leaks_are_found(corpus: pd.DataFrame, audit: Callable[..., Audit], tmp_path: Path) -> None:
    samples, rate_hz = soundfile.read(tmp_path / "00.wav")
    soundfile.write(tmp_path / "09.wav", 0.1 * samples[2_000:], rate_hz)  # anger in train, joy in test
    corpus.loc[4, "speaker"] = "s2"
    corpus.loc[10, "sentence_text"] = "sentence 1"
    result = audit(corpus, AuditConfig(figures=False, fail_on=("leaks",)))
    assert found(result) == {
        "label_conflict": "error", "copies_across_splits": "error", "copies_across_speakers": "warning",
        "speakers_across_splits": "error", "sentences_across_splits": "warning",
    }  # fmt: skip
    assert len(result.failing) == 5
    copies = pd.read_csv(tmp_path / "out" / "tables" / "audit_copies.csv")
    assert copies["path"].tolist() == ["00.wav", "09.wav"]
    assert set(copies["same"]) == {"sound"}
    assert audit(corpus, AuditConfig(figures=False, fail_on=("health",))).failing == []


def test_a_planted_shortcut_is_an_error() -> None:
    """As in Emozionalmente, where the clips at 44.1 kHz are all of one label."""
    n_clips = 120
    rng = np.random.default_rng(1)
    table = pd.DataFrame({
        "path": [f"{number}.wav" for number in range(n_clips)],
        "label": np.tile(["anger", "disgust", "joy"], n_clips // 3),
        "speaker": [f"s{number // 12}" for number in range(n_clips)],
    })  # fmt: skip
    measured = dict.fromkeys(PROPERTIES, 0.0) | {"duration_s": rng.uniform(1, 3, n_clips), "channels": 1}
    properties = pd.DataFrame({"path": table["path"], **measured}).assign(
        file_format="WAV PCM_16", file_rate_hz=16_000.0, notes="", fault="", unreadable=""
    )
    ids, prints = list(table["path"]), [NO_FRAMES] * n_clips
    clean, _ = judge_clips(table, MeasuredClips(properties, ids, ids, prints), QUIET)
    assert not clean["audit_shortcuts"]["alarm"].any()
    properties.loc[table["label"] == "disgust", "file_rate_hz"] = 44_100.0
    tables, findings = judge_clips(table, MeasuredClips(properties, ids, ids, prints), QUIET)
    (finding,) = [each for each in findings if each.kind == "shortcut" and each.severity == "error"]
    assert finding.check.startswith("label_from_")
    assert "44100" in finding.words
    assert failing(findings, ["shortcut"]) == [finding]
    assert tables["audit_findings"]["kind"].iloc[0] == "shortcut"


def test_planted_faults_are_found(corpus: pd.DataFrame, audit: Callable[..., Audit], tmp_path: Path) -> None:
    (tmp_path / "00.wav").unlink()
    soundfile.write(tmp_path / "01.wav", np.zeros(8_000), 16_000)
    content = (tmp_path / "02.wav").read_bytes()
    (tmp_path / "02.wav").write_bytes(content[: len(content) // 2])
    table = pd.concat([corpus, corpus.iloc[:1].assign(path="../../away.wav")])
    result = audit(table)
    assert found(result) == {"unreadable": "error", "unusable": "error"}
    clips = pd.read_csv(tmp_path / "out" / "tables" / "audit_clips.csv").groupby("check")["path"].agg(set)
    assert clips["unreadable"] == {"00.wav", "02.wav", "../../away.wav"}
    assert clips["unusable"] == {"01.wav"}


def test_a_manifest_of_paths_alone_is_measured(corpus: pd.DataFrame, audit: Callable[..., Audit]) -> None:
    result = audit(corpus[["path"]], AuditConfig(figures=True))
    assert found(result) == {}
    assert result.outcome.warnings == (
        "Durations, silence and levels by label: The clips have no labels", "Clips by label: The clips have no labels",
    )  # fmt: skip


def test_a_split_from_elsewhere_is_judged(corpus: pd.DataFrame, audit: Callable[..., Audit], tmp_path: Path) -> None:
    elsewhere = corpus.assign(published=["dev" if number % 2 else "train" for number in range(12)])
    assert found(audit(elsewhere, splits="published"))["speakers_across_splits"] == "error"
    listed = pd.DataFrame({"path": [f"wav/{path}" for path in corpus["path"][:8]], "split": ["train", "test"] * 4})
    listed.to_csv(tmp_path / "splits.csv", index=False)
    result = audit(corpus, splits=str(tmp_path / "splits.csv"))
    assert found(result)["speakers_across_splits"] == "error"
    assert found(result)["no_split"] == "note"


def test_bad_input_is_named(corpus: pd.DataFrame, audit: Callable[..., Audit], tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="The manifest is empty"):
        audit(corpus.iloc[:0])
    with pytest.raises(ManifestError, match="neither a column of the manifest nor a file"):
        audit(corpus, splits="splt")
    pd.DataFrame({"path": ["z.wav"]}).to_csv(tmp_path / "s.csv", index=False)
    with pytest.raises(ManifestError, match="no column 'split'"):
        audit(corpus, splits=str(tmp_path / "s.csv"))
    pd.DataFrame({"path": ["z.wav"], "split": ["test"]}).to_csv(tmp_path / "s.csv", index=False)
    with pytest.raises(ManifestError, match="names none of the manifest's clips"):
        audit(corpus, splits=str(tmp_path / "s.csv"))


def test_processes_measure_the_same_as_one(corpus: pd.DataFrame, tmp_path: Path) -> None:
    from ser_probe.data.manifest import Manifest

    (tmp_path / "03.wav").write_bytes(b"no audio")
    manifest = Manifest(corpus, tmp_path)
    alone, many = (measure_clips(manifest, max_duration_s=60, workers=workers) for workers in (0, 2))
    pd.testing.assert_frame_equal(alone.properties, many.properties)
    assert alone.audio_ids == many.audio_ids
    assert all(np.array_equal(*pair) for pair in zip(alone.fingerprints, many.fingerprints, strict=True))


def test_a_process_that_ends_is_named(corpus: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from concurrent.futures.process import BrokenProcessPool

    from ser_probe.data.manifest import Manifest
    from ser_probe.steps import clip_pool

    class Broken:
        def __init__(self, *given: object, **named: object) -> None:
            pass

        def map(self, *given: object, **named: object) -> object:
            raise BrokenProcessPool

        def shutdown(self, **named: object) -> None:
            pass

    monkeypatch.setattr(clip_pool, "ProcessPoolExecutor", Broken)
    with pytest.raises(SerProbeError, match="A process that works on clips has ended"):
        measure_clips(Manifest(corpus, tmp_path), max_duration_s=60, workers=2)
