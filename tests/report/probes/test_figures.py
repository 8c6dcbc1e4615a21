"""Figures of probes beyond their scores: what is drawn is what the tables say, and what must be said is said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from ser_probe.errors import AnalysisError
from ser_probe.report.probes.changes import (
    draw_centres,
    draw_changes,
    draw_layer_weights,
    draw_numbers,
    draw_selectivity,
    plot_changes,
)
from ser_probe.report.probes.classes import draw_class_recall, draw_confusion_change
from ser_probe.report.probes.headline import changes_headline, probe_headline
from ser_probe.report.probes.scores import draw_scores

from ..drawn import LAYERS, Tables, line


def test_changes_are_the_tables_and_filled_where_significant(tables: Tables, ax: Axes) -> None:
    changes = tables["probe_changes"]
    plot_changes(changes.sample(frac=1, random_state=1), ax)
    last = changes[changes["step"] == 150].set_index("layer").reindex(LAYERS)
    np.testing.assert_allclose(line(ax, "150"), last["value"])
    dots = [own for own in ax.lines if own.get_linestyle() == "None" and own.get_markersize() == 5]
    faces = {to_hex(own.get_markerfacecolor()): own.get_xdata().tolist() for own in dots}  # type: ignore[union-attr]
    assert faces.pop("#ffffff") == [0, 1, 2]
    assert list(faces.values()) == [[3, 4]]
    bars = ax.collections[0].get_segments()
    np.testing.assert_allclose([bar[:, 1] for bar in bars], last[["ci_low", "ci_high"]])


def test_too_few_speakers_for_any_finding_is_said(tables: Tables) -> None:
    changes = tables["probe_changes"]
    assert "12 test speakers: filled: p < 0.05 after Holm" in draw_changes(changes).axes[0].get_title()
    few = changes.assign(n_speakers=5, smallest_p=2.0**-4)
    assert "5 test speakers: too few for any p < 0.05 after Holm" in draw_changes(few).axes[0].get_title()
    with pytest.raises(AnalysisError, match="holds nothing to draw"):
        draw_changes(changes, measure="ccc")


def test_sums_of_layers_are_drawn_over_steps(tables: Tables) -> None:
    for name, draw in (("probe_changes", draw_changes), ("probe_summary", draw_selectivity), ("probe", draw_scores)):
        table = tables[name]
        one = table[(table["layer"] == "final") | (table["layer"] == "functionals")]
        one = one.assign(layer=one["layer"].replace("final", "weighted_sum"), family="layer_sum")
        figure = draw(one)
        assert figure.axes[0].get_xlabel() == "fine-tuning step"
        assert "(layer_sum)" in figure.axes[0].get_title()
    classes = tables["probe_classes"]
    bars = draw_class_recall(classes[classes["layer"] == "final"]).axes[0]
    last = classes[(classes["layer"] == "final") & (classes["step"] == 150)]
    np.testing.assert_allclose([bar.get_width() for bar in bars.containers[1]], last["value"])


def test_selectivity_stands_over_zero_and_beside_egemaps(tables: Tables) -> None:
    figure = draw_selectivity(tables["probe_summary"])
    rows = tables["probe_summary"].query("measure == 'selectivity_uar' and step == 0").set_index("layer")
    np.testing.assert_allclose(line(figure.axes[0], "0"), rows.loc[LAYERS, "value"])
    np.testing.assert_allclose(line(figure.axes[0], "eGeMAPS"), 0.25)
    np.testing.assert_allclose(line(figure.axes[0], "no better than shuffled"), 0)
    with pytest.raises(AnalysisError, match="holds nothing to draw"):
        draw_selectivity(tables["probe_summary"].query("measure == 'uar'"))


def test_random_weights_are_a_control_by_layer(tables: Tables) -> None:
    probe = tables["probe"]
    random = probe[(probe["step"] == 0) & (probe["control"] == "none")].assign(
        control="random_weights", step=np.nan, checkpoint="", value=0.3
    )
    ax = draw_scores(pd.concat([probe, random])).axes[0]
    np.testing.assert_allclose(line(ax, "random weights"), [0.3] * 5)


def test_shared_speakers_are_said_in_the_title(tables: Tables) -> None:
    probe = tables["probe"].assign(shares_speakers=True, divided_by="clip")
    ax = draw_scores(probe).axes[0]
    assert "SHARE SPEAKERS" in ax.get_title()
    assert ax.get_ylabel() == "weighted F1 (test clips)"
    assert "SHARE" not in draw_scores(tables["probe"]).axes[0].get_title()


def test_matrices_are_of_the_chosen_layers_before_and_after(tables: Tables) -> None:
    confusion = tables["probe_confusion"]
    figure = draw_confusion_change(confusion)
    assert [ax.get_title() for ax in figure.axes] == ["step 0, layer final", "step 150, layer final"]
    first = confusion[confusion["step"] == 0]
    drawn = figure.axes[0].collections[0].get_array()
    np.testing.assert_allclose(np.ravel(drawn), first["share"])
    with pytest.raises(AnalysisError, match="holds nothing to draw"):
        draw_confusion_change(confusion.assign(chosen=False))
    with pytest.raises(AnalysisError, match="no layer that validation chose"):
        draw_confusion_change(confusion.assign(step=np.nan))
    many = pd.concat([confusion.assign(true=confusion["true"] + str(i), predicted=confusion["predicted"] + str(i))
                      for i in range(5)])  # fmt: skip
    shown = [label for label in draw_confusion_change(many).axes[0].get_xticklabels() if label.get_visible()]
    assert len(shown) < 30


def test_recall_is_drawn_as_lines_or_for_many_classes_as_colours(tables: Tables) -> None:
    classes = tables["probe_classes"]
    before, after = draw_class_recall(classes).axes
    assert (before.get_title(), after.get_title()) == ("step 0", "step 150")
    rows = classes[(classes["step"] == 150) & (classes["class"] == "fear")].set_index("layer")
    np.testing.assert_allclose(line(after, "fear"), rows.loc[LAYERS, "value"])
    many = pd.concat([classes.assign(**{"class": classes["class"] + str(i)}) for i in range(2)])
    first = draw_class_recall(many).axes[0].collections[0].get_array()
    assert first.shape == (12, 5)
    with pytest.raises(AnalysisError, match="holds no checkpoint"):
        draw_class_recall(classes.assign(step=np.nan))


def test_weights_centres_and_numbers_are_the_tables(tables: Tables) -> None:
    np.testing.assert_allclose(line(draw_layer_weights(tables["probe_layer_weights"]).axes[0], "0"), [0.2] * 5)
    figure = draw_centres(tables["probe_centre"])
    assert [ax.get_title() for ax in figure.axes] == ["centre of gravity", "expected layer"]
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [1, 4 / 3, 5 / 3, 2])
    with pytest.raises(AnalysisError, match="holds no checkpoint"):
        draw_centres(tables["probe_centre"].assign(step=np.nan))
    numbers = tables["probe_numbers"]
    assert [ax.get_title() for ax in draw_numbers(numbers).axes] == ["arousal", "valence"]
    many = pd.concat([numbers.assign(target=numbers["target"] + str(i), value=numbers["value"] + i / 10)
                      for i in range(4)])  # fmt: skip
    figure = draw_numbers(many)
    assert {ax.get_title() for ax in figure.axes} == {"arousal2", "arousal3", "valence2", "valence3"}
    assert "4 of 8 targets" in figure.get_suptitle()
    # One failure must not flatten all else, and is said.
    failed = numbers.assign(value=numbers["value"].where(numbers["layer"] != "1", -20))
    acoustic = numbers[numbers["split"] == "test"].head(1).assign(layer="functionals", step=np.nan, value=-7.0)
    ax = draw_numbers(pd.concat([failed, acoustic])).axes[0]
    assert ax.get_ylim()[0] == -1
    assert ax.texts[0].get_text() == "below: eGeMAPS -7.0, 4 values down to -20.0"


def test_the_headline_of_changes_counts_what_is_significant(tables: Tables) -> None:
    row = changes_headline(tables["probe_changes"]).iloc[0]
    assert (row["step"], row["most changed layer"], row["layers with p < 0.05"]) == (150, "final", "2 of 5")
    assert row["change of UAR"] == pytest.approx(0.3)
    assert row["95 % over speakers"] == "0.200 to 0.400"


def test_the_score_of_layers_that_folds_chose_comes_from_its_own_table(tables: Tables) -> None:
    best = pd.DataFrame([
        {"corpus": "emovo", "model": "wavlm-large", "target": "label", "family": "linear", "pooling": "mean",
         "step": 50.0, "layer": "2", "test_value": 0.123, "ci_low": 0.1, "ci_high": 0.2, "measure": "uar"},
    ])  # fmt: skip
    head = probe_headline(tables["probe"], best=best).set_index("step")
    assert (head.loc[50, "layer chosen on validation"], head.loc[50, "test UAR"]) == ("2", 0.123)
    assert head.loc[50, "95 % over speakers"] == "0.100 to 0.200"
    assert head.loc[0, "test UAR"] > 0.3, "a checkpoint that the table lacks keeps its own"
