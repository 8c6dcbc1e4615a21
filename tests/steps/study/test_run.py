"""A whole study: from a manifest to a report, once; again without work; on after a stop; and no more than needed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from matplotlib.figure import Figure

from ser_probe.audio.load import PIPELINE_VERSION
from ser_probe.config import FinetuneConfig
from ser_probe.config.augmentation import AugmentConfig
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.errors import AnalysisError, ConfigError, MissingExtraError, SerProbeError
from ser_probe.files import write_text
from ser_probe.report import figures
from ser_probe.report.evaluation import files as evaluation_figures
from ser_probe.steps.columns import check_columns
from ser_probe.steps.extract import extract_sources
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.report import write_report
from ser_probe.steps.study import extractions as study_extractions
from ser_probe.steps.study import run as module
from ser_probe.steps.study.run import STAGES, run_study
from ser_probe.steps.study.stages import Stages
from ser_probe.steps.training_task import sound_files_state

from ...voices import RATE_HZ, voice
from ..conftest import HAS_EGEMAPS, Said, small_study

FOLDER = Path("runs/small")
DONE = tuple(name for name in STAGES if name != "umap" and (HAS_EGEMAPS or name != "egemaps"))
# Analyses that take seconds each and are off where the order of stages is the matter; the finished study has made them.
LEFT_OUT = ("similarity", "geometry", "acoustics")
LEAN = tuple(f"analyze.{name}=null" for name in LEFT_OUT)
TABLES = ("split_audit", "training", "probe", "probe_summary", "best_layers", "similarity", "drift")


@pytest.fixture
def quick_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the drawing out where only the order of stages matters: it takes seconds."""

    def write(folder: Path, **_: object) -> Outcome:
        write_text(folder / "report.html", "")
        return Outcome((folder / "report.html",))

    monkeypatch.setattr(module, "write_report", write)


def run(*overrides: str, force: tuple[str, ...] = ()) -> tuple[list[str], Said]:
    """Run the study; return the stages that were done, and what was said."""
    said = Said()
    outcome = run_study(small_study(*overrides), progress=said, force=force)
    assert outcome.summary["report"] == FOLDER / "report.html"
    return [name for name in STAGES if name in str(outcome.summary["done"]).split(", ")], said


def states(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*")) if path.is_file()}


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if "partial" in path.name or path.suffix == ".tmp"]


