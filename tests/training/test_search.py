"""The search on objectives that cost nothing: it finds what is best, prunes, and survives being killed."""

from __future__ import annotations

import importlib.util
import math
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ser_probe.errors import CheckpointError, DamagedFileError, MissingExtraError, SerProbeError
from ser_probe.training.locks import exclusive
from ser_probe.training.search import (
    TABLE_COLUMNS,
    Between,
    Choice,
    OtherSearchError,
    Report,
    SearchResult,
    TrialPruned,
    run_search,
)
from tests.mutation import mutate

pytestmark = pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="needs the extra search")

SPACE = {
    "rate": Between(1e-5, 1e-1, log=True),
    "width": Between(2, 9),
    "kind": Choice(("square", None, [1, 2])),
}
INGREDIENTS = {"clips": "abc"}


def bowl(number: int, values: dict[str, Any], report: Report) -> float:
    """Least at rate 1e-3, width 5; None costs a little, lists a lot."""
    far = math.log10(values["rate"]) + 3
    return far**2 + (values["width"] - 5) ** 2 / 10 + {"square": 0.0, "None": 0.2}.get(str(values["kind"]), 3.0)


Search = Callable[..., SearchResult]


@pytest.fixture
def search(tmp_path: Path) -> Search:
    def run(objective: Any = bowl, *, name: str = "study", **changes: Any) -> SearchResult:
        options: dict[str, Any] = {
            "space": SPACE, "n_trials": 12, "maximise": False, "seed": 3, "prune": False, "ingredients": INGREDIENTS,
        }  # fmt: skip
        return run_search(tmp_path / f"{name}.db", objective=objective, **{**options, **changes})

    return run


def without_times(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns="time_taken_s")


def test_the_table_holds_every_trial(search: Search) -> None:
    seen: list[dict[str, Any]] = []
    told: list[int] = []

    def objective(number: int, values: dict[str, Any], report: Report) -> float:
        assert number == len(seen)
        seen.append(values)
        return bowl(number, values, report)

    result = search(objective, after_trial=lambda table: told.append(len(table)))
    assert told == list(range(1, 13)), "told after each"
    table = result.table
    assert list(table.columns) == [*TABLE_COLUMNS, *SPACE]
    assert list(table["trial"]) == list(range(12))
    assert set(table["state"]) == {"complete"}
    assert (table["time_taken_s"] >= 0).all()
    assert table["best_value"].tolist() == table["value"].cummin().tolist()
    assert (result.value, result.trial) == (table["value"].min(), table["value"].idxmin())
    assert result.values == seen[result.trial]
    for values, row in zip(seen, table.itertuples(), strict=True):
        assert isinstance(values["width"], int)
        assert 2 <= values["width"] <= 9
        assert 1e-5 <= values["rate"] <= 1e-1
        assert values["kind"] in SPACE["kind"].values
        shown = {"square": "square", "None": "null", "[1, 2]": "[1, 2]"}[str(values["kind"])]
        assert (row.rate, row.width, row.kind) == (values["rate"], values["width"], shown)


def test_choices_of_numbers_stay_numbers(search: Search) -> None:
    table = search(lambda number, values, report: values["size"], space={"size": Choice((8, 16, 32))}, n_trials=6).table
    assert table["size"].dtype.kind == "i"
    assert set(table["size"]) <= {8, 16, 32}


def test_it_finds_better_values_than_chance(search: Search) -> None:
    """TPE's later trials are nearer than its first ten, which are drawn blindly."""
    options: dict[str, Any] = {"space": {"x": Between(-1.0, 1.0)}, "n_trials": 20}
    near = search(lambda number, values, report: values["x"] ** 2, **options)
    assert near.table["value"][10:].median() < near.table["value"][:10].median()
    assert near.value < 0.01
    far = search(lambda number, values, report: values["x"], maximise=True, name="far", **options)
    assert far.value == far.table["value"].max()
    assert far.table["best_value"].tolist() == far.table["value"].cummax().tolist()
    assert far.table["value"][10:].median() > far.table["value"][:10].median()


