"""The stage `evaluate` of a study: what it scores, on what, when again; and studies that have nothing to score."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn import metrics as sk

from ser_probe.config import StudyConfig, check_options
from ser_probe.config.evaluation import EvaluateConfig
from ser_probe.data.manifest import read_manifest
from ser_probe.errors import CheckpointError
from ser_probe.files import content_id
from ser_probe.models.targets import Targets
from ser_probe.steps import report
from ser_probe.steps.classify import load_classifier
from ser_probe.steps.evaluate import evaluate_checkpoint
from ser_probe.steps.finetune import finetune_manifest
from ser_probe.steps.study import run as module
from ser_probe.steps.study.evaluation import LATEX, TABLES, StudyClips, evaluate_study
from ser_probe.steps.study.run import run_study
from ser_probe.steps.tables import read_table

from ...classifiers import save_run
from ...voices import LABELS, write_corpus
from ..conftest import OFF, OPTIONS, Said, small_study

FOLDER = Path("runs/small")
QUICK = ("evaluate.workers=0", "evaluate.resamples=100")


def score(*overrides: str, said: Said | None = None, study: StudyConfig | None = None) -> dict[str, pd.DataFrame]:
    """Score a study that is trained; return the tables it writes."""
    study = study or small_study(*QUICK, *overrides)
    clips = StudyClips(study, read_manifest(FOLDER / "manifest.csv"), FOLDER)
    assert clips.lack() == ""
    evaluate_study(clips, FOLDER / "tables", progress=said or Said())
    paths = {kind: FOLDER / "tables" / f"{name}.parquet" for kind, name in TABLES.items()}
    return {kind: read_table(path.parent, path.stem) for kind, path in paths.items() if path.is_file()}


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study's folder with a classifier of step 50 and one of step 0, and the manifest of its splits."""
    monkeypatch.chdir(tmp_path)
    write_corpus(Path("corpus"), n_takes=1)
    save_run(FOLDER)
    shutil.copytree(FOLDER / "checkpoints/checkpoint-50", FOLDER / "checkpoints/checkpoint-0")
    table = pd.read_csv("corpus/manifest.csv").assign(duration_s=0.9)
    table["clip_id"] = [content_id(Path("corpus", name)) for name in table["path"]]
    table["split"] = table["speaker"].map({"s4": "validation", "s5": "validation"}).fillna("test")
    table.loc[table["speaker"] == "s0", "split"] = "train"
    table["path"] = [str(Path("corpus", name).absolute()) for name in table["path"]]
    table.to_csv(FOLDER / "manifest.csv", index=False)
    return FOLDER


def test_a_finished_study_says_what_its_classifier_reaches(finished: Path) -> None:
    scores, predictions = (read_table(FOLDER / "tables", name) for name in ("evaluation", "predictions"))
    best = json.loads((FOLDER / "best.json").read_text())["step"]
    assert {*zip(scores["evaluated_on"], scores["step"], scores["best"], strict=True)} == {
        (on, step, step == best) for on in ("test", "validation") for step in {0, best}
    }
    assert set(scores["model"]) == {"tiny-wavlm-base"}, "as in the other tables, not the folder's name"
    assert set(scores["corpus"]) == {"corpus"}
    manifest = pd.read_csv(FOLDER / "manifest.csv")
    assert set(predictions["step"]) == {best}, "predictions of one model, as `compare` and `analyze umap` take them"
    for (on, step), rows in predictions.groupby(["evaluated_on", "step"]):
        assert set(rows["clip_id"]) == set(manifest.loc[manifest["split"] == on, "clip_id"])
        own = scores[(scores["evaluated_on"] == on) & (scores["step"] == step) & (scores["group_by"] == "overall")]
        uar = own[own["measure"] == "uar"].iloc[0]
        assert uar["value"] == pytest.approx(sk.balanced_accuracy_score(rows["label"], rows["predicted"]))
        assert (uar["n"], uar["n_speakers"]) == (len(rows), rows["speaker"].nunique())
    text = (FOLDER / "tables" / LATEX).read_text()
    assert r"Evaluated on" in text
    assert "Speakers" in text
    assert "test & " in text
    page = (FOLDER / "report.html").read_text(encoding="utf-8")
    assert "test: UAR " in page
    assert page.index("What the fine-tuned classifier reaches") < page.index("<summary>evaluation ")
    assert page.index("<summary>evaluation ") < page.index("<summary>training ")


