"""search: trials are trained, compared and cleared away; what is stopped goes on; the final run takes the best."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ser_probe.config import StudyConfig, load_study
from ser_probe.data.manifest import read_manifest
from ser_probe.errors import ConfigError, SplitError
from ser_probe.steps import search as module
from ser_probe.steps.search import search_study

from .conftest import Said, small_study

pytestmark = pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="needs the extra search")

SEARCH = Path("runs/small/search")
TRIALS = (
    "search.trials=3", "search.fraction=0.5", "search.metric=uar", "finetune.max_steps=2",
    "search.space={finetune.learning_rate: {low: 1e-4, high: 1e-2, log: true}, "
    "finetune.batch_size: {choices: [4, 8]}}",
)  # fmt: skip


def searched(*overrides: str) -> StudyConfig:
    return small_study(*TRIALS, *overrides)


def value_at_best_step(table: pd.DataFrame, metric: str) -> float:
    """The second route to a trial's value: the metric where the validation loss, which chooses, is least."""
    scores = table[table["split"] == "validation"].pivot(index="step", columns="measure", values="value")
    return float(scores.loc[scores["loss"].idxmin(), metric])


def test_the_whole_verb(corpus: Path) -> None:
    said = Said()
    outcome = search_study(searched(), progress=said)
    assert [line.split(":")[0] for line in said.lines if line.startswith("trial ")] == ["trial 0", "trial 1", "trial 2"]
    table = pd.read_parquet(SEARCH / "tables/search.parquet")
    assert table["state"].tolist() == ["complete"] * 3
    for row in table.itertuples():
        trained = pd.read_csv(SEARCH / f"tables/trial-{row.trial}.csv")
        assert row.value == pytest.approx(value_at_best_step(trained, "uar"), abs=1e-12)
        assert set(trained["step"]) == {0, 1, 2}
    best = table.loc[table["value"].idxmax()]
    assert outcome.summary["best"] == f"trial {best['trial']}, validation uar {best['value']:.4g}"
    study = load_study(SEARCH / "best.yaml")
    assert study.finetune.learning_rate == best["finetune.learning_rate"]
    assert study.finetune.batch_size == best["finetune.batch_size"]
    assert study.search is None
    assert study.model_copy(update={"finetune": searched().finetune}) == searched().model_copy(update={"search": None})
    assert not (SEARCH / "trials").exists(), "checkpoints are large"
    assert not list(Path("runs").rglob("*.safetensors"))
    figures = {path.name for path in (SEARCH / "figures").iterdir()}
    assert {"search_history.png", "search_history.svg", "search_parameters.png", "search_parameters.svg"} <= figures
    assert all(path.is_file() for path in outcome.files)
    assert outcome.files[-1] == SEARCH / "best.yaml"
    used = read_manifest(SEARCH / "manifest.csv").table
    assert set(used["split"]) == {"train", "validation"}
    assert used.loc[used["split"] == "train", "speaker"].nunique() == 2