def test_equal_seeds_draw_equally_and_others_do_not(search: Search) -> None:
    one = search()
    pd.testing.assert_frame_equal(without_times(search(name="same").table), without_times(one.table))
    other = search(n_trials=2, seed=4, name="other")
    assert not {*other.table["rate"]} & {*one.table["rate"]}


def test_importance_knows_what_matters(search: Search) -> None:
    importance = search(lambda number, values, report: values["a"] ** 2 + 0.01 * values["b"], n_trials=25,
                        space={"a": Between(-1.0, 1.0), "b": Between(-1.0, 1.0)}).importance  # fmt: skip
    assert list(importance["parameter"]) == ["a", "b"]
    assert importance["importance"].sum() == pytest.approx(1)
    assert importance["importance"][0] > 0.9


def test_importance_is_left_out_where_it_cannot_be_told(search: Search) -> None:
    assert search(n_trials=1).importance.empty
    assert search(lambda number, values, report: 1.0, n_trials=5, name="flat").importance.empty


def test_hopeless_trials_are_pruned(search: Search) -> None:
    steps: dict[int, list[int]] = {}

    def objective(number: int, values: dict[str, Any], report: Report) -> float:
        for step in (1, 2, 3):
            steps.setdefault(number, []).append(step)
            report(step, values["rate"] / step)
        return values["rate"] / 3

    result = search(objective, prune=True, n_trials=14)
    pruned = result.table[result.table["state"] == "pruned"]
    assert 0 < len(pruned) < 9
    assert set(pruned["reason"]) == {"below the median"}
    assert min(pruned["trial"]) >= 5, "not before there are others to compare with"
    for row in pruned.itertuples():
        assert row.value == row.rate / steps[row.trial][-1], "the last value that was reported"
        assert len(steps[row.trial]) < 3, "the rest was spared"
    for row in result.table[result.table["state"] == "complete"].itertuples():
        assert len(steps[row.trial]) == 3
    assert result.table.loc[result.trial, "state"] == "complete"
    everything = search(objective, prune=False, n_trials=8, name="all").table
    assert set(everything["state"]) == {"complete"}, "nothing is pruned where that is not asked for"


@pytest.mark.parametrize("by", ["report", "return", "objective"])
def test_what_is_no_number_ends_a_trial_and_not_the_search(search: Search, by: str) -> None:
    def objective(number: int, values: dict[str, Any], report: Report) -> float:
        if number % 3:
            return float(number)
        if by == "objective":
            raise TrialPruned("diverged")
        if by == "report":
            report(1, math.nan)
        return math.inf

    table = search(objective, n_trials=7).table
    assert table["state"].tolist() == ["pruned", "complete", "complete"] * 2 + ["pruned"]
    assert table["reason"].tolist()[:2] == ["diverged" if by == "objective" else "not a number", ""]
    assert table["best_value"].isna().tolist() == [True] + [False] * 6


def test_no_complete_trial_is_said(search: Search) -> None:
    with pytest.raises(SerProbeError, match=r"No trial of the search was completed(.|\n)*trial 1: pruned, diverged"):
        search(lambda *_: (_ for _ in ()).throw(TrialPruned("diverged")), n_trials=2)


def test_a_finished_search_does_nothing_and_a_longer_one_goes_on(search: Search) -> None:
    whole = search(n_trials=12, name="whole").table
    search(n_trials=6)
    again = search(lambda *_: pytest.fail("tried again"), n_trials=6)
    assert len(again.table) == 6
    pd.testing.assert_frame_equal(without_times(search(n_trials=12).table), without_times(whole))


class Interruption(Exception):
    """What an objective that is stopped raises."""