def test_the_scores_are_those_of_the_command(finished: Path) -> None:
    found = evaluate_checkpoint(
        FOLDER, [FOLDER / "manifest.csv"], Path("out"), EvaluateConfig(workers=0, figures=False)
    )
    row = found.headline[found.headline["group_by"] == "overall"].iloc[0]
    scores = read_table(FOLDER / "tables", "evaluation")
    own = scores[scores["best"] & (scores["evaluated_on"] == "test") & (scores["group_by"] == "overall")]
    for measure in ("uar", "macro_f1", "accuracy", "ece"):
        assert row[measure] == pytest.approx(own.loc[own["measure"] == measure, "value"].item())
    assert "UAR" in (Path("out/tables") / "scores.tex").read_text()


def test_what_makes_it_stale(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "write_report", lambda folder, **_: module.Outcome((folder / "report.html",)))
    said = Said()
    outcome = run_study(small_study("evaluate.bins=7"), progress=said)
    assert outcome.summary["done"] == "evaluate, report"
    assert "evaluate.bins (15 -> 7)" in said.of("evaluate")
    assert str(outcome.summary["scores on test"]).startswith("UAR ")
    (FOLDER / "tables/evaluation.tex").unlink()
    said = Said()
    run_study(small_study("evaluate.bins=7"), progress=said)
    assert said.of("evaluate") == "evaluate: stale, because evaluation.tex is gone or was changed"
    outcome = run_study(small_study("evaluate.bins=7"), force=["evaluate"])
    assert "evaluate" in str(outcome.summary["done"])
    # Turned off, its tables are no longer of the study.
    outcome = run_study(small_study("evaluate=null"))
    assert not any(name.startswith("scores on") for name in outcome.summary)


def test_further_test_sets_are_scored_under_their_names(trained: Path) -> None:
    for name in ("one", "two"):
        write_corpus(Path(name), n_speakers=3, n_takes=1)
        table = pd.read_csv(Path(name, "manifest.csv"))
        if name == "two":
            table["label"] = table["label"].replace({"anger": "rage", "joy": "boredom"})
        table.assign(**{f"room of {name}": "hall"}).to_csv(Path(name, "test.csv"), index=False)
    Path("two/s0-sadness-0.wav").unlink()
    sets = "[{name: near, manifest: one/test.csv}, {name: far, manifest: two/test.csv, label_map: {rage: anger}}]"
    said = Said()
    tables = score(f"evaluate.test_sets={sets}", "evaluate.checkpoints=[best]", "evaluate.by=[room of two]", said=said)
    assert set(tables["scores"].query("group_by == 'room of two'")["evaluated_on"]) == {"far"}
    overall = tables["scores"][tables["scores"]["group_by"] == "overall"]
    counts = overall.groupby("evaluated_on", sort=False)["n"].first().to_dict()
    assert counts == {"test": 9, "validation": 6, "near": 9, "far": 5}
    assert tables["left_out"][["evaluated_on", "label", "n"]].to_numpy().tolist() == [["far", "boredom", 3]]
    assert tables["rejects"][["evaluated_on", "path"]].to_numpy().tolist() == [["far", "s0-sadness-0.wav"]]
    assert "far & " in (FOLDER / "tables" / LATEX).read_text()


def test_a_study_without_test_clips_says_so_and_scores_the_rest(trained: Path) -> None:
    table = pd.read_csv(FOLDER / "manifest.csv")
    table.assign(split=table["split"].replace("test", "train")).to_csv(FOLDER / "manifest.csv", index=False)
    said = Said()
    tables = score(said=said)
    assert set(tables["scores"]["evaluated_on"]) == {"validation"}
    assert "evaluate: no clip is in the split test, which is not scored" in said.lines
    clips = StudyClips(small_study("evaluate.splits=[test]"), read_manifest(FOLDER / "manifest.csv"), FOLDER)
    assert clips.lack().startswith("because no clip is in the split test: ")


def test_of_a_fold_the_test_is_one_fold(trained: Path) -> None:
    said = Said()
    score("split.scheme=kfold", "split.fold=1", "evaluate.splits=[test]", "evaluate.checkpoints=[best]", said=said)
    assert "evaluate: the test clips are those of fold 1 alone; each other fold is another study" in said.lines


def test_a_step_that_was_not_saved(trained: Path) -> None:
    with pytest.raises(CheckpointError, match="There is no checkpoint of step 70 to evaluate") as raised:
        score("evaluate.checkpoints=[70]")
    assert raised.value.expected == "steps 0, 50"


def test_long_clips_are_not_scored(trained: Path) -> None:
    table = pd.read_csv(FOLDER / "manifest.csv")
    table.loc[table["split"] == "test", "duration_s"] = [31.0, *[0.9] * 8]
    table.to_csv(FOLDER / "manifest.csv", index=False)
    said = Said()
    tables = score("evaluate.checkpoints=[best]", said=said)
    assert "evaluate: 1 clips of test are over 30 s and are not scored" in said.lines
    assert tables["left_out"][["n", "reason"]].to_numpy().tolist() == [[1, "longer than 30 s"]]
    assert "rejects" not in tables, "training does not take them either"
    assert tables["predictions"]["evaluated_on"].value_counts()["test"] == 8