def test_it_goes_on_and_then_trains_the_final_run(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search_study(searched("search.trials=1"))
    first = pd.read_csv(SEARCH / "tables/search.csv")
    outcome = search_study(searched("search.trials=2"), then_train=True)
    table = pd.read_csv(SEARCH / "tables/search.csv")
    pd.testing.assert_frame_equal(table[:1], first)
    assert len(table) == 2
    run = Path("runs/small")
    assert (run / "checkpoints/checkpoint-2/model.safetensors").is_file()
    split = read_manifest(run / "manifest.csv").table
    assert set(split["split"]) == {"train", "validation", "test"}, "the final run has all speakers"
    assert str(outcome.summary["final run"]).startswith("runs/small, best step ")
    written = (run / "checkpoints/checkpoint-2/model.safetensors").stat().st_mtime_ns
    monkeypatch.setattr(module, "run_search", _refuse_to_try(module.run_search))
    search_study(searched("search.trials=2"), then_train=True)
    assert (run / "checkpoints/checkpoint-2/model.safetensors").stat().st_mtime_ns == written, "nothing is done twice"


def _refuse_to_try(search: Any) -> Any:
    def run(path: Path, space: Any, objective: Any, **options: Any) -> Any:
        return search(path, space, lambda *_: pytest.fail("a trial was repeated"), **options)

    return run


def test_an_interrupted_trial_starts_over_with_its_values(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluations: list[int] = []

    class Stopped(Exception):
        pass

    train = module.train_study

    def stopping(*arguments: Any, on_evaluation: Any, **options: Any) -> Any:
        def listen(step: int, metrics: dict[str, float]) -> None:
            evaluations.append(step)
            if len(evaluations) == 5:
                raise Stopped
            on_evaluation(step, metrics)

        return train(*arguments, on_evaluation=listen, **options)

    whole = search_study(searched("name=whole"))
    assert whole.summary["trials"] == "3 complete"
    with monkeypatch.context() as patch:
        patch.setattr(module, "train_study", stopping)
        with pytest.raises(Stopped):
            search_study(searched())
    outcome = search_study(searched())
    assert outcome.summary["trials"] == "3 complete, 1 failed"
    columns = ["value", "finetune.learning_rate", "finetune.batch_size"]
    table = pd.read_parquet(SEARCH / "tables/search.parquet")
    uninterrupted = pd.read_parquet("runs/whole/search/tables/search.parquet")
    complete = table[table["state"] == "complete"].reset_index(drop=True)
    pd.testing.assert_frame_equal(complete[columns], uninterrupted[columns], check_dtype=False)
    assert not (SEARCH / "trials").exists()


def test_trials_are_pruned_through_the_training(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An evaluation that is reported worse each time ends the sixth trial at its first evaluation."""
    search = module.run_search

    def worse(path: Path, space: Any, objective: Any, **options: Any) -> Any:
        def lowered(number: int, values: dict[str, Any], report: Any) -> float:
            return objective(number, values, lambda step, value: report(step, value - number))

        return search(path, space, lowered, **options)

    monkeypatch.setattr(module, "run_search", worse)
    search_study(searched("search.trials=6", "finetune.max_steps=4"))
    table = pd.read_parquet(SEARCH / "tables/search.parquet")
    assert table["state"].tolist() == ["complete"] * 5 + ["pruned"]
    assert table["reason"].tolist()[-1] == "below the median"
    kept = pd.read_csv(SEARCH / "tables/trial-5.csv")
    assert set(kept["step"]) == {0, 2}, "what was measured until then; the rest was spared"
    assert {"loss", "uar"} <= set(kept["measure"])
    assert not (SEARCH / "trials").exists()


def test_a_training_that_diverges_is_a_bad_trial_and_no_fault(corpus: Path) -> None:
    space = "search.space={finetune.learning_rate: {choices: [1e-4, 1e30]}}"
    outcome = search_study(searched(space, "search.trials=4", "finetune.warmup_ratio=0.0", "finetune.max_steps=3"))
    table = pd.read_parquet(SEARCH / "tables/search.parquet")
    diverged = table["finetune.learning_rate"] == 1e30
    assert 0 < diverged.sum() < 4
    assert set(table.loc[diverged, "reason"]) == {"diverged"}
    assert set(table.loc[diverged, "state"]) == {"pruned"}
    assert set(table.loc[~diverged, "state"]) == {"complete"}
    assert outcome.summary["finetune.learning_rate"] == 1e-4


def test_another_configuration_sets_the_search_aside(corpus: Path) -> None:
    search_study(searched("search.trials=1"))
    before = (SEARCH / "tables/search.csv").read_bytes()
    said = Said()
    search_study(searched("search.trials=1", "finetune.weight_decay=0.5"), progress=said)
    (kept,) = Path("runs/small").glob("replaced-search-*")
    assert (kept / "tables/search.csv").read_bytes() == before
    (line,) = [line for line in said.lines if "another configuration" in line]
    assert "finetune.weight_decay was 0.01, is 0.5" in line
    # What no trial depends on, and the value that is drawn anyway, changes nothing.
    same = ("finetune.weight_decay=0.5", "finetune.learning_rate=0.3", "extract.storage=float16")
    search_study(searched("search.trials=1", *same))
    assert len(list(Path("runs/small").glob("replaced-search-*"))) == 1


def test_a_space_that_cannot_be_searched_is_said_first(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "prepare_study_clips", lambda *_, **__: pytest.fail("clips were decoded"))
    with pytest.raises(ConfigError, match=r"finetune\.learning_rte \(search\.space\): unknown key"):
        search_study(small_study("search.space={finetune.learning_rte: {low: 1.0, high: 2.0}}"))
    with pytest.raises(ConfigError, match="There is nothing to search"):
        search_study(small_study("finetune.enabled=false"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"A search runs in one process(.|\n)*2 processes"):
        search_study(small_study())


def test_a_manifest_without_splits_needs_a_scheme(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "prepare_study_clips", lambda *_, **__: pytest.fail("clips were decoded"))
    with pytest.raises(SplitError, match="The manifest has no column 'split'"):
        search_study(searched("split.scheme=manifest"))


def test_faults_of_training_end_the_search(corpus: Path) -> None:
    """Only a diverging loss is a trial's own end; a class that nobody can learn is the user's to mend."""
    table = pd.read_csv("corpus/manifest.csv")
    table["split"] = np.where(table["speaker"].isin(["s4", "s5"]), "validation", "train")
    table.loc[table["split"] == "validation", "label"] = "unheard"
    table.to_csv("corpus/split.csv", index=False)
    with pytest.raises(SplitError, match="class 'unheard' has no training clip"):
        search_study(searched("split.scheme=manifest", "data.manifest=corpus/split.csv"))
