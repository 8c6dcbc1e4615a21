"""What functions return: tables as attributes, a short text, figures."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

import ser_probe
from ser_probe import AnalysisResult, FinetuneResult
from ser_probe.library.plots import PLOTS
from ser_probe.library.results import Notes

from .conftest import Tiny

TABLES = {"parts": pd.DataFrame({"a": [1]}), "scores": pd.DataFrame({"b": range(20)})}
RESULT = AnalysisResult("evaluate", TABLES, {"clips": 3}, ("said",), TABLES["scores"])


def test_tables_are_attributes_and_one_is_the_main_one() -> None:
    assert RESULT.parts is TABLES["parts"]
    assert RESULT.table is TABLES["scores"]
    assert {"parts", "scores", "notes", "plot"} <= {*dir(RESULT)}
    with pytest.raises(AttributeError, match="'evaluate' has no table 'score'; there are parts, scores"):
        _ = RESULT.score
    with pytest.raises(AttributeError):
        RESULT.name = "x"  # type: ignore[misc]


def test_results_can_be_copied_and_sent() -> None:
    for same in (copy.deepcopy(RESULT), pickle.loads(pickle.dumps(RESULT))):
        pd.testing.assert_frame_equal(same.scores, RESULT.scores)


def test_the_text_is_short() -> None:
    text = repr(RESULT)
    assert text.startswith("<evaluate: clips 3>")
    assert text.endswith("tables: parts [1], scores [20]")
    assert "... 20 rows" in text
    assert len(text.splitlines()) < 16


def test_the_figures_are_those_of_a_report(tiny: Tiny) -> None:
    result = ser_probe.drift([tiny.before, tiny.after], speakers=tiny.speakers)
    figures = result.figures()
    assert {"drift_layers", "drift_steps"} <= {*figures}
    assert all(isinstance(figure, Figure) for figure in figures.values())
    assert "What fine-tuning moved" in repr(result)


def test_every_analysis_has_a_plot() -> None:
    assert {*PLOTS} == {"probe", "similarity", "drift", "geometry", "acoustics", "umap", "evaluate", "finetune"}


def test_a_run_stands_for_its_folder(tmp_path: Path) -> None:
    run = FinetuneResult(tmp_path, pd.DataFrame(), (), (), {"best step": "4"})
    assert Path(run) == tmp_path
    assert repr(run) == f"<finetune: {tmp_path}, 0 checkpoints>\nbest step: 4"


def test_notes_keep_what_is_said_and_hand_everything_on() -> None:
    outer = Notes()
    notes = Notes(outer, str.upper)
    notes.start("work", 1, "clips")
    notes.advance(1, loss=0.1)
    notes.say("left out")
    notes.finish()
    assert notes.lines == outer.lines == ["LEFT OUT"]
