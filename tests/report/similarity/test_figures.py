"""Figures of several measures, groups of functionals and two models show what the table says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_probe.errors import AnalysisError
from ser_probe.names.measures import SIMILARITY
from ser_probe.report.figures import write_figures
from ser_probe.report.similarity.figures import (
    SIMILARITY_FIGURES,
    draw_acoustic_similarity,
    draw_biased_cka,
    draw_functional_groups,
    draw_layer_similarity,
    draw_measures,
    draw_models,
)
from ser_probe.report.similarity.headline import similarity_headline
from ser_probe.report.similarity.plots import main_measure, with_functional_group

from ..drawn import Tables


def panels(figure) -> dict[str, np.ndarray]:  # type: ignore[no-untyped-def]
    return {ax.get_title(): ax.collections[0].get_array() for ax in figure.axes if ax.get_title()}


def test_each_group_has_a_panel_on_one_scale(tables: Tables) -> None:
    figure = draw_functional_groups(tables["similarity"])
    drawn = panels(figure)
    assert list(drawn) == ["frequency", "energy", "spectral", "temporal"]
    np.testing.assert_allclose(drawn["temporal"], 4 * drawn["frequency"])
    assert len({ax.collections[0].get_clim() for ax in figure.axes[:4]}) == 1
    rows = with_functional_group(tables["similarity"])
    assert set(rows["group"]) == set(drawn)
    only = tables["similarity"][tables["similarity"]["layer_b"] != "functionals:energy"]
    assert list(panels(draw_functional_groups(only))) == ["frequency", "spectral", "temporal"]


def test_without_groups_there_is_no_figure_of_them(tables: Tables) -> None:
    similarity = tables["similarity"]
    with pytest.raises(AnalysisError, match="no comparison with groups of functionals"):
        draw_functional_groups(similarity[similarity["layer_b"] == "functionals"])


def test_each_measure_has_its_own_scale(tables: Tables) -> None:
    figure = draw_measures(tables["similarity"])
    drawn = panels(figure)
    titles = [SIMILARITY[name].title for name in ("cka_debiased", "procrustes")]
    assert list(drawn) == titles
    np.testing.assert_allclose(drawn[titles[1]], 1 - drawn[titles[0]])
    assert len({ax.collections[0].get_clim() for ax in figure.axes[:2]}) == 2
    assert {"small is alike", "large is alike"} <= {ax.get_ylabel() for ax in figure.axes}


def test_of_many_measures_nine_are_shown_and_the_title_says_so(tables: Tables) -> None:
    similarity = tables["similarity"]
    names = [name for name in SIMILARITY if name not in ("cka", "cka_debiased")][:10]
    rows = similarity[similarity["measure"] == "cka_debiased"]
    figure = draw_measures(pd.concat([rows.assign(measure=name) for name in names]))
    assert len(panels(figure)) == 9
    assert "by 9 of 10 measures" in figure.get_suptitle()


def test_one_measure_is_not_set_beside_itself(tables: Tables) -> None:
    similarity = tables["similarity"]
    with pytest.raises(AnalysisError, match="Fewer than two measures"):
        draw_measures(similarity[similarity["measure"].isin(["cka", "cka_debiased"])])


def test_models_are_compared_at_each_pair_of_checkpoints(tables: Tables) -> None:
    axes = [ax for ax in draw_models(tables["similarity"]).axes if "hubert" in ax.get_ylabel()]
    assert [ax.get_xlabel() for ax in axes] == ["wavlm-large\nstep-0", "wavlm-large\nstep-150"]
    grid = axes[0].collections[0].get_array()
    assert grid.shape == (3, 5)
    np.testing.assert_allclose(grid[2], 0.3 + 0.5 * np.linspace(0, 1, 5))
    np.testing.assert_allclose(grid[:2], 0.3)


def test_of_many_pairs_of_checkpoints_some_are_shown_and_the_title_says_so(tables: Tables) -> None:
    similarity = tables["similarity"]
    pairs = similarity[similarity["model_b"] == "hubert-large"]
    many = pd.concat([pairs.assign(checkpoint_a=f"step-{step}") for step in range(5)])
    figure = draw_models(many)
    assert len([ax for ax in figure.axes if "hubert" in ax.get_ylabel()]) == 6
    assert "6 of 10 pairs of checkpoints" in figure.get_suptitle()


def test_one_model_has_nothing_to_be_compared_with(tables: Tables) -> None:
    similarity = tables["similarity"]
    with pytest.raises(AnalysisError, match="no comparison between two models"):
        draw_models(similarity[similarity["model_b"] != "hubert-large"])


@pytest.mark.parametrize(
    ("measures", "main"),
    [
        (["cka", "procrustes", "cka_debiased"], "cka_debiased"),
        (["cka", "cka_minibatch", "rsa"], "cka_minibatch"),
        (["cka", "rsa", "procrustes"], "rsa"),
        (["cka"], "cka"),
    ],
)
def test_the_main_measure(measures: list[str], main: str) -> None:
    assert main_measure(pd.DataFrame({"measure": measures})) == main


def test_heat_maps_and_headline_show_any_measure(tables: Tables) -> None:
    similarity = tables["similarity"]
    only = similarity[similarity["measure"] == "cka_debiased"].assign(measure="procrustes")
    assert draw_acoustic_similarity(only).axes[1].get_ylabel() == "Procrustes distance with eGeMAPS (no unit)"
    assert draw_layer_similarity(only).axes[0].collections
    head = similarity_headline(only)
    rows = only[(only["layer_b"] == "functionals") & (only["step_a"] == 0)].sort_values("value")
    assert head["most similar layer"][0] == rows["layer_a"].iloc[0], "of a distance the smallest is the most similar"
    assert head["lowest Procrustes distance"][0] == rows["value"].iloc[0]
    assert head["highest p"][0] == 0.01


def test_a_measure_with_a_direction_is_not_turned_round(tables: Tables) -> None:
    similarity = tables["similarity"]
    rows = similarity[(similarity["model_b"] == "wavlm-large") & (similarity["step_a"] == similarity["step_b"])]
    directed = rows.assign(measure="linear_predictivity")
    grid = draw_layer_similarity(directed).axes[0].collections[0].get_array()
    # The table holds the pairs i <= j only: what was not measured stays empty.
    mask = np.ma.getmaskarray(grid)
    assert mask[0, 1:].all()
    assert not mask[1:, 0].any()
    both = draw_layer_similarity(rows).axes[0].collections[0].get_array()
    assert not np.ma.getmaskarray(both).any()


def test_biased_cka_never_stands_alone(tables: Tables) -> None:
    with pytest.raises(AnalysisError, match="only beside its independence baseline"):
        draw_biased_cka(tables["similarity"].assign(baseline=np.nan))
    value, baseline = draw_biased_cka(tables["similarity"]).axes[:2]
    assert value.collections[0].get_clim() == baseline.collections[0].get_clim()
    np.testing.assert_allclose(baseline.collections[0].get_array(), 0.18)


def test_layers_are_compared_within_and_across_on_one_scale(tables: Tables) -> None:
    axes = [ax for ax in draw_layer_similarity(tables["similarity"]).axes if ax.get_title()]
    assert [ax.get_title() for ax in axes] == ["within step 0", "within step 150", "step 0 to 150"]
    assert len({ax.collections[0].get_clim() for ax in axes}) == 1
    # Across, the last checkpoint is up and the first one across; the early layers are kept, the late ones are not.
    assert (axes[2].get_xlabel(), axes[2].get_ylabel()) == ("layer at step 0", "layer at step 150")
    diagonal = np.diag(axes[2].collections[0].get_array())
    assert np.all(np.diff(diagonal) < 0)


def test_without_comparisons_of_layers_there_is_no_matrix(tables: Tables) -> None:
    similarity = tables["similarity"]
    with pytest.raises(AnalysisError, match="no comparison between the layers of a model"):
        draw_layer_similarity(similarity[similarity["layer_b"] == "functionals"])


def test_what_an_analysis_was_not_asked_for_is_not_called_missing(tables: Tables, figures_folder: Path) -> None:
    """As `analyze similarity --pairs models`, which compares no layers of one model."""
    similarity = tables["similarity"]
    between = similarity[similarity["model_a"] != similarity["model_b"]]
    entries, left_out = write_figures({"similarity": between}, figures_folder, specs=SIMILARITY_FIGURES)
    assert entries
    assert left_out == []
