"""compare: two evaluations of the same clips, joined, tested and said; and what cannot be compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from ser_probe.cli.main import app
from ser_probe.errors import AnalysisError, ConfigError, DamagedFileError
from ser_probe.steps.compare import Comparison, compare_evaluations
from ser_probe.steps.tables import read_table

from ..classifiers import save_run
from ..voices import LABELS, write_corpus
from .conftest import Said

N = 48
ROUNDING = 1e-9


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def evaluated(rng: np.random.Generator) -> Callable[..., Path]:
    """Write the predictions of a model that is right with some chance, as an evaluation leaves them."""
    labels = np.array(LABELS)[np.arange(N) % 3]

    def write(name: str, right: float, *, seeds: int = 1, rows: slice = slice(None), **columns: Any) -> Path:
        parts = []
        for seed in range(seeds):
            predicted = np.where(rng.random(N) < right, labels, np.roll(labels, 1))
            made = {
                "model": name, "run_seed": seed, "checkpoint": "step-50", "model_path": f"runs/{name}",
                "corpus": "voices", "clip_id": [f"{row:032x}" for row in range(N)],
                "speaker": [f"s{row}" for row in np.arange(N) // 3 % 8], "label": labels, "predicted": predicted,
                **{f"p({each})": 0.8 * (predicted == each) + 0.2 / 3 for each in LABELS}, **columns,
            }  # fmt: skip
            parts.append(pd.DataFrame({key: value for key, value in made.items() if value is not None}))
        folder = Path(name)
        folder.mkdir(exist_ok=True)
        pd.concat(parts).iloc[rows].to_parquet(folder / "predictions.parquet", index=False)
        return folder

    return write


def compare(*places: Path, said: Said | None = None, **options: Any) -> Comparison:
    return compare_evaluations(places, Path("out"), resamples=100, progress=said or Said(), **options)


def test_real_evaluations_are_compared_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    write_corpus(Path("corpus"), n_speakers=4, n_takes=1)
    for name, seed in (("one", 0), ("other", 1)):
        save_run(Path(f"runs/{name}"), seed=seed)
        with pytest.raises(SystemExit) as ended:
            app(["evaluate", f"runs/{name}", "corpus/manifest.csv", "-o", name, "--no-figures", "--workers", "0"])
        assert ended.value.code in (0, None)
    with pytest.raises(SystemExit) as ended:
        app(["compare", "one", "other", "-o", "out", "--name", "A", "--name", "B", "--resamples", "200"])
    assert ended.value.code in (0, None)
    table = read_table(Path("out"), "comparison")
    predictions = [read_table(Path(name), "predictions") for name in ("one", "other")]
    uar = [sk.balanced_accuracy_score(each["label"], each["predicted"]) for each in predictions]
    (row,) = table[table["measure"] == "uar"].to_dict("records")
    assert (row["model_a"], row["model_b"], row["n"], row["n_speakers"], row["smallest_p"]) == ("A", "B", 12, 4, 0.125)
    assert row["value"] == pytest.approx(uar[0] - uar[1], abs=ROUNDING)
    printed = capsys.readouterr()
    assert "with 4 speakers no p can be below 0.125" in printed.err
    assert "so few speakers cannot give a p below 0.125" in " ".join(printed.out.split())
    assert "wrote out/comparison.md, out/comparison.json, 1 figure, 1 LaTeX table and 1 table in out" in printed.out
    for name in ("comparison.csv", "comparison.tex", "comparison.md", "figures/comparison_corpus.png"):
        assert Path("out", name).stat().st_size > 100
    assert [model["name"] for model in json.loads(Path("out/comparison.json").read_text())["models"]] == ["A", "B"]


def test_a_better_model_is_said_to_be(evaluated: Callable[..., Path]) -> None:
    found = compare(evaluated("good", 0.95), evaluated("bad", 0.2), figures=False)
    (sentence,) = found.sentences
    assert sentence.startswith("On voices (48 clips of 8 speakers), good has a higher UAR than bad: ")
    assert sentence.endswith("p = .008.")
    found = compare(Path("bad"), Path("good"), figures=False)
    assert "good has a higher UAR than bad" in found.sentences[0]
    assert found.table.loc[0, "value"] < 0


def test_clips_that_only_one_has_are_left_out_and_counted(evaluated: Callable[..., Path]) -> None:
    said = Said()
    found = compare(evaluated("a", 0.8), evaluated("b", 0.5, rows=slice(0, 30)), said=said, figures=False)
    assert found.outcome.summary == {"clips of all models": 30, "clips of a left out": 18}
    assert said.lines[0].startswith("a: 18 clips are left out")
    assert (found.table["n"] == 30).all()
    evaluated("c", 0.5, rows=slice(30, None))
    with pytest.raises(AnalysisError, match=r"(?s)No clip is in all.*found: 30 clips of voices; 18 clips of voices"):
        compare(Path("b"), Path("c"))


def test_other_labels_and_other_truths_are_refused(evaluated: Callable[..., Path]) -> None:
    first = evaluated("a", 0.8)
    other = evaluated("b", 0.8, **{"p(sadness)": None, "p(fear)": 0.1})
    message = r"(?s)do not predict the same.*where: b/.*expected: anger, joy, sadness, as a\n.*found: anger, joy, fear"
    with pytest.raises(AnalysisError, match=message):
        compare(first, other)
    turned = evaluated("c", 0.8, label=np.roll(np.array(LABELS)[np.arange(N) % 3], 1))
    with pytest.raises(AnalysisError, match=r"(?s)48 clips have another label.*c/.*same label map"):
        compare(first, turned)
    foreign = evaluated("d", 0.8, predicted="fear")
    with pytest.raises(AnalysisError, match=r"(?s)a label that is no class.*found: 'fear'"):
        compare(first, foreign)


def test_several_runs_of_a_model_are_one_model(evaluated: Callable[..., Path]) -> None:
    said = Said()
    found = compare(evaluated("a", 0.9, seeds=3), evaluated("b", 0.4, seeds=2), said=said, figures=False)
    assert set(found.table["n_runs_a"]) == {3}
    assert "different numbers of runs" in said.lines[-1]
    assert found.table.set_index("measure")["p"].isna().to_dict() == {"uar": False, "macro_f1": True, "accuracy": False}


def test_names_tell_models_apart(evaluated: Callable[..., Path]) -> None:
    first, second = evaluated("a", 0.9), evaluated("b", 0.5, model="a", model_path="runs/a", checkpoint="step-100")
    table = compare(first, second, figures=False).table
    assert (table.loc[0, "model_a"], table.loc[0, "model_b"]) == ("a step-50", "a step-100")
    elsewhere = evaluated("c", 0.5, model="a", model_path="old/a")
    assert compare(first, elsewhere, figures=False).table.loc[0, "model_b"] == "old/a"
    with pytest.raises(AnalysisError, match=r"(?s)Two of the models have one name.*'a step-50'.*--name"):
        compare(first, first)
    with pytest.raises(AnalysisError, match="1 names are given for 2 evaluations"):
        compare(first, second, names=["A"])
    with pytest.raises(AnalysisError, match="two models at least"):
        compare(first)


def test_numbers_are_compared_by_target(evaluated: Callable[..., Path], rng: np.random.Generator) -> None:
    true = rng.standard_normal(N)
    numbers = {f"p({name})": None for name in LABELS} | {"predicted": None, "label": None, "arousal": true}
    first = evaluated("a", 1, **numbers, **{"predicted(arousal)": true + 0.1 * rng.standard_normal(N)})
    second = evaluated("b", 1, **numbers, **{"predicted(arousal)": true + 2 * rng.standard_normal(N)})
    found = compare(first, second)
    assert found.table["measure"].tolist() == ["ccc", "rmse"]
    assert "a has a higher CCC of arousal than b" in found.sentences[0]
    assert Path("out/figures/comparison_voices_arousal.svg").is_file()


def test_what_is_no_evaluation_is_refused(evaluated: Callable[..., Path]) -> None:
    first = evaluated("a", 0.9)
    Path("empty").mkdir()
    with pytest.raises(AnalysisError, match=r"(?s)no predictions here.*where: empty.*ser-probe evaluate"):
        compare(first, Path("empty"))
    Path("x.csv").write_text("clip,answer\n1,joy\n")
    with pytest.raises(AnalysisError, match=r"(?s)holds no predictions.*x.csv.*found: clip, answer"):
        compare(first, Path("x.csv"))
    Path("y.csv").write_text('clip_id,predicted\n"1,joy\n')
    with pytest.raises(DamagedFileError, match=r"(?s)predictions cannot be read.*y.csv"):
        compare(first, Path("y.csv"))
    Path("z.csv").write_text("clip_id,predicted\n1,joy\n1,joy\n")
    with pytest.raises(AnalysisError, match=r"(?s)predicted twice by one run.*z.csv.*such as clip 1"):
        compare(first, Path("z.csv"))
    Path("w.csv").write_text("clip_id,predicted\n1,joy\n")
    with pytest.raises(AnalysisError, match=r"(?s)nothing to be compared with.*w.csv.*without label"):
        compare(first, Path("w.csv"))
    Path("out").touch()
    with pytest.raises(ConfigError, match="the output is a file"):
        compare(first, first)
    Path("out").unlink()
    with pytest.raises(ConfigError, match=r"(?s)Intervals need resamples.*100 or more"):
        compare_evaluations([first, first], Path("out"), resamples=5)


def test_predictions_of_another_tool_are_a_table(evaluated: Callable[..., Path]) -> None:
    table = read_table(evaluated("a", 0.9), "predictions")
    table[["clip_id", "label", "predicted", "speaker"]].to_csv("theirs.csv", index=False)
    table.assign(predicted="joy")[["clip_id", "label", "predicted", "speaker"]].to_csv("joy.csv", index=False)
    found = compare(Path("theirs.csv"), Path("joy.csv"), figures=False)
    assert found.sentences[0].startswith("On clips (48 clips of 8 speakers), theirs has a higher UAR than joy")
    no_speakers = pd.read_csv("theirs.csv", dtype=str).drop(columns="speaker")
    no_speakers.to_csv("nobody.csv", index=False)
    found = compare(Path("nobody.csv"), Path("joy.csv"), figures=False)
    assert found.sentences[0].endswith("no test over speakers.")
    assert found.table["p"].isna().all()