@pytest.fixture
def quick_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save figures without laying them out, but for a few; the tests of figures lay out every one there is."""
    save = figures.save_figure

    def save_as_it_stands(figure: Figure, folder: Path, name: str) -> list[Path]:
        if name in ("f1_layers", "splits", "evaluation_scores"):
            return save(figure, folder, name)
        figure.set_layout_engine(None)
        folder.mkdir(parents=True, exist_ok=True)
        for suffix in ("png", "svg"):
            figure.savefig(folder / f"{name}.{suffix}", dpi=30)
        return [folder / f"{name}.png", folder / f"{name}.svg"]

    for owner in (figures, evaluation_figures):
        monkeypatch.setattr(owner, "save_figure", save_as_it_stands)


@pytest.mark.usefixtures("quick_figures")
def test_what_a_study_leaves(finished: Path) -> None:
    for name in TABLES:
        table = pd.read_parquet(FOLDER / "tables" / f"{name}.parquet")
        assert len(table), name
        assert list(pd.read_csv(FOLDER / "tables" / f"{name}.csv").columns) == list(table.columns)
    for step in (0, 2, 4):
        assert (FOLDER / f"checkpoints/checkpoint-{step}/model.safetensors").is_file()
    assert "not drawn: all figures (output.figures: false)" in (FOLDER / "report.html").read_text(encoding="utf-8")
    assert not (FOLDER / "figures").exists()
    # Neither embeddings nor weights are needed to draw: the folder can be sent to someone.
    n_embedded, n_leftovers = len(list(Path("cache").glob("*.h5"))), len(leftovers(finished))
    shutil.rmtree("cache")
    shutil.rmtree(FOLDER / "checkpoints")
    (FOLDER / "report.html").unlink()
    outcome = write_report(FOLDER)
    assert outcome.files[-1] == FOLDER / "report.html"
    assert all(path.is_file() and path.stat().st_size for path in outcome.files)
    drawn = {path.stem for path in (FOLDER / "figures").glob("*.png")}
    assert {"f1_layers", "training", "splits", "cka_layers"} <= drawn
    assert {"evaluation_scores", "evaluation_test", "evaluation_validation"} <= drawn
    assert drawn == {path.stem for path in (FOLDER / "figures").glob("*.svg")}
    if HAS_EGEMAPS:
        assert "cka_egemaps" in drawn
    report = (FOLDER / "report.html").read_text(encoding="utf-8")
    assert report.count("<img") + report.count("<svg") >= len(drawn)
    for expected in ("small", "tiny-wavlm-base", "72", "best step"):
        assert expected in report
    assert report.index("1. Scores of the fine-tuned classifier") < report.index("Fine-tuning</h3>")
    record = json.loads((FOLDER / "record.json").read_text())["runs"]
    assert len(record) == 1
    # The report shows the record, so it is written after it.
    assert record[0]["stages"] == [name for name in DONE if name != "report"]
    assert n_leftovers == 0
    assert n_embedded == 5 + HAS_EGEMAPS, "three checkpoints, random weights, step 0 in bf16"


def test_tables_agree_on_their_keys(finished: Path) -> None:
    probe, drift = (pd.read_parquet(FOLDER / "tables" / f"{name}.parquet") for name in ("probe", "drift"))
    expected = {("tiny-wavlm-base", f"step-{step}", step) for step in (0, 2, 4)}
    assert {*zip(drift["model"], drift["checkpoint"], drift["step"], strict=True)} == expected
    tuned = probe[(probe["model"] == "tiny-wavlm-base") & (probe["control"] == "none")]
    assert {*zip(tuned["model"], tuned["checkpoint"], tuned["step"], strict=True)} == expected
    manifest = pd.read_csv(FOLDER / "manifest.csv")
    assert (manifest.groupby("speaker")["split"].nunique() == 1).all()
    assert (manifest.groupby("split")["gender"].nunique() == 2).all()


def test_a_second_run_does_nothing(finished: Path) -> None:
    before = states(finished)
    done, said = run()
    assert done == []
    assert said.lines == [f"{name}: fresh, nothing to do" for name in DONE]
    assert states(finished) == before


@pytest.mark.usefixtures("quick_report")
@pytest.mark.parametrize(
    ("stage", "function"),
    [
        ("prepare", "study.run.prepare_study_clips"),
        pytest.param("finetune", "study.run.train_study", marks=pytest.mark.slow),
        ("extract", "study.extractions.extract_sources"),
        pytest.param("probe", "analyses.probe.run", marks=pytest.mark.slow),
        ("drift", "analyses.drift.run"),
    ],
)
def test_a_stopped_study_goes_on(finished: Path, monkeypatch: pytest.MonkeyPatch, stage: str, function: str) -> None:
    later = DONE[DONE.index(stage) :]
    for name in later:
        (FOLDER / ".stages" / f"{name}.json").unlink()

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"ser_probe.steps.{function}", stop)
        with pytest.raises(KeyboardInterrupt):
            run(*LEAN)
    assert not leftovers(finished)
    before = states(FOLDER / "checkpoints")
    done, said = run(*LEAN)
    assert done == [name for name in later if name not in LEFT_OUT]
    assert said.of(stage) == f"{stage}: not done yet"
    assert states(FOLDER / "checkpoints") == before, "a finished run is recognised, not made again"


@pytest.mark.usefixtures("quick_report")
@pytest.mark.parametrize(
    ("override", "reason", "expected"),
    [
        ("analyze.drift.measures=[mean_cosine]", "analyze.drift.measures", ["drift", "report"]),
        ("analyze.probe.initialisations=1", "analyze.probe.initialisations (2 -> 1)", ["probe", "stats", "report"]),
        (
            "analyze.splits=[test]",
            'analyze.splits ("all" -> ["test"])',
            ["similarity", "drift", "geometry", "report"],
        ),
        ("finetune.cache_front_end=false", "config", ["report"]),
        ("analyze.drift=null", "config", ["report"]),
    ],
)
def test_an_edited_key_reaches_what_depends_on_it(
    finished: Path, override: str, reason: str, expected: list[str]
) -> None:
    done, said = run(override)
    assert done == expected
    assert f"stale, because changed: {reason}" in said.of(expected[0])
    assert run(override)[0] == []


def test_every_stage_that_decodes_audio_knows_how(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, dict[str, Any]] = {}

    def fresh(_: Stages, name: str, _stamp: Path, inputs: dict[str, Any]) -> None:
        seen[name] = inputs

    monkeypatch.setattr(Stages, "_stale_because", fresh)
    run()
    decoding = {name for name, inputs in seen.items() if inputs.get("audio pipeline") == PIPELINE_VERSION}
    assert decoding == {"prepare", "finetune", "extract", "repeat", "egemaps"} & {*DONE}


@pytest.mark.usefixtures("quick_report")
def test_more_clips_to_verify_computes_no_embedding(finished: Path) -> None:
    done, said = run("extract.verify=2")
    assert "extract.verify (1 -> 2)" in said.of("extract")
    assert not {"prepare", "finetune", "egemaps"} & {*done}


@pytest.mark.usefixtures("quick_report")
def test_another_model_is_never_served_the_embeddings_of_the_first(finished: Path) -> None:
    off = ("finetune.enabled=false", "analyze.probe=null", "analyze.similarity=null", "extract.egemaps=false")
    run(*off)
    done, said = run(*off, "backbone.name=tiny-hubert-base")
    assert "extract" in done
    assert 'backbone.name ("tiny-wavlm-base" -> "tiny-hubert-base")' in said.of("extract")
    drift = pd.read_parquet(FOLDER / "tables/drift.parquet")
    assert set(drift["model"]) == {"tiny-hubert-base"}
    assert set(drift["checkpoint"]) == {"step-0"}


@pytest.mark.usefixtures("quick_report")
@pytest.mark.parametrize("name", ["drift.csv", "probe.parquet"])
def test_a_deleted_table_is_made_again(finished: Path, name: str) -> None:
    content = (FOLDER / "tables" / name).read_bytes()
    (FOLDER / "tables" / name).unlink()
    stage = name.partition(".")[0]
    done, said = run()
    assert done == [stage, *(["stats"] if stage == "probe" else []), "report"]
    assert said.of(stage) == f"{stage}: stale, because {name} is gone or was changed"
    assert (FOLDER / "tables" / name).read_bytes() == content


@pytest.mark.usefixtures("quick_report")
def test_a_changed_clip_is_computed_alone(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = pd.read_csv(FOLDER / "manifest.csv")
    name = Path(manifest.loc[manifest["split"] == "test", "path"].iloc[0]).name
    soundfile.write(Path("corpus") / name, voice(999, 150, 0.6), RATE_HZ, subtype="PCM_16")
    computed: list[int] = []

    def spy(*words: Any, **options: Any) -> Any:
        results = extract_sources(*words, **options)
        computed.extend(result.n_computed for row in results for result in row)
        return results

    monkeypatch.setattr(study_extractions, "extract_sources", spy)
    weights = states(FOLDER / "checkpoints")
    _, said = run(*LEAN)
    assert said.of("prepare") == "prepare: stale, because changed: audio files"
    assert computed == [1, 1, 1, 1, 1], "one clip for each checkpoint, the control, and step 0 in bf16"
    assert states(FOLDER / "checkpoints") == weights, "a test clip has no part in training"
    changed = pd.read_csv(FOLDER / "manifest.csv")
    new = set(changed["clip_id"]) - set(manifest["clip_id"])
    assert len(new) == 1
    for path in Path("cache").glob("*.h5"):
        with EmbeddingCache.open(path) as cache:
            assert new <= set(cache.clip_ids)
    assert run(*LEAN)[0] == []


@pytest.mark.usefixtures("quick_report")
def test_another_configuration_keeps_the_checkpoints_of_the_first(finished: Path) -> None:
    weights = (FOLDER / "checkpoints/checkpoint-4/model.safetensors").read_bytes()
    done, said = run("finetune.learning_rate=0.001", "finetune.max_steps=2", *LEAN)
    assert done == [name for name in DONE if name not in ("prepare", "egemaps", *LEFT_OUT)]
    assert "finetune.max_steps (4 -> 2)" in said.of("finetune")
    assert any("the checkpoints of another configuration are kept in" in line for line in said.lines)
    (kept,) = FOLDER.glob("replaced-*")
    assert (kept / "checkpoints/checkpoint-4/model.safetensors").read_bytes() == weights
    assert not (FOLDER / "checkpoints/checkpoint-4").exists()
    assert set(pd.read_parquet(FOLDER / "tables/drift.parquet")["step"]) == {0, 2}


def test_faults_of_the_analyses_are_found_before_fine_tuning(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("this would have taken hours")

    monkeypatch.setattr(module, "train_study", fail)
    later = "finetune.max_steps=6"
    with pytest.raises(AnalysisError, match="too few held-out speakers"):
        run(later, "analyze.probe.division=heldout")
    with pytest.raises(AnalysisError, match="The clips have no column 'lable'"):
        run(later, "analyze.probe.targets=[lable]")
    with pytest.raises(AnalysisError, match="The clips have no column 'accent'"):
        run(later, "analyze.umap={color: [accent]}")


def test_what_table_and_settings_show_is_found_before_a_clip_is_decoded(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "prepare_study_clips", lambda *_, **__: pytest.fail("clips were decoded"))
    off = ("extract.egemaps=false", "analyze.similarity.egemaps=false")
    Path("away.csv").write_text("path,label\na.wav,rage\n")
    away = "evaluate.test_sets=[{name: away, manifest: %s.csv, label_map: {rage: %s}}]"
    faults = {
        "split.scheme=manifest": r"The manifest has no column 'split'(.|\n)*set split.scheme",
        "analyze.drift.by=[accent]": "The clips have no column 'accent'",
        "evaluate.by=[accent]": "No clips have the column 'accent'",
        "evaluate.device=cuda": "torch sees no CUDA device",
        "output.cache=corpus/manifest.csv": "the output is a file",
        away % ("none", "anger"): "none.csv",
        away % ("away", "angre"): "did you mean 'anger'",
        "finetune={targets: numeric, target_columns: [arousal]}": "The manifest has no column 'arousal'",
    }
    for override, fault in faults.items():
        with pytest.raises(SerProbeError, match=fault):
            run(*off, override)


def test_a_missing_extra_is_found_before_fine_tuning(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opensmile", None)
    with pytest.raises(MissingExtraError, match=r"extracting eGeMAPSv02 .*needs the package 'opensmile'"):
        run("extract.egemaps=true")
    assert not (FOLDER / "checkpoints").exists()


def test_force(finished: Path, quick_report: None) -> None:
    with pytest.raises(ConfigError, match="There is no stage 'finetun'"):
        run(force=("finetun",))
    done, said = run(force=("drift",))
    assert done == ["drift", "report"]
    assert said.of("drift") == "drift: runs again, as asked"


def test_a_table_of_an_analysis_turned_off_is_not_in_the_report(finished: Path) -> None:
    assert "mean_cosine" in (FOLDER / "report.html").read_text(encoding="utf-8")
    off = ["analyze.drift=null", "analyze.similarity=null", "analyze.probe=null"]
    run(*off)
    report = (FOLDER / "report.html").read_text(encoding="utf-8")
    assert (FOLDER / "tables/drift.parquet").is_file()
    assert "mean_cosine" not in report


def test_embeddings_of_a_run_are_those_of_its_weights(finished: Path) -> None:
    """The file of each checkpoint differs from step 0's, and holds the study's clips."""
    ids = set(pd.read_csv(FOLDER / "manifest.csv")["clip_id"])
    layers = {}
    for path in Path("cache").glob("tiny-*.h5"):
        with EmbeddingCache.open(path) as cache:
            assert set(cache.clip_ids) == ids
            if cache.key.precision == "bf16":
                continue
            assert cache.attributes["verify_error"] < 1e-5
            if cache.attributes["checkpoint"] == study_extractions.RANDOM_CONTROL:
                assert cache.attributes["model"] == "tiny-wavlm-base (random weights)"
                continue
            assert cache.attributes["model"] == "tiny-wavlm-base", "all checkpoints are of one model"
            layers[cache.attributes["step"]] = cache.layer("final", sorted(ids))
    assert sorted(layers) == [0, 2, 4]
    assert not np.allclose(layers[0], layers[4], rtol=1e-4)


@pytest.mark.usefixtures("quick_report")
def test_a_checkpoint_that_changed_nothing_is_a_checkpoint(corpus: Path) -> None:
    """The first step of a warm-up has a learning rate of 0: step 1 has the weights of step 0, and its own name."""
    options = ("finetune.max_steps=2", "finetune.checkpoint_every=1", "analyze.probe=null", "extract.egemaps=false")
    options = (*options, "analyze.similarity.egemaps=false", "extract.random_control=false", "analyze.drift.floor=[]")
    run(*options)
    drift = pd.read_parquet(FOLDER / "tables/drift.parquet")
    cosine = drift[drift["measure"] == "mean_cosine"].groupby("checkpoint")["value"].min()
    assert list(cosine.index) == ["step-0", "step-1", "step-2"]
    np.testing.assert_allclose(cosine["step-1"], 1, atol=1e-6)
    assert len(list(Path("cache").glob("*.h5"))) == 2
    assert run(*options)[0] == []


@pytest.mark.usefixtures("quick_report")
def test_an_analysis_that_cannot_be_made_does_not_stop_the_others(finished: Path) -> None:
    many = ("analyze.umap={layers: [final], neighbours: 40}", "analyze.geometry=null")
    said = Said()
    outcome = run_study(small_study(*many), progress=said)
    assert outcome.failed == ("umap",)
    assert "FAILED. There are too few clips for a map" in said.of("umap")
    assert "set analyze.umap.neighbours lower" in said.of("umap")
    kept = json.loads((FOLDER / "left_out.json").read_text(encoding="utf-8"))
    assert list(kept["failed"]) == ["umap"]
    assert "report" in str(outcome.summary["done"])
    # It is tried again, and what was left out is forgotten once it is turned off.
    assert run_study(small_study(*many), progress=Said()).failed == ("umap",)
    assert run_study(small_study("analyze.geometry=null")).failed == ()
    assert not (FOLDER / "left_out.json").exists()


def test_statistics_of_an_analysis_that_failed_are_left_out_and_the_report_says_both(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Outcome:
        raise AnalysisError("The probes <fail>", found="nothing", fix="mend it")

    monkeypatch.setattr("ser_probe.steps.analyses.probe.run", fail)
    said = Said()
    outcome = run_study(small_study("analyze.geometry=null", "analyze.acoustics=null"), progress=said, force=["probe"])
    assert outcome.failed == ("probe",)
    assert said.of("probe").endswith("FAILED. The probes <fail> (found: nothing); to do: mend it")
    assert "the table 'probe' is that of probe, which could not be made" in said.of("stats")
    report = (FOLDER / "report.html").read_text(encoding="utf-8")
    assert "probe could not be made: The probes &lt;fail&gt; (found: nothing); to do: mend it" in report
    assert "stats is left out" in report
    # The tables of the run before are of other inputs, and have no place in the report.
    assert (FOLDER / "tables/probe.parquet").is_file()
    assert "<summary>probe" not in report
    assert "<summary>similarity" in report


def test_columns_that_nobody_asked_for_may_be_lacking(finished: Path) -> None:
    table = pd.read_csv("corpus/manifest.csv").drop(columns="gender")
    table.to_csv("corpus/bare.csv", index=False)
    study = small_study("data.manifest=corpus/bare.csv", "analyze.umap={}")
    clips = pd.read_csv("corpus/bare.csv").assign(clip_id="", split="test")
    check_columns(clips, study.analyze)
    with pytest.raises(AnalysisError, match="The clips have no column 'gender'") as raised:
        check_columns(clips, small_study("analyze.umap={color: [gender]}").analyze)
    assert raised.value.where == "analyze.umap.color"
    with pytest.raises(AnalysisError, match="no column 'accent'") as raised:
        check_columns(clips, small_study("analyze.drift.by=[accent]").analyze)
    assert raised.value.where == "analyze.drift.by"


@pytest.mark.parametrize("place", ["rows", "audio_root", "manifest"])
def test_a_clip_named_from_home_that_changed_is_seen(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """`~` is a folder wherever a path may be written: what is looked at is what is read."""
    monkeypatch.setenv("HOME", str(tmp_path))
    table = pd.read_csv(corpus / "manifest.csv")
    overrides: list[str] = []
    if place == "rows":
        table.assign(path="~/corpus/" + table["path"]).to_csv("rows.csv", index=False)
        overrides = ["data.manifest=rows.csv"]
    elif place == "audio_root":
        table.to_csv("elsewhere.csv", index=False)
        overrides = ["data.manifest=elsewhere.csv", "data.audio_root=~/corpus"]
    else:
        overrides = ["data.manifest=~/corpus/manifest.csv"]

    def prepare() -> str:
        said = Said()
        module._Run(small_study(*overrides), said, ())._prepare()
        return said.of("prepare")

    assert prepare() == "prepare: not done yet"
    assert prepare() == "prepare: fresh, nothing to do"
    soundfile.write(corpus / "s0-anger-0.wav", voice(99, 200, 0.7), RATE_HZ)
    assert prepare() == "prepare: stale, because changed: audio files"


def test_changed_sounds_of_augmentation_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "noise").mkdir()
    soundfile.write(tmp_path / "noise" / "rain.wav", voice(1, 100, 0.5), RATE_HZ)

    def state(sounds: str) -> dict[str, str]:
        transform = {"library": "audiomentations", "name": "AddBackgroundNoise", "sounds_path": sounds}
        config = AugmentConfig.model_validate({"transforms": [transform]})
        return sound_files_state(FinetuneConfig(augment=config))

    before = state("~/noise")
    assert before
    assert state("~/noise") == before
    soundfile.write(tmp_path / "noise" / "rain.wav", voice(2, 100, 0.6), RATE_HZ)
    assert state("~/noise") != before
    assert sound_files_state(FinetuneConfig()) == {}


@pytest.mark.usefixtures("quick_report")
def test_a_copied_study_points_into_its_own_folder(finished: Path) -> None:
    """As `cp -r` copies; the weights are those of its folder, so they are looked up anew in the cache they share."""
    other = FOLDER.with_name("other")
    shutil.copytree(FOLDER, other, copy_function=shutil.copyfile)
    before = states(FOLDER)
    said = Said()
    done = str(run_study(small_study("name=other"), progress=said).summary["done"]).split(", ")
    assert said.of("finetune").endswith(("fresh, nothing to do", "is gone or was changed"))
    assert not {"prepare", "egemaps"} & set(done)
    assert states(FOLDER) == before
    for path in [*other.glob(".stages/*.json"), other / "caches.json", other / "record.json"]:
        assert str(FOLDER) not in path.read_text(), path
    assert {path.name for path in other.glob("tables/*.parquet")} == {
        path.name for path in FOLDER.glob("tables/*.parquet")
    }
    shutil.rmtree(FOLDER)
    assert run_study(small_study("name=other")).summary["done"] == "nothing, all was fresh"