def numeric_study(*overrides: str) -> StudyConfig:
    options: dict[str, Any] = {**OPTIONS, "finetune.targets": "numeric"}
    options["finetune.target_columns"] = {"arousal": "act"}
    return check_options(StudyConfig, options, [*OFF, *QUICK, *overrides])


def test_numeric_targets_have_their_concordance(trained: Path) -> None:
    save_run(FOLDER, Targets("numeric", ("arousal",), (3.0,), (1.0,)))
    table = pd.read_csv(FOLDER / "manifest.csv")
    table.assign(act=table["label"].map(dict(zip(LABELS, (5.0, 4.0, 1.0), strict=True)))).to_csv(
        FOLDER / "manifest.csv", index=False
    )
    tables = score(study=numeric_study("evaluate.checkpoints=[best]"))
    ccc = tables["scores"][tables["scores"]["measure"] == "ccc"]
    assert set(ccc["target"]) == {"arousal"}
    assert set(ccc["evaluated_on"]) == {"test", "validation"}
    assert len(tables["agreement"]) == 15
    assert "confusion" not in tables
    assert "CCC" in (FOLDER / "tables" / LATEX).read_text()


def test_soft_labels_are_scored_by_most_votes_where_the_labels_are_other_words(trained: Path) -> None:
    save_run(FOLDER, Targets("distribution", ("A", "J", "S")))
    table = pd.read_csv(FOLDER / "manifest.csv")
    for column, label in zip(("A", "J", "S"), LABELS, strict=True):
        table[column] = (table["label"] == label) * 2 + 1
    table.to_csv(FOLDER / "manifest.csv", index=False)
    said = Said()
    options = {**OPTIONS, "finetune.targets": "distribution", "finetune.target_columns": ["A", "J", "S"]}
    study = check_options(StudyConfig, options, [*OFF, *QUICK, "evaluate.checkpoints=[best]"])
    tables = score(study=study, said=said)
    assert any("the class of most votes is scored" in line for line in said.lines)
    assert {"uar", "kl_divergence"} <= set(tables["scores"]["measure"])


def test_without_fine_tuning_nothing_is_said(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "write_report", lambda folder, **_: module.Outcome((folder / "report.html",)))
    off = [f"analyze.{name}=null" for name in ("probe", "similarity", "drift", "geometry", "acoustics", "stats")]
    said = Said()
    outcome = run_study(
        small_study("finetune.enabled=false", "extract.egemaps=false", "extract.random_control=false", *off),
        progress=said,
    )
    assert not any("evaluate" in line for line in said.lines)
    assert "evaluate" not in f"{outcome.summary['done']} {outcome.summary['skipped']}"


def test_an_untrained_head_is_said_wherever_it_is_used(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one step of this run is warm-up with a learning rate of 0: no evaluation after step 0 can be better."""
    off = [f"analyze.{name}=null" for name in ("probe", "similarity", "drift", "geometry", "acoustics", "stats")]
    options = ("finetune.max_steps=1", "finetune.checkpoint_every=1", "extract.egemaps=false", *off, *QUICK)
    with monkeypatch.context() as patch:  # drawing takes most of the time
        patch.setattr(report, "write_figures", lambda *_, **__: ([], []))
        outcome = run_study(small_study(*options, "extract.random_control=false"))
    remark = f"the best step of {FOLDER} is 0"
    assert str(outcome.summary["warning"]).startswith(remark)
    assert str(outcome.summary["scores on test"]).endswith("step 0 (an untrained head)")
    page = (FOLDER / "report.html").read_text(encoding="utf-8")
    assert f"<li>warning: {remark}" in page
    said = Said()
    found = evaluate_checkpoint(
        FOLDER, [FOLDER / "manifest.csv"], Path("out"), EvaluateConfig(workers=0, figures=False), progress=said
    )
    assert any(line.startswith(f"warning: {remark}") for line in said.lines)
    assert str(found.outcome.summary["warning"]).startswith(remark)
    with caplog.at_level(logging.WARNING):
        load_classifier(FOLDER)  # what `classify` and `export-onnx` load
    assert remark in caplog.text
    options = ("finetune.max_steps=1", "finetune.checkpoint_every=1", "split.scheme=study_e")
    trained = finetune_manifest(small_study(*options), tmp_path / "alone")
    assert str(trained.summary["warning"]).startswith(f"the best step of {tmp_path / 'alone'} is 0")
