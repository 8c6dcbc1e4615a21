"""Axes in and out, from tables and from results; what is drawn is tested in tests/report."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pandas as pd
import pytest
from matplotlib import pyplot

import ser_probe
from ser_probe import AnalysisResult
from ser_probe.errors import AnalysisError

from .conftest import Tiny


@pytest.fixture(autouse=True)
def closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Draw without a screen, and leave no figure open."""
    pyplot.switch_backend("agg")
    yield
    pyplot.close("all")


def test_the_plots_of_probes(tiny: Tiny) -> None:
    result = ser_probe.probe(
        [tiny.before, tiny.after], tiny.labels, tiny.speakers, initialisations=2, families=("linear", "logistic")
    )
    figure, (left, right) = pyplot.subplots(1, 2)
    assert ser_probe.plot_probe_scores(result, left, measure="uar", family="linear") is left
    assert ser_probe.plot_probe_changes(result.probe_changes, right, family="logistic") is right
    assert left.get_ylabel().startswith("unweighted average recall")
    assert [text.get_text() for text in left.get_legend().get_texts()]
    new = result.plot(family="linear")
    assert new.get_figure() is not figure
    with pytest.raises(AnalysisError, match=r"holds nothing to draw(.|\n)*'mlp'"):
        result.plot(family="mlp")


def test_a_heat_map_is_of_one_pair_of_representations(tiny: Tiny) -> None:
    result = ser_probe.similarity(tiny.before, tiny.after, permutations=0)
    assert result.plot().get_xlabel() == "layer of x step-0"
    assert result.plot(measure="cka").get_ylabel() == "layer of y step-0"
    within = ser_probe.plot_similarity(result, model_a="y", model_b="y")
    assert (within.get_xlabel(), within.get_ylabel()) == ("layer of y step-0", "layer of y step-0")


def test_the_other_plots_of_layers(tiny: Tiny) -> None:
    states = [tiny.before, tiny.after]
    drift = ser_probe.drift(states, speakers=tiny.speakers)
    assert "neighbours kept" in drift.plot(measure="knn_overlap").get_ylabel()
    geometry = ser_probe.geometry(states, tiny.labels, tiny.speakers, permutations=2)
    assert geometry.plot(measure="fisher_ratio", factor="label").get_title() == "by label"
    acoustics = ser_probe.acoustics(states, tiny.features, tiny.speakers)
    assert acoustics.plot(group="frequency").get_ylabel() == "R², frequency features"


def test_a_map_is_of_the_last_layer_and_step() -> None:
    rows = {"x": [0.0, 1.0], "y": [1.0, 0.0], "clip_id": ["a", "b"], "label": ["joy", "fear"], "age": [20, 30]}
    parts = [pd.DataFrame(rows).assign(layer=layer, step=step, model="m") for layer in ("0", "9") for step in (0, 50)]
    table = pd.concat(parts, ignore_index=True)
    result = AnalysisResult("umap", {"umap": table})
    ax = result.plot()
    assert ax.get_title() == "layer 9"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["fear", "joy"]
    assert ser_probe.plot_umap(table, layer="0", step=0, color="age").get_title() == "layer 0"


def test_the_plots_of_classifiers() -> None:
    pairs = [("a", "a", 0.75), ("a", "b", 0.25), ("b", "a", 0.0), ("b", "b", 1.0)]
    confusion = pd.DataFrame(pairs, columns=["true", "predicted", "share"]).assign(group_by="overall", count=4)
    women = confusion.assign(group_by="gender", share=0.5)
    result = AnalysisResult("evaluate", {"confusion": pd.concat([confusion, women])})
    shown = {text.get_text() for text in result.plot().texts}
    assert shown == {"75", "25", "0", "100"}
    assert {text.get_text() for text in ser_probe.plot_confusion(women, group_by="gender").texts} == {"50"}
    bins = pd.DataFrame({"low": [0.0, 0.5], "high": [0.5, 1.0], "n": [3, 9], "confidence": [0.4, 0.8], "accuracy": 0.5})
    assert ser_probe.plot_reliability(bins).get_xlabel()
    steps = {"run_seed": 0, "step": [0, 2], "split": ["train", "validation"], "measure": "loss", "value": [2.0, 1.0]}
    draw = partial(ser_probe.plot_training, pd.DataFrame(steps))
    assert draw().get_ylabel() == "loss"
