"""evaluate: tables that follow from the predictions, foreign labels, groups, runs, and clips that cannot be used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from ser_probe.config import check_options
from ser_probe.config.evaluation import EvaluateConfig
from ser_probe.errors import AnalysisError, AudioError, CheckpointError, ConfigError, ManifestError
from ser_probe.models.targets import Targets
from ser_probe.report.evaluation import files as evaluation_files
from ser_probe.steps.evaluate import Evaluated, evaluate_checkpoint
from ser_probe.steps.tables import read_table

from ..classifiers import save_run
from ..voices import LABELS, write_corpus
from .conftest import Said

# CSV holds all digits; sums are in another order.
ROUNDING = 1e-9


def write_manifest(folder: Path, **columns: Any) -> Path:
    """Write a corpus of 4 speakers and 12 clips with more columns (functions of its table, or values)."""
    write_corpus(folder, n_speakers=4, n_takes=1)
    path = folder / "manifest.csv"
    edit(path, **columns)
    return path


def edit(path: Path, **columns: Any) -> None:
    table = pd.read_csv(path, dtype=str)
    for name, values in columns.items():
        table[name] = values(table) if isinstance(values, Callable) else values  # type: ignore[arg-type]
    table.to_csv(path, index=False)


def run(*places: Path, said: Said | None = None, output: str = "out", **options: Any) -> Evaluated:
    config = check_options(EvaluateConfig, {"workers": 0, "resamples": 100, "figures": False, **options})
    return evaluate_checkpoint(places[0], places[1:], Path(output), config, progress=said or Said())


def table(name: str, output: str = "out") -> pd.DataFrame:
    return read_table(Path(output, "tables"), name)


def chosen(frame: pd.DataFrame, **values: object) -> pd.DataFrame:
    for name, value in values.items():
        frame = frame[frame[name] == value]
    return frame


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_tables_follow_from_the_predictions() -> None:
    manifest = write_manifest(Path("corpus"), corpus="voices")
    found = run(save_run(Path("runs/x")), manifest, figures=True)
    predictions = read_table(Path("out"), "predictions")
    pd.testing.assert_frame_equal(predictions, pd.read_csv("out/predictions.csv"), check_dtype=False)
    assert {"clip_id", "path", "corpus", "speaker", "gender", "label", "predicted", "run_seed", "checkpoint"} <= {
        *predictions.columns
    }
    key = predictions[["model", "run_seed", "checkpoint", "step", "corpus"]].drop_duplicates()
    assert key.to_numpy().tolist() == [["x", 0, "step-50", 50, "voices"]]
    assert set(predictions["model_path"]) == {"runs/x"}
    p = predictions[[f"p({name})" for name in LABELS]].to_numpy()
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=0, atol=ROUNDING)
    assert predictions["predicted"].tolist() == [LABELS[row] for row in p.argmax(axis=1)]
    assert predictions["predicted"].nunique() > 1, "a head that tells clips apart"
    assert predictions["label"].tolist() == [path.split("-")[1] for path in predictions["path"]]
    for group_by, group, rows in [
        ("overall", "all", predictions),
        *(("gender", name, part) for name, part in predictions.groupby("gender")),
    ]:
        own = chosen(table("scores"), group_by=group_by, group=group).set_index("measure")
        assert (own["n"] == len(rows)).all()
        assert own["value"]["uar"] == pytest.approx(sk.balanced_accuracy_score(rows["label"], rows["predicted"]))
        expected = sk.log_loss(rows["label"], rows[[f"p({name})" for name in LABELS]].to_numpy(), labels=LABELS)
        assert own["value"]["nll"] == pytest.approx(expected, abs=ROUNDING)
        cells = chosen(table("confusion"), group_by=group_by, group=group)
        counts = cells.pivot(index="true", columns="predicted", values="count").loc[list(LABELS), list(LABELS)]
        np.testing.assert_array_equal(counts, sk.confusion_matrix(rows["label"], rows["predicted"], labels=LABELS))
    overall = chosen(table("scores"), group_by="overall")
    assert overall["ci_low"].notna().all(), "4 speakers"
    by_gender = chosen(table("scores"), group_by="gender")
    assert by_gender["ci_low"].isna().all(), "2 speakers each"
    assert table("reliability")["n"].sum() == 12 * 2, "all clips, and by gender all clips again"
    assert set(found.headline["group"]) == {"all", "female", "male"}
    assert found.outcome.summary == {"clips": "12, 1 run"}
    names = {path.name for path in found.outcome.files}
    assert {"evaluation_voices.png", "evaluation_voices.svg", "confusion_voices.png", "scores.parquet"} <= names
    assert all(path.is_file() for path in found.outcome.files)
    record = json.loads(Path("out/evaluation.json").read_text())
    assert record["runs"][0]["checkpoint"] == "runs/x/checkpoints/checkpoint-50"
    assert record["targets"]["names"] == list(LABELS)


def test_other_corpora_with_a_label_map() -> None:
    home = write_manifest(Path("home"), corpus="home")
    away = write_manifest(Path("away"), corpus="away", label=lambda t: t["label"].map(
        {"anger": "rage", "joy": "joy", "sadness": "boredom"}))  # fmt: skip
    said = Said()
    checkpoint = save_run(Path("runs/x"))
    found = run(checkpoint, home, away, said=said, label_map={"rage": "anger", "calm": "joy"}, by=["corpus", "speaker"])
    left_out = table("left_out")
    assert left_out.to_numpy().tolist() == [["away", 4, "boredom", "no class of the model"]]
    assert found.outcome.summary == {"clips": "20, 1 run", "left out by label": 4}
    assert any("away: 4 clips are left out" in line and "4 boredom" in line for line in said.lines)
    assert "away: no clip of the classes sadness" in said.lines
    assert "entries of the label map that no clip has: calm" in said.lines
    predictions = read_table(Path("out"), "predictions")
    mapped = chosen(predictions, corpus="away", corpus_label="rage")
    assert len(mapped) == 4
    assert set(mapped["label"]) == {"anger"}
    scores = table("scores")
    assert scores[["corpus", "group_by"]].drop_duplicates().to_numpy().tolist() == [
        [corpus, by] for corpus in ("home", "away", "home+away") for by in ("overall", "speaker")
    ]  # fmt: skip
    together = chosen(scores, corpus="home+away", group_by="overall", measure="accuracy")
    assert together["value"].item() == pytest.approx((predictions["label"] == predictions["predicted"]).mean())
    assert together["n_speakers"].item() == 8, "speakers of the same name in two corpora are two people"
    speakers = chosen(scores, corpus="home+away", group_by="speaker", measure="accuracy")["group"]
    assert {*speakers} == {f"{corpus}/s{k}" for corpus in ("home", "away") for k in range(4)}
    absent = chosen(table("classes"), corpus="away", group_by="overall", **{"class": "sadness"})
    assert chosen(absent, measure="recall")["value"].isna().all()
    assert chosen(absent, measure="support")["value"].item() == 0
    run(checkpoint, home, away, output="one", label_map={"rage": "anger"}, by=["gender"])
    assert set(table("scores", "one")["corpus"]) == {"home+away"}, "without the column corpus they are one"


def test_labels_that_the_model_does_not_know() -> None:
    manifest = write_manifest(Path("corpus"), label=lambda t: "x-" + t["label"])
    checkpoint = save_run(Path("runs/x"))
    with pytest.raises(AnalysisError, match="No label of corpus is a class of the model") as raised:
        run(checkpoint, manifest)
    assert raised.value.found == "'x-anger', 'x-joy', 'x-sadness'"
    with pytest.raises(ConfigError, match="x-joy -> jöy: did you mean 'joy'"):
        run(checkpoint, manifest, label_map={"x-joy": "jöy"})
    assert not Path("out").exists()


def test_which_clips() -> None:
    manifest = write_manifest(Path("corpus"), split=lambda t: t["speaker"].map(
        {"s0": "train", "s1": "train", "s2": "validation", "s3": "test"}))  # fmt: skip
    checkpoint = save_run(Path("runs/x"))
    for options, speakers in (
        ({}, {"s3"}),
        ({"splits": "validation"}, {"s2"}),
        ({"splits": ("validation", "test")}, {"s2", "s3"}),
        ({"splits": "all"}, {"s0", "s1", "s2", "s3"}),
    ):
        run(checkpoint, manifest, **options)
        assert set(read_table(Path("out"), "predictions")["speaker"]) == speakers
    edit(manifest, split="train")
    said = Said()
    run(checkpoint, manifest, said=said)
    assert "corpus/manifest.csv: all 12 clips" in said.lines
    with pytest.raises(AnalysisError, match="No clip of the manifest is in the split 'test'") as raised:
        run(checkpoint, manifest, splits="test")
    assert raised.value.found == "12 train"
    with pytest.raises(AnalysisError, match="No manifest has the column 'gendre'") as raised:
        run(checkpoint, manifest, by=["gendre"])
    assert raised.value.fix == "did you mean 'gender'?"


def test_clips_that_were_trained_on_are_counted() -> None:
    manifest = write_manifest(Path("corpus"))
    checkpoint = save_run(Path("runs/x"))
    run(checkpoint, manifest)
    heard = read_table(Path("out"), "predictions")[["path", "clip_id", "speaker"]]
    heard["split"] = heard.pop("speaker").map({"s0": "train", "s1": "validation", "s2": "test", "s3": "test"})
    heard.to_csv("runs/x/manifest.csv", index=False)
    said = Said()
    found = run(checkpoint, manifest, said=said)
    assert found.outcome.summary["heard in training"] == 6
    assert any(line.startswith("warning: 6 of 12 clips were heard in fine-tuning (3 in") for line in said.lines)


def test_clips_that_cannot_be_used(caplog: pytest.LogCaptureFixture) -> None:
    manifest = write_manifest(Path("corpus"))
    checkpoint = save_run(Path("runs/x"))
    silent = Path("corpus/s0-joy-0.wav")
    kept = silent.read_bytes()
    silent.write_bytes(kept[:44] + bytes(len(kept) - 44))  # found when it is decoded
    Path("corpus/s1-joy-0.wav").unlink()  # found before
    found = run(checkpoint, manifest)
    assert (found.outcome.n_rejected, found.outcome.rejects) == (2, Path("out/rejects.csv"))
    assert set(pd.read_csv("out/rejects.csv")["path"]) == {"s0-joy-0.wav", "s1-joy-0.wav"}
    assert chosen(table("scores"), group_by="overall")["n"].unique().tolist() == [10]
    assert len(read_table(Path("out"), "predictions")) == 10
    with pytest.raises(ManifestError, match=r"s0-joy-0.wav: .*silent(.|\n)*s1-joy-0.wav"):
        run(checkpoint, manifest, strict=True)
    pd.read_csv(manifest).query("path == 's0-joy-0.wav'").to_csv(manifest, index=False)
    with pytest.raises(AudioError, match="None of the 1 clips could be decoded") as raised:
        run(checkpoint, manifest)
    assert raised.value.found == "The clip is silent"
    silent.write_bytes(kept)
    assert run(checkpoint, manifest).outcome.rejects is None
    assert not Path("out/rejects.csv").exists(), "a list of rejects that are none any more misleads"


def test_several_seeds() -> None:
    manifest = write_manifest(Path("corpus"))
    for seed in (0, 3):
        save_run(Path(f"runs/many/seed-{seed}"), seed=seed)
    Path("runs/many/seed-4").mkdir()
    said = Said()
    found = run(Path("runs/many"), manifest, said=said, figures=True)
    assert "left out, because their training is not finished: seed-4" in said.lines
    scores, summary = table("scores"), table("summary")
    assert scores[["model", "run_seed"]].drop_duplicates().to_numpy().tolist() == [["many", 0], ["many", 3]]
    uar = chosen(scores, group_by="overall", measure="uar")["value"]
    row = chosen(summary, group_by="overall", measure="uar").iloc[0]
    assert row[["mean", "std", "min", "max", "n_runs"]].tolist() == pytest.approx(
        [uar.mean(), uar.std(ddof=1), uar.min(), uar.max(), 2]
    )
    head = chosen(found.headline, group="all").iloc[0]
    assert (head["uar"], head["uar_std"], head["n"]) == pytest.approx((uar.mean(), uar.std(ddof=1), 12))
    cell = {"group_by": "overall", "true": "joy", "predicted": "anger"}
    shares = chosen(table("confusion"), **cell)["share"]
    assert chosen(table("confusion_mean"), **cell)["share"].item() == pytest.approx(shares.mean())
    drawn = {path.stem for path in Path("out/figures").iterdir()}
    name = "corpus"
    assert drawn == {f"evaluation_{name}", f"confusion_{name}", f"confusion_{name}_seed-0", f"confusion_{name}_seed-3"}
    run(Path("runs/many/seed-3"), manifest, figures=True)
    assert {path.stem for path in Path("out/figures").iterdir()} == {f"evaluation_{name}", f"confusion_{name}"}
    again = chosen(table("scores"), group_by="overall", measure="uar")
    assert again["value"].item() == chosen(scores, run_seed=3, group_by="overall", measure="uar")["value"].item()


def test_of_many_runs_only_the_mean_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = write_manifest(Path("corpus"))
    for seed in (0, 1):
        save_run(Path(f"runs/many/seed-{seed}"), seed=seed)
    monkeypatch.setattr(evaluation_files, "MOST_RUN_FIGURES", 1)
    said = Said()
    run(Path("runs/many"), manifest, said=said, figures=True)
    assert "no figures of each of 2 runs: the tables have them" in said.lines
    assert {path.stem for path in Path("out/figures").iterdir()} == {"evaluation_corpus", "confusion_corpus"}


def test_runs_of_different_classes() -> None:
    manifest = write_manifest(Path("corpus"))
    save_run(Path("runs/many/seed-0"))
    save_run(Path("runs/many/seed-1"), Targets("classes", ("anger", "joy", "fear")))
    with pytest.raises(CheckpointError, match="The runs of the folder predict different things"):
        run(Path("runs/many"), manifest)


def test_numeric_targets() -> None:
    rng = np.random.default_rng(0)
    manifest = write_manifest(
        Path("corpus"),
        arousal=lambda t: rng.normal(3, 1, len(t)).round(3),
        EmoVal=lambda t: rng.normal(0, 1, len(t)).round(3),
    )
    targets = Targets("numeric", ("arousal", "valence", "tension"), (3.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    found = run(save_run(Path("runs/x"), targets), manifest, target_columns={"valence": "EmoVal"}, figures=True)
    predictions, scores = read_table(Path("out"), "predictions"), table("scores")
    assert set(scores["target"]) == {"arousal", "valence"}
    for target in ("arousal", "valence"):
        own = chosen(scores, group_by="overall", target=target).set_index("measure")["value"]
        true, predicted = predictions[target], predictions[f"predicted({target})"]
        assert own["rmse"] == pytest.approx(sk.root_mean_squared_error(true, predicted))
        assert own["pearson"] == pytest.approx(np.corrcoef(true, predicted)[0, 1])
    assert predictions["predicted(tension)"].notna().all()
    assert set(found.headline["target"]) == {"arousal", "valence"}
    assert {path.name for path in Path("out/figures").iterdir()} == {"agreement_corpus.png", "agreement_corpus.svg"}
    with pytest.raises(AnalysisError, match="The model has no target 'valance'") as raised:
        run(Path("runs/x"), manifest, target_columns={"valance": "EmoVal"})
    assert raised.value.fix is not None
    assert raised.value.fix.startswith("did you mean 'valence'")
    with pytest.raises(ManifestError, match="The manifest has no column 'EmoVaal'"):
        run(Path("runs/x"), manifest, target_columns={"valence": "EmoVaal"})
    with pytest.raises(ManifestError, match="The column 'tension' must hold finite numbers") as refused:
        run(Path("runs/x"), manifest, target_columns={"tension": "speaker"})
    assert refused.value.found == "'s0', 's1', 's2', 's3'"


def test_distributions_of_votes() -> None:
    rng = np.random.default_rng(0)
    votes = {name: (lambda t: rng.integers(0, 9, len(t))) for name in LABELS}
    manifest = write_manifest(Path("corpus"), **votes)
    raw = pd.read_csv(manifest)
    raw.loc[0, list(LABELS)] = 0  # nobody voted
    raw.drop(columns="label").to_csv(manifest, index=False)
    found = run(save_run(Path("runs/x"), Targets("distribution", LABELS)), manifest)
    predictions, scores = read_table(Path("out"), "predictions"), table("scores")
    overall = chosen(scores, group_by="overall").set_index("measure")
    assert len(predictions) == 11, "a clip without votes has no label"
    true = predictions[[f"share({name})" for name in LABELS]].to_numpy(float)
    assert predictions["label"].tolist() == [LABELS[row] for row in true.argmax(axis=1)]
    true = true / true.sum(axis=1, keepdims=True)
    p = predictions[[f"p({name})" for name in LABELS]].to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        divergence = np.nansum(true * np.log(true / p), axis=1).mean()
    assert overall["value"]["kl_divergence"] == pytest.approx(divergence)
    assert {"uar", "js_divergence"} <= {*overall.index}
    assert "kl_divergence" in found.headline


def test_without_labels_there_are_predictions() -> None:
    manifest = write_manifest(Path("corpus"))
    checkpoint = save_run(Path("runs/x"))
    run(checkpoint, manifest, figures=True)
    assert Path("out/tables/scores.csv").is_file()
    pd.read_csv(manifest).drop(columns="label").to_csv(manifest, index=False)
    said = Said()
    found = run(checkpoint, manifest, said=said)
    assert found.headline.empty
    assert "nothing to score against: the manifests have no column 'label'; predictions are written" in said.lines
    assert len(read_table(Path("out"), "predictions")) == 12
    assert not [*Path("out/tables").iterdir(), *Path("out/figures").iterdir()], "tables of another evaluation"


def test_a_checkpoint_that_does_not_say_how_it_hears() -> None:
    manifest = write_manifest(Path("corpus"))
    checkpoint = save_run(Path("runs/x")) / "checkpoints/checkpoint-50"
    (checkpoint / "audio.json").unlink()
    said = Said()
    run(checkpoint, manifest, said=said)
    assert any("has no audio.json: clips are heard as they are" in line for line in said.lines)
    assert run(checkpoint, manifest, max_duration_s=0.7).outcome.n_rejected > 0


def test_a_clip_in_two_manifests_counts_once() -> None:
    manifest = write_manifest(Path("corpus"), corpus="voices")
    again = Path("corpus/again.csv")
    again.write_bytes(manifest.read_bytes())
    said = Said()
    run(save_run(Path("runs/x")), manifest, again, said=said)
    assert "12 clips are in several manifests and count once" in said.lines
    assert len(read_table(Path("out"), "predictions")) == 12


def test_an_output_that_is_a_file() -> None:
    Path("out").write_text("")
    with pytest.raises(ConfigError, match="Several files are written, and the output is a file"):
        run(save_run(Path("runs/x")), write_manifest(Path("corpus")))


def test_a_corpus_without_a_name_is_called_as_its_manifest_or_its_folder() -> None:
    manifest = write_manifest(Path("corpus"))
    other = manifest.rename("corpus/evening.csv")
    checkpoint = save_run(Path("runs/x"))
    run(checkpoint, other)
    assert set(table("scores")["corpus"]) == {"evening"}
    edit(other, corpus=lambda t: np.where(t["speaker"] == "s0", "", "named"))
    other.rename(manifest)
    run(checkpoint, manifest)
    assert set(table("scores")["corpus"]) == {"corpus", "named", "corpus+named"}


def test_a_model_is_called_as_the_user_says() -> None:
    manifest = write_manifest(Path("corpus"))
    config = check_options(EvaluateConfig, {"workers": 0, "resamples": 100, "figures": False})
    evaluate_checkpoint(save_run(Path("runs/x")), [manifest], Path("out"), config, name="WavLM, tuned", progress=Said())
    predictions = read_table(Path("out"), "predictions")
    assert set(predictions["model"]) == set(table("scores")["model"]) == {"WavLM, tuned"}
    assert set(predictions["model_path"]) == {"runs/x"}


def test_test_sets_of_one_file_name_are_two_corpora() -> None:
    for name in ("one", "two"):
        write_corpus(Path(name), n_speakers=3, n_takes=1)
        Path(name, "manifest.csv").rename(Path(name, "test.csv"))
    checkpoint, said = save_run(Path("runs/x")), Said()
    found = run(checkpoint, Path("one/test.csv"), Path("two/test.csv"), said=said)
    assert list(dict.fromkeys(table("scores")["corpus"])) == ["one/test", "two/test", "one/test+two/test"]
    overall = chosen(found.headline, group_by="overall").set_index("corpus")
    assert overall["n"].to_dict() == {"one/test": 9, "two/test": 9, "one/test+two/test": 18}
    assert overall["n_speakers"].to_dict() == {"one/test": 3, "two/test": 3, "one/test+two/test": 6}
    assert not any("scored as one" in line for line in said.lines)
    printed = Path("out/tables/scores.tex").read_text()
    assert all(f"{name}/test & " in printed for name in ("one", "two"))
    # A corpus that a column names is one, whichever files its clips are listed in.
    for name in ("one", "two"):
        edit(Path(name, "test.csv"), corpus="voices", speaker=lambda t, name=name: name + t["speaker"])
    run(checkpoint, Path("one/test.csv"), Path("two/test.csv"), said=said)
    assert set(table("scores")["corpus"]) == {"voices"}
    assert "one/test.csv, two/test.csv have clips of the corpus voices, which is scored as one" in said.lines