def test_what_is_interrupted_is_tried_again_with_the_same_values(search: Search) -> None:
    whole = search(name="whole").table
    stopped: dict[str, Any] = {}

    def objective(number: int, values: dict[str, Any], report: Report) -> float:
        if number == 4 and not stopped:
            stopped.update(values)
            raise Interruption
        return bowl(number, values, report)

    with pytest.raises(Interruption):
        search(objective)
    table = search(objective).table
    assert table["state"].tolist() == ["complete"] * 4 + ["failed"] + ["complete"] * 8
    assert table["reason"][4] == "interrupted"
    assert math.isnan(table["value"][4])
    assert table["rate"][5] == table["rate"][4] == stopped["rate"]
    # But for the row of the interruption it is the search that nothing interrupted.
    done = table[table["state"] == "complete"].reset_index(drop=True)
    columns = ["value", "best_value", "rate", "width", "kind"]
    pd.testing.assert_frame_equal(done[columns], whole[columns], check_dtype=False)


def test_another_search_in_the_same_file_is_refused(search: Search) -> None:
    search(n_trials=2)
    changes: list[dict[str, Any]] = [
        {"seed": 4},
        {"maximise": True},
        {"ingredients": {"clips": "xyz"}},
        {"space": {"rate": Between(1e-5, 1e-2, log=True)}},
    ]
    for change in changes:
        with pytest.raises(OtherSearchError, match="The folder holds another search") as raised:
            search(n_trials=2, **change)
        assert f"{next(iter(change.get('ingredients', change)))} was" in str(raised.value)


def test_a_damaged_file_is_named_and_no_traceback(search: Search, tmp_path: Path) -> None:
    search(n_trials=2)
    path = tmp_path / "study.db"
    whole, named = path.read_bytes(), 0
    for seed in range(25):
        path.write_bytes(whole)
        what = mutate(path, seed)
        try:
            search(n_trials=2)
        except SerProbeError as error:
            named += str(path) in str(error) or str(tmp_path) in str(error)
        except Exception as error:
            raise AssertionError(what) from error
    assert named > 5
    path.write_bytes(b"no database")
    with pytest.raises(DamagedFileError, match=r"(?s)search's file cannot be read.*study\.db.*begin the search anew"):
        search(n_trials=2)


def test_two_processes_do_not_search_in_one_folder(search: Search, tmp_path: Path) -> None:
    with (
        exclusive(tmp_path / "study.lock", "searches in this folder"),
        pytest.raises(CheckpointError, match="Another process searches in this folder"),
    ):
        search()


def test_a_path_may_hold_any_character(tmp_path: Path) -> None:
    folder = tmp_path / "a?b#c %20 é"
    folder.mkdir()
    run_search(folder / "study.db", SPACE, bowl, n_trials=1, maximise=False, seed=0, ingredients={})
    assert {path.name for path in folder.iterdir()} == {"study.db", "study.lock"}


def test_without_optuna_the_extra_is_named(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"ser-probe\[search\]"):
        search()


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from tests.training.test_search import INGREDIENTS, SPACE, bowl
    from ser_probe.training.search import run_search

    left = int(sys.argv[2])

    def objective(number, values, report):
        global left
        left -= 1
        if left == 0:
            report(1, 5.0)
            os.kill(os.getpid(), signal.SIGKILL)
        return bowl(number, values, report)

    run_search(Path(sys.argv[1]), SPACE, objective, n_trials=12, maximise=False, seed=3, prune=False,
               ingredients=INGREDIENTS)
"""


def test_a_killed_search_goes_on_as_if_it_had_not_been(search: Search, tmp_path: Path) -> None:
    """Killed in its first, its third and its sixth trial of a process; then left to end."""
    whole = search(name="whole").table
    for after in (1, 3, 6):
        command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path / "study.db"), str(after)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
        assert done.returncode == -signal.SIGKILL, done.stderr
    table = search().table
    assert table["state"].value_counts().to_dict() == {"complete": 12, "failed": 3}
    done_trials = table[table["state"] == "complete"].reset_index(drop=True)
    columns = ["value", "best_value", "rate", "width", "kind"]
    pd.testing.assert_frame_equal(done_trials[columns], whole[columns], check_dtype=False)
