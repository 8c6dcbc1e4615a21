"""The analysis `probe` as a step: targets, divisions, families, controls, and what is said where there can be none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ser_probe.config import ProbeConfig, SplitConfig, check_options
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.errors import AnalysisError, SplitError
from ser_probe.steps.analyses import probe_training
from ser_probe.steps.analyses.entries import run_analysis
from ser_probe.steps.analyses.inputs import Inputs
from ser_probe.steps.analyses.probe import check_probes
from ser_probe.steps.analyses.probe_targets import settle_tasks
from ser_probe.steps.analyses.representations import Representation, join_caches
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.tables import KEY_COLUMNS, read_table

from ..conftest import FEATURES, tuned

Write = Callable[..., Path]
CONTEXT = {"corpus": "emovo", "run_seed": 7}
PROBE = {"division": "study", "initialisations": 2, "max_epochs": 40}
ALL = {"division": "kfold", "folds": 3, "among": "all", "initialisations": 1, "max_epochs": 30, "controls": []}


@pytest.fixture
def caches(write_cache: Write, clips: pd.DataFrame) -> list[Path]:
    """Step 50 and step 0, in the wrong order."""
    return [write_cache("late", clips, tuned(50)), write_cache("first", clips, tuned(0))]


@pytest.fixture
def features(write_cache: Write, clips: pd.DataFrame) -> Path:
    return write_cache("features", clips, FEATURES, layers=("functionals",), width=5)


def run(caches: list[Path], output: Path, features: Path | None = None, **options: Any) -> Outcome:
    given = {name: options.pop(name) for name in ("control", "clips") if name in options}
    probe = check_options(ProbeConfig, {**PROBE, **options})
    inputs = Inputs(output, caches=caches, features=features, context=CONTEXT, **given)
    return run_analysis("probe", inputs, probe)


def probed(caches: list[Path], output: Path, features: Path | None = None, **options: Any) -> pd.DataFrame:
    run(caches, output, features, **options)
    return read_table(output, "probe")


def names(outcome: Outcome) -> set[str]:
    return {path.stem for path in outcome.files}


def test_probe_rows(caches: list[Path], features: Path, tmp_path: Path) -> None:
    outcome = run(caches, tmp_path / "t", features)
    assert names(outcome) == {
        "probe", "probe_summary", "best_layers", "probe_classes", "probe_confusion", "probe_changes", "probe_centre",
        "probe_models", "probe_transfer", "probe_directions",
    }  # fmt: skip
    assert {path.suffix for path in outcome.files} == {".parquet", ".csv"}
    table = read_table(tmp_path / "t", "probe")
    own = ["target", "family", "probe_seed", "control", "split", "n_epochs"]
    has = {*KEY_COLUMNS} - {"ci_low", "ci_high"} | {*own}
    assert has <= set(table.columns)
    assert set(table["measure"]) == {"weighted_f1", "macro_f1", "uar", "accuracy", "selectivity_uar"}
    assert set(table["control"]) == {"none", "shuffled_labels", "majority_class"}
    assert set(table["split"]) == {"validation", "test"}
    assert set(table["corpus"]) == {"emovo"}
    assert set(table["target"]) == {"label"}
    assert set(table["divided_by"]) == {"speaker"}
    assert not table["shares_speakers"].any()
    trained = table[table["control"] == "none"]
    found = trained.groupby(["model", "checkpoint", "layer"])["probe_seed"].nunique()
    assert found.to_dict() == {
        ("eGeMAPSv02", "", "functionals"): 2,
        **{("tiny", f"step-{step}", layer): 2 for step in (0, 50) for layer in ("0", "1")},
    }
    acoustic = table[table["layer"] == "functionals"]
    assert acoustic["step"].isna().all()
    assert set(acoustic["feature"]) == {"acoustic"}
    assert set(acoustic["pooling"]) == {"functionals"}
    assert set(table.loc[table["model"] == "tiny", "feature"]) == {"embedding"}


def test_probes_find_what_is_there_and_controls_do_not(caches: list[Path], tmp_path: Path) -> None:
    table = probed(caches, tmp_path / "t")
    table = table[(table["measure"] == "uar") & (table["split"] == "test")]
    scores = table.groupby(["control", "layer"])["value"].mean()
    assert scores["none", "1"] > 0.85
    assert scores["none", "0"] < 0.7
    assert scores["shuffled_labels", "1"] < 0.7
    assert table.loc[table["control"] == "majority_class", "value"].to_list() == [pytest.approx(1 / 3)]
    best = read_table(tmp_path / "t", "best_layers")
    assert set(best["layer"]) == {"1"}
    assert "majority_class" not in set(best["model"])


def test_models_are_compared_at_their_last_checkpoint(
    caches: list[Path], features: Path, write_cache: Write, clips: pd.DataFrame, tmp_path: Path
) -> None:
    other = write_cache("other", clips, {**tuned(0), "model": "other"})
    run([*caches, other], tmp_path / "t", features, division="kfold", among="all", folds=3)
    table = read_table(tmp_path / "t", "probe_models")
    uar = table[table["measure"] == "uar"]
    pairs = {("other", "tiny"), ("eGeMAPSv02", "tiny"), ("eGeMAPSv02", "other")}
    assert {tuple(sorted(pair)) for pair in zip(uar["model_a"], uar["model_b"], strict=True)} == pairs
    steps = {row[f"model_{side}"]: row[f"step_{side}"] for side in "ab" for row in uar.to_dict("records")}
    assert (steps["tiny"], steps["other"]) == (50, 0)
    assert np.isnan(steps["eGeMAPSv02"])
    assert {"corpus", "target", "family", "pooling_a", "divided_by"} <= set(table.columns)
    best = read_table(tmp_path / "t", "best_layers").set_index(["model", "checkpoint"])["test_value"]
    tiny = uar[uar["model_b"] == "tiny"].iloc[0]
    assert tiny["score_b"] == pytest.approx(best["tiny", "step-50"])


def test_the_first_step_is_what_changes_are_counted_from(caches: list[Path], tmp_path: Path) -> None:
    run(caches, tmp_path / "t", **ALL)
    changes = read_table(tmp_path / "t", "probe_changes")
    assert set(changes["reference"]) == {"step-0"}
    assert set(changes["checkpoint"]) == {"step-50"}
    assert set(changes["n_speakers"]) == {6}
    assert set(changes["smallest_p"]) == {1 / 32}
    assert {"p_folds", "p_folds_holm"} <= set(changes.columns)


def test_held_out_speakers_are_divided_anew(write_cache: Write, clips: pd.DataFrame, tmp_path: Path) -> None:
    held_out = clips.assign(split=np.where(clips["speaker"] == "s0", "train", "test"))
    table = probed([write_cache("a", held_out, tuned(0))], tmp_path / "t", division="heldout", controls=[])
    assert table.groupby("split")["n"].first().sum() < 60, "of five test speakers, some train the probe"


def test_too_few_held_out_speakers(caches: list[Path], tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match="too few held-out speakers") as raised:
        probed(caches, tmp_path / "t", division="heldout")
    assert raised.value.found == "1: s5"
    assert raised.value.fix is not None
    assert "analyze.probe.division to study" in raised.value.fix
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize("scheme", ["loso", "kfold", "manifest"])
def test_schemes_that_say_nothing_of_held_out_speakers(
    write_cache: Write, clips: pd.DataFrame, tmp_path: Path, scheme: str
) -> None:
    joined = join_caches([write_cache("a", clips.assign(split="test"), tuned(0))])
    probe = check_options(ProbeConfig, {"division": "heldout"})
    own, study_e = (settle_tasks(joined, probe, SplitConfig(scheme=each))[0] for each in (scheme, "study_e"))
    np.testing.assert_array_equal(own.folds.parts, study_e.folds.parts)


@pytest.mark.parametrize(("splits", "n_folds"), [("kfold", 3), ("loso", 6)])
def test_rotating_folds_test_every_clip_once(caches: list[Path], tmp_path: Path, splits: str, n_folds: int) -> None:
    outcome = run(caches[:1], tmp_path / "t", **{**ALL, "division": splits})
    assert outcome.summary["train / validation / test"] == f"{n_folds} folds, each clip tests once"
    table = read_table(tmp_path / "t", "probe")
    assert set(table["n"]) == {72}
    assert set(table["n_speakers"]) == {6}


def test_folds_are_of_test_speakers_unless_all_are_asked_for(
    caches: list[Path], write_cache: Write, clips: pd.DataFrame, tmp_path: Path
) -> None:
    with pytest.raises(AnalysisError, match="fewer speakers than folds") as raised:
        run(caches, tmp_path / "t", **{**ALL, "among": "test"})
    assert raised.value.found == "1: s5"
    assert "analyze.probe.among all" in str(raised.value.fix)
    with pytest.raises(AnalysisError, match="fewer speakers than folds") as raised:
        run(caches, tmp_path / "t", **{**ALL, "folds": 7})
    assert "among" not in str(raised.value.fix)
    # Where the clips name no split, all of them are looked at.
    path = write_cache("a", clips.drop(columns="split"), tuned(0))
    run([path], tmp_path / "t", **{**ALL, "among": "test"})
    assert set(read_table(tmp_path / "t", "probe")["n"]) == {72}


def test_the_published_division_says_that_it_shares_speakers(
    write_cache: Write, clips: pd.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_cache("a", clips.assign(split="test"), tuned(0))
    with caplog.at_level("WARNING"):
        outcome = run([path], tmp_path / "t", division="study_e_published")
    assert "training and test share speakers" in caplog.text
    assert "share speakers" in str(outcome.summary["remark 1"])
    table = read_table(tmp_path / "t", "probe")
    assert table["shares_speakers"].all()
    assert set(table["divided_by"]) == {"clip"}
    assert table.groupby("split")["n"].first().to_dict() == {"test": 7, "validation": 7}


def test_several_targets_stand_beside_each_other(write_cache: Write, clips: pd.DataFrame, tmp_path: Path) -> None:
    known = clips.assign(mood=np.where(clips.index % 12 == 3, "", clips["label"].str[0]))
    outcome = run([write_cache("a", known, tuned(0))], tmp_path / "t", **ALL, targets=["label", "gender", "mood"])
    table = read_table(tmp_path / "t", "probe")
    assert table.groupby("target")["n"].first().to_dict() == {"gender": 72, "label": 72, "mood": 66}
    assert outcome.summary["mood: remark 1"] == "6 clips have no mood and are left out"


@pytest.mark.parametrize("column", ["sentence", None])
@pytest.mark.parametrize("splits", ["study", "heldout", "loso"])
def test_speakers_are_told_apart_on_other_sentences_or_clips(
    write_cache: Write, clips: pd.DataFrame, tmp_path: Path, column: str | None, splits: str
) -> None:
    known = clips.assign(split="test")
    if column is not None:
        known["sentence"] = [f"b{row // 6 % 12}" for row in range(72)]
    joined = join_caches([write_cache("a", known, tuned(0))])
    probe = check_options(ProbeConfig, {**ALL, "division": splits, "targets": ["speaker"]})
    (task,) = settle_tasks(joined, probe, SplitConfig())
    assert "speaker is what divides clips" in task.remarks[0]
    assert task.divided_by == (column or "clip")
    assert task.shares_speakers
    assert len(task.folds.names) == (1 if splits != "loso" else 3)
    units = joined.column("sentence" if column else "clip_id")
    for parts in task.folds.parts:
        assert all(len(set(parts[units == unit])) == 1 for unit in np.unique(units))


def test_the_tables_say_what_divides_the_clips_of_a_speaker(caches: list[Path], tmp_path: Path) -> None:
    table = probed(caches[:1], tmp_path / "t", **{**ALL, "targets": ["speaker"]})
    assert set(table["divided_by"]) == {"clip"}
    assert table["shares_speakers"].all()
    assert table["target"].unique().tolist() == ["speaker"]


def test_numeric_targets_have_ridge_probes(
    caches: list[Path], features: Path, write_cache: Write, clips: pd.DataFrame, tmp_path: Path
) -> None:
    with EmbeddingCache.open(caches[0]) as cache:
        arousal = cache.layer("1")[:, 5] + 1.0
    manifest = clips.assign(arousal=arousal, valence=np.random.default_rng(0).random(72))
    outcome = run(
        caches, tmp_path / "t", features, **{**ALL, "controls": ["shuffled_labels"]}, clips=manifest,
        targets=["arousal", "valence", "egemaps:a"],
    )  # fmt: skip
    assert names(outcome) == {"best_layers", "probe_numbers", "probe_number_changes"}
    table = read_table(tmp_path / "t", "probe_numbers")
    assert set(table["family"]) == {"ridge"}
    assert set(table["measure"]) == {"r2", "ccc", "pearson", "rmse", "mae"}
    r2 = table[(table["measure"] == "r2") & (table["split"] == "test") & (table["step"] == 50)]
    r2 = r2.set_index(["control", "target", "layer"])["value"]
    assert r2["none", "arousal", "1"] > 0.5 > r2["none", "arousal", "0"]
    assert r2["shuffled_labels", "arousal", "1"] < 0.2
    # Acoustic features are a baseline of other numbers, and never of themselves.
    acoustic = table[table["layer"] == "functionals"]
    assert set(acoustic["target"]) == {"arousal", "valence"}
    changes = read_table(tmp_path / "t", "probe_number_changes")
    assert set(changes["target"]) == {"arousal", "valence", "a"}
    best = read_table(tmp_path / "t", "best_layers")
    assert best.loc[(best["target"] == "arousal") & (best["step"] == 50), "layer"].item() == "1"


def test_all_functionals_are_a_target_each(caches: list[Path], features: Path, tmp_path: Path) -> None:
    run(caches[:1], tmp_path / "t", features, **ALL, targets="egemaps")
    assert set(read_table(tmp_path / "t", "probe_numbers")["target"]) == {
        "a",
        "b",
        "feature 2",
        "feature 3",
        "feature 4",
    }
    with pytest.raises(AnalysisError, match=r"no acoustic functional 'c'[\s\S]*known: a, b, feature 2"):
        run(caches[:1], tmp_path / "u", features, **ALL, targets="egemaps:c")
    with pytest.raises(AnalysisError, match="needs acoustic features"):
        run(caches[:1], tmp_path / "u", **ALL, targets="egemaps:a")


def test_random_weights_stand_beside_the_model(
    caches: list[Path], write_cache: Write, clips: pd.DataFrame, tmp_path: Path
) -> None:
    attributes = {"model": "tiny (random weights)", "checkpoint": "random-weights", "step": 0, "pooling": "mean"}
    random = write_cache("random", clips, attributes)
    table = probed(caches, tmp_path / "t", control=random, controls=[])
    rows = table[table["control"] == "random_weights"]
    assert set(rows["model"]) == {"tiny"}
    assert rows["step"].isna().all()
    assert set(rows["layer"]) == {"0", "1"}
    assert set(table.loc[table["control"] == "none", "checkpoint"]) == {"step-0", "step-50"}
    assert set(read_table(tmp_path / "t", "best_layers")["checkpoint"]) == {"step-0", "step-50"}
    assert set(read_table(tmp_path / "t", "probe_centre")["checkpoint"]) == {"step-0", "step-50"}
    deep = write_cache("deep", clips, attributes, layers=("0", "1", "2"))
    with pytest.raises(AnalysisError, match=r"has other layers than the model[\s\S]*0, 1, 2"):
        probed(caches, tmp_path / "u", control=deep)
    with pytest.raises(AnalysisError, match="random weights is the only file"):
        probed([random], tmp_path / "u", control=random)


def test_a_learned_sum_of_layers_has_its_weights_reported(caches: list[Path], tmp_path: Path) -> None:
    table = probed(caches, tmp_path / "t", families=["linear", "layer_sum"], max_epochs=200, controls=[])
    assert set(table.loc[table["family"] == "layer_sum", "layer"]) == {"weighted_sum"}
    weights = read_table(tmp_path / "t", "probe_layer_weights").set_index(["step", "layer"])["value"]
    np.testing.assert_allclose(weights.groupby("step").sum(), 1)
    assert (weights.xs("1", level="layer") > 0.5).all(), "the layer that holds the label"


def test_ridge_is_for_numbers(caches: list[Path], tmp_path: Path) -> None:
    for families in (["ridge"], ["linear", "ridge"]):
        with pytest.raises(AnalysisError, match="'ridge' does not predict classes") as raised:
            run(caches, tmp_path / "t", families=families)
        assert "task: numbers" in str(raised.value.fix)
    assert not (tmp_path / "t").exists()


def test_layers_read_in_parts_give_the_same(
    caches: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = probed(caches[:1], tmp_path / "a", initialisations=1)
    monkeypatch.setattr(probe_training, "_FEATURE_BYTES", 1)
    pd.testing.assert_frame_equal(probed(caches[:1], tmp_path / "b", initialisations=1), whole)


def test_clips_that_are_not_finite_are_named(
    caches: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Representation.layers

    def broken(self: Representation) -> list[np.ndarray]:
        layers = [layer.copy() for layer in read(self)]
        layers[1][[3, 9], 2] = np.nan
        return layers

    monkeypatch.setattr(Representation, "layers", broken)
    with pytest.raises(AnalysisError, match="embeddings that are not finite") as raised:
        run(caches, tmp_path / "t")
    assert raised.value.found == "NaN or infinity in 2 of 72 clips: 3.wav, 9.wav"
    assert str(raised.value.where).endswith("layers 1")


def test_files_of_other_clips_are_joined_and_the_rest_is_counted(
    write_cache: Write, clips: pd.DataFrame, tmp_path: Path
) -> None:
    files = [write_cache("a", clips, tuned(0)), write_cache("b", clips[clips.index % 12 != 5], tuned(50))]
    outcome = run(files, tmp_path / "t", **ALL)
    assert outcome.summary["clips"] == 66
    assert outcome.summary["clips not in all files, left out"] == 6
    assert set(read_table(tmp_path / "t", "probe")["n"]) == {66}


def test_files_of_other_layers_are_compared_where_they_agree(
    caches: list[Path], write_cache: Write, clips: pd.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deep = write_cache("deep", clips, tuned(100), layers=("0", "1", "2"))
    with caplog.at_level("WARNING"):
        run([*caches, deep], tmp_path / "t", **ALL)
    assert "2 of 3 are compared with the first one's" in caplog.text
    changes = read_table(tmp_path / "t", "probe_changes")
    assert set(changes.loc[changes["step"] == 100, "layer"]) == {"0", "1"}


def test_targets_that_cannot_be_probed_are_refused(write_cache: Write, clips: pd.DataFrame, tmp_path: Path) -> None:
    path = write_cache("a", clips, tuned(0))
    with pytest.raises(AnalysisError, match=r"no column 'lable' to predict[\s\S]*did you mean 'label'"):
        run([path], tmp_path / "t", targets="lable")
    with pytest.raises(AnalysisError, match="All clips have the same value of the target 'label'"):
        run([path], tmp_path / "t", clips=clips.assign(label="joy"))
    rare = clips.assign(label=clips["label"].where(clips["speaker"] != "s5", "disgust"))
    with pytest.raises(AnalysisError, match="never occur in training: disgust"):
        run([path], tmp_path / "t", clips=rare)
    with pytest.raises(AnalysisError, match="never occur in training: disgust") as raised:
        run([path], tmp_path / "t", clips=rare, **ALL)
    assert "fewer folds" in str(raised.value.fix)
    torn = clips.assign(gender=np.arange(72) % 5 % 2)
    with pytest.raises(SplitError, match="two genders"):
        run([path], tmp_path / "t", clips=torn, **ALL)


def test_classes_without_a_test_clip_are_said(
    write_cache: Write, clips: pd.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_cache("a", clips, tuned(0))
    known = clips[~((clips["speaker"] == "s5") & (clips["label"] == "joy"))]
    with caplog.at_level("WARNING"):
        run([path], tmp_path / "t", clips=known)
    assert "no test clip is joy" in caplog.text


def test_what_would_fail_after_hours_fails_before(clips: pd.DataFrame) -> None:
    def check(**options: Any) -> None:
        check_probes(clips, check_options(ProbeConfig, {**PROBE, **options}), SplitConfig())

    check()
    check(**ALL, targets=["label", "speaker", "egemaps"])
    with pytest.raises(AnalysisError, match="too few held-out speakers"):
        check(division="heldout")
    with pytest.raises(AnalysisError, match="'ridge' does not predict classes"):
        check(families=["ridge"])
    with pytest.raises(AnalysisError, match="no column 'mood'"):
        check(targets=["mood"])


def test_a_join_is_restricted_to_some_clips(caches: list[Path], features: Path) -> None:
    joined = join_caches(caches, features=features)
    assert joined.of_clips(np.arange(72)) is joined
    some = joined.of_clips(np.array([5, 70]))
    assert some.clips["clip_id"].tolist() == joined.clips["clip_id"].iloc[[5, 70]].tolist()
    for one, whole in zip([*some.checkpoints, some.features], [*joined.checkpoints, joined.features], strict=True):
        assert one is not None
        assert whole is not None
        np.testing.assert_array_equal(one.layers()[0], whole.layers()[0][[5, 70]])
    assert replace(joined, features=None).of_clips(np.array([0])).features is None


def test_numbers_with_other_missing_clips_are_tasks_of_their_own(caches: list[Path], clips: pd.DataFrame) -> None:
    numbers = clips.assign(a=np.linspace(0, 1, 72), b=np.linspace(0, 1, 72), c=np.linspace(0, 1, 72))
    numbers.loc[4, "c"] = np.nan
    joined = join_caches(caches, clips=numbers)
    tasks = settle_tasks(joined, check_options(ProbeConfig, {**ALL, "targets": ["a", "b", "c"]}), SplitConfig())
    assert [[target.name for target in task.targets] for task in tasks] == [["a", "b"], ["c"]]
    assert [len(task.joined.clips) for task in tasks] == [72, 71]
