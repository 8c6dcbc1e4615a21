"""Extraction, fine-tuning and evaluation with plain arguments, on a small corpus of synthetic voices."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ser_probe
from ser_probe.errors import ConfigError, CorpusError, SplitError
from tests.classifiers import save_run
from tests.voices import write_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("voices"), n_speakers=3, n_takes=1)


def test_an_embedding_file_without_a_name_goes_with_its_cache(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cache = ser_probe.extract(corpus / "manifest.csv", "tiny-wavlm-base", verify=1)
    path = cache.path
    assert path.is_file()
    assert cache.clips["label"].value_counts().to_dict() == {"anger": 3, "joy": 3, "sadness": 3}
    assert list(tmp_path.iterdir()) == []
    del cache
    gc.collect()
    assert not path.parent.exists()


def test_tables_and_manifests_are_taken_as_files_are(corpus: Path, tmp_path: Path) -> None:
    manifest = ser_probe.read_manifest(corpus / "manifest.csv")
    assert repr(manifest) == f"<Manifest {corpus / 'manifest.csv'}: 9 clips, 3 speakers, 3 labels>"
    table = manifest.table.assign(take=range(9), mixed=["a", 1, *["b"] * 7])
    kept = ser_probe.extract(manifest, "tiny-wavlm-base", tmp_path / "x.h5", verify=0)
    assert kept.path == tmp_path / "x.h5"
    same = ser_probe.extract(table, "tiny-wavlm-base", audio_root=corpus, verify=0, loudness_lufs=-30.0)
    assert same.clips["take"].tolist() == list(range(9))
    assert same.clip_ids == kept.clip_ids
    assert (same.layer("0") != kept.layer("0")).any(), "the loudness is another"
    up = manifest.table.assign(path="../" + corpus.name + "/" + manifest.table["path"])
    climbing = ser_probe.Manifest(up, corpus, corpus / "manifest.csv")
    np.testing.assert_array_equal(ser_probe.extract(climbing, "tiny-wavlm-base").layer("0"), kept.layer("0"))


def test_from_splits_to_scores(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    clips = ser_probe.read_manifest(corpus / "manifest.csv")
    clips.table["split"] = ser_probe.split_speakers(clips, seed=3)
    assert set(clips.table.groupby("speaker")["split"].nunique()) == {1}
    run = ser_probe.finetune(clips, "tiny-wavlm-base", "run", max_steps=2, checkpoint_every=1, seed=3, trained="last:1")
    assert {path.name for path in tmp_path.iterdir()} == {"run"}, "nothing is written elsewhere"
    assert [path.name for path in run.checkpoints] == ["checkpoint-0", "checkpoint-1", "checkpoint-2"]
    assert [path.name for path in run.best] == [f"checkpoint-{run.facts['best step'].split()[0]}"]  # type: ignore[attr-defined]
    assert set(run.training["split"]) == {"train", "validation"}
    result = ser_probe.evaluate(run, clips, splits="all", resamples=100)
    assert len(result.predictions) == 9
    assert result.table is result.scores
    assert "uar" in repr(result)
    assert any("were heard in fine-tuning" in note for note in result.notes)
    caches = ser_probe.extract(clips, [run], tmp_path / "cache", verify=0)
    assert [cache.attributes["step"] for cache in caches] == [0, 2], "step 1 has the weights of step 0"
    assert len(ser_probe.load_classifier(run).predict(clips.audio_paths())) == 9
    with pytest.raises(ConfigError, match=r"holds several checkpoints(.|\n)*extract\(manifest, \['run'\]\)"):
        ser_probe.extract(clips, run)


def test_scores_are_written_where_output_says(corpus: Path, tmp_path: Path) -> None:
    run = save_run(tmp_path / "run")
    result = ser_probe.evaluate(run, corpus / "manifest.csv", output=tmp_path / "out", resamples=100)
    assert (tmp_path / "out" / "tables" / "scores.csv").is_file()
    assert list((tmp_path / "out" / "figures").glob("*.png"))
    quiet = ser_probe.evaluate(str(run), [corpus / "manifest.csv"], name="mine", resamples=100)
    pd.testing.assert_series_equal(quiet.scores["value"], result.scores["value"])
    assert set(quiet.scores["model"]) == {"mine"}


def test_faults_name_arguments(corpus: Path, tmp_path: Path) -> None:
    table = pd.read_csv(corpus / "manifest.csv")
    with pytest.raises(ConfigError) as caught:
        ser_probe.finetune(table, "tiny-wavlm-base", tmp_path, epochs=-1, head={"pooling": "foo"}, scheme="studye")
    faults = str(caught.value)
    for said in ("scheme: expected 'study_e'", "head.pooling: expected", "epochs: expected a number above 0, found -1"):
        assert said in faults
    with pytest.raises(ConfigError, match=r"finetune\(\) has no argument 'epoch'"):
        ser_probe.finetune(table, "tiny-wavlm-base", tmp_path, epoch=1)
    with pytest.raises(SplitError, match=r"no column 'split'(.|\n)*scheme='study_e'"):
        ser_probe.finetune(table, "tiny-wavlm-base", tmp_path, audio_root=corpus)
    with pytest.raises(SplitError, match=r"no such split scheme(.|\n)*did you mean 'study_e'"):
        ser_probe.split_speakers(table, "study")
    with pytest.raises(SplitError, match=r"(?s)cannot be used.*scheme='study_e'"):
        ser_probe.split_speakers(table.assign(split=["train", "test", "test"] * 3), "manifest")
    with pytest.raises(ConfigError, match="batch_seconds: expected"):
        ser_probe.extract(table, "tiny-wavlm-base", batch_seconds=-1)
    with pytest.raises(CorpusError, match="no importer of that name"):
        ser_probe.read_corpus("emovoo", tmp_path)
