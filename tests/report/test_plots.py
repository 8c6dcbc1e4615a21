"""What is drawn is what the table says: values are read back from the lines and cells."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from ser_probe.errors import AnalysisError
from ser_probe.report.canvas import spaced
from ser_probe.report.drift.plots import of_reference, plot_drift_over_layers, plot_drift_over_steps
from ser_probe.report.probes.scores import plot_scores_by_layer
from ser_probe.report.similarity.plots import colour_limits, plot_layer_checkpoint_map, plot_layer_matrix
from ser_probe.report.style import (
    CLASS_COLOURS,
    LAYER_COLOURS,
    STEP_COLOURS,
    class_styles,
    line_colours,
    short,
    text_colour,
)
from ser_probe.report.tables import between_layers, with_acoustics
from ser_probe.report.training.plots import (
    mark_steps,
    plot_clips_per_split,
    plot_learning_rate,
    plot_loss,
    plot_validation_scores,
)
from ser_probe.report.umap.plots import plot_projection, projection_limits

Tables = dict[str, pd.DataFrame]

LAYERS = ["0", "1", "2", "3", "final"]
STEPS = [0, 50, 100, 150]


@pytest.fixture
def ax() -> Axes:
    return Figure().subplots()


def labels(ticks: list) -> list[str]:  # type: ignore[type-arg]
    return [tick.get_text() for tick in ticks]


def line(ax: Axes, label: str) -> np.ndarray:
    (found,) = [line for line in ax.lines if line.get_label() == label]
    return np.asarray(found.get_ydata(), dtype=float)


def test_heat_map_cells_are_the_table(tables: Tables, ax: Axes) -> None:
    rows = with_acoustics(tables["similarity"])
    rows = rows[rows["measure"] == "cka_debiased"]
    # The order of the rows must not matter.
    plot_layer_checkpoint_map(rows.sample(frac=1, random_state=1), ax)
    drawn = ax.collections[0].get_array()
    expected = [
        [rows[(rows["layer_a"] == layer) & (rows["step_a"] == step)]["value"].item() for step in STEPS]
        for layer in LAYERS
    ]
    np.testing.assert_array_equal(drawn, expected)
    assert labels(ax.get_yticklabels()) == LAYERS
    assert labels(ax.get_xticklabels()) == [str(step) for step in STEPS]
    assert ax.get_ylim()[0] < ax.get_ylim()[1]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("fine-tuning step", "hidden layer")
    assert labels(ax.texts) == [f"{value:.2f}" for value in np.ravel(expected)]


def test_cells_without_a_value_stay_empty(tables: Tables, ax: Axes) -> None:
    rows = with_acoustics(tables["similarity"])
    rows = rows[(rows["measure"] == "cka_debiased") & ~((rows["layer_a"] == "2") & (rows["step_a"] == 50))]
    plot_layer_checkpoint_map(rows, ax)
    drawn = ax.collections[0].get_array()
    assert np.argwhere(np.ma.getmaskarray(drawn)).tolist() == [[2, 1]]
    assert len(ax.texts) == len(LAYERS) * len(STEPS) - 1


def test_there_is_no_negative_zero(ax: Axes) -> None:
    plot_layer_checkpoint_map(pd.DataFrame({"layer_a": ["0", "1"], "step_a": 0, "value": [-0.001, -0.02]}), ax)
    assert labels(ax.texts) == ["0.00", "-0.02"]


def test_numbers_are_printed_only_where_they_fit(ax: Axes) -> None:
    cells = [(str(layer), step, 0.5) for layer in range(26) for step in range(11)]
    plot_layer_checkpoint_map(pd.DataFrame(cells, columns=["layer_a", "step_a", "value"]), ax)
    assert not ax.texts


def test_layer_matrix_has_side_a_across_and_side_b_up(tables: Tables, ax: Axes) -> None:
    similarity = tables["similarity"]
    part = between_layers(similarity[similarity["measure"] == "cka_debiased"], 0, 150)
    plot_layer_matrix(part, ax)
    drawn = ax.collections[0].get_array()
    for i, j in itertools.product(range(len(LAYERS)), repeat=2):
        cell = part[(part["layer_a"] == LAYERS[i]) & (part["layer_b"] == LAYERS[j])]["value"].item()
        assert drawn[j, i] == cell


def test_colour_limits_are_rounded_outwards_and_never_empty() -> None:
    assert colour_limits(pd.Series([0.31, 0.49, np.nan])) == pytest.approx((0.3, 0.5))
    assert colour_limits(pd.Series([0.3, 0.45])) == pytest.approx((0.3, 0.45))
    low, high = colour_limits(pd.Series([0.2]))
    assert low <= 0.2 < high
    assert colour_limits(pd.Series([np.nan])) == (0.0, 1.0)


def test_score_lines_are_means_over_seeds_in_layer_order(tables: Tables, ax: Axes) -> None:
    probe = tables["probe"]
    plot_scores_by_layer(probe.sample(frac=1, random_state=1), ax, measure="uar")
    chosen = probe[(probe["split"] == "test") & (probe["measure"] == "uar") & (probe["control"] == "none")]
    for step in STEPS:
        means = [chosen[(chosen["step"] == step) & (chosen["layer"] == layer)]["value"].mean() for layer in LAYERS]
        np.testing.assert_allclose(line(ax, str(step)), means)
    baseline = chosen[chosen["layer"] == "functionals"]["value"].mean()
    np.testing.assert_allclose(line(ax, "eGeMAPS"), baseline)
    assert labels(ax.get_xticklabels()) == LAYERS
    assert ax.get_ylabel() == "unweighted average recall (test speakers)"


def test_controls_are_not_mixed_with_the_scores(tables: Tables, ax: Axes) -> None:
    probe = tables["probe"]
    plot_scores_by_layer(probe, ax, measure="weighted_f1")
    rows = probe[(probe["split"] == "test") & (probe["measure"] == "weighted_f1")]
    shuffled = rows[rows["control"] == "shuffled_labels"]
    expected = [shuffled[shuffled["layer"] == layer]["value"].mean() for layer in LAYERS]
    np.testing.assert_allclose(line(ax, "shuffled labels"), expected)
    majority = rows[rows["control"] == "majority_class"]["value"].mean()
    np.testing.assert_allclose(line(ax, "majority class"), majority)


def test_a_control_of_one_layer_is_a_line_across(tables: Tables, ax: Axes) -> None:
    probe = tables["probe"]
    one = probe[(probe["control"] != "shuffled_labels") | (probe["layer"] == "final")]
    plot_scores_by_layer(one, ax, measure="uar")
    rows = one[(one["control"] == "shuffled_labels") & (one["split"] == "test") & (one["measure"] == "uar")]
    np.testing.assert_allclose(line(ax, "shuffled labels"), [rows["value"].mean()] * 2)


def test_the_ring_is_where_validation_not_test_is_best(tables: Tables, ax: Axes) -> None:
    probe = tables["probe"].copy()
    probe = probe[probe["step"].isna() | (probe["step"] == 0)]
    scores = probe["control"].eq("none") & probe["layer"].ne("functionals")
    probe.loc[scores & probe["split"].eq("validation") & probe["layer"].eq("1"), "value"] = 0.95
    probe.loc[scores & probe["split"].eq("test") & probe["layer"].eq("3"), "value"] = 0.99
    plot_scores_by_layer(probe, ax, measure="uar")
    (ring,) = [drawn for drawn in ax.lines if drawn.get_markersize() == 9]
    assert list(ring.get_xdata()) == [LAYERS.index("1")]


def test_without_a_measure_there_is_nothing_to_draw(tables: Tables, ax: Axes) -> None:
    with pytest.raises(AnalysisError, match=r"probe table holds nothing to draw[\s\S]*measure = 'ccc'"):
        plot_scores_by_layer(tables["probe"], ax, measure="ccc")


def test_drift_lines_are_the_table_both_ways(tables: Tables) -> None:
    drift = of_reference(tables["drift"], "first").sample(frac=1, random_state=1)
    over_steps, over_layers = Figure().subplots(1, 2)
    plot_drift_over_steps(drift, over_steps, measure="mean_cosine")
    plot_drift_over_layers(drift, over_layers, measure="mean_cosine")
    values = drift[drift["measure"] == "mean_cosine"].pivot(index="layer", columns="step", values="value").loc[LAYERS]
    for layer in LAYERS:
        np.testing.assert_array_equal(line(over_steps, layer), values.loc[layer])
    for step in STEPS:
        np.testing.assert_array_equal(line(over_layers, str(step)), values[step])
    assert over_steps.get_ylabel() == over_layers.get_ylabel() == "mean cosine\n(1 = unchanged)"
    assert labels(over_layers.get_xticklabels()) == LAYERS


def test_a_measure_without_a_known_zero_is_drawn_without_a_line_for_it(tables: Tables, ax: Axes) -> None:
    unknown = tables["drift"].replace("mean_cosine", "own_measure").drop(columns=["floor_repeat", "floor_seed"])
    plot_drift_over_steps(unknown.assign(above_floor=pd.NA), ax, measure="own_measure")
    assert ax.get_ylabel() == "own measure"
    assert len(ax.lines) == len(LAYERS)


def test_every_clip_is_a_point_of_its_class(tables: Tables, ax: Axes) -> None:
    umap = tables["umap"]
    part = umap[(umap["layer"] == "final") & (umap["step"] == 150)]
    limits = projection_limits(umap)
    plot_projection(part, ax, colour="label", limits=limits)
    assert sum(len(points.get_offsets()) for points in ax.collections) == len(part)
    for points in ax.collections:
        own = part[part["label"] == points.get_label()]
        np.testing.assert_allclose(points.get_offsets(), own[["x", "y"]])
    assert ax.get_xlim() == limits[0]
    assert umap["x"].between(*limits[0]).all()
    assert umap["y"].between(*limits[1]).all()


def test_a_class_keeps_its_colour_where_another_is_absent(tables: Tables) -> None:
    umap = tables["umap"]
    names = sorted(umap["label"].unique())
    axes = Figure().subplots(1, 2)
    plot_projection(umap, axes[0], colour="label", names=names)
    plot_projection(umap[umap["label"] != names[0]], axes[1], colour="label", names=names)
    colours = [
        {p.get_label(): to_hex(p.get_facecolor()[0]) for p in ax.collections if len(p.get_offsets())} for ax in axes
    ]
    assert len(colours[1]) == len(names) - 1
    assert all(colours[0][name] == colour for name, colour in colours[1].items())


def test_training_curves_are_the_table_and_marks_are_where_they_belong(tables: Tables) -> None:
    training = tables["training"]
    loss, scores, rate = Figure().subplots(1, 3)
    plot_loss(training, loss)
    plot_validation_scores(training, scores)
    plot_learning_rate(training, rate)
    mark_steps(loss, best_step=100, saved_steps=[0, 50])
    rows = training[training["measure"] == "loss"]
    np.testing.assert_array_equal(line(loss, "validation"), rows[rows["split"] == "validation"]["value"])
    np.testing.assert_array_equal(line(loss, "train"), rows[rows["split"] == "train"]["value"])
    np.testing.assert_array_equal(line(scores, "UAR"), training[training["measure"] == "uar"]["value"])
    np.testing.assert_array_equal(
        line(rate, "learning rate"), training[training["measure"] == "learning_rate"]["value"]
    )
    (best,) = [drawn for drawn in loss.lines if drawn.get_label() == "best step (100)"]
    assert list(best.get_xdata()) == [100, 100]
    assert loss.get_ylabel() == "loss"


def test_each_run_is_a_line_of_its_own(tables: Tables, ax: Axes) -> None:
    runs = pd.concat([tables["training"].assign(run_seed=seed) for seed in range(3)])
    plot_loss(runs, ax)
    assert len(ax.lines) == 2 * 3
    assert [drawn.get_label() for drawn in ax.lines].count("train") == 1


def test_bars_are_as_long_as_there_are_clips(tables: Tables, ax: Axes) -> None:
    plot_clips_per_split(tables["audit"], ax, by="label")
    assert sum(bar.get_width() for bar in ax.patches) == pytest.approx(588)
    assert labels(ax.get_yticklabels()) == ["train", "validation", "test"]


def _contrast_with_white(colour: str) -> float:
    """Contrast ratio of WCAG 2.2 between a colour and white."""
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return 1.05 / (0.05 + float(linear @ [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("name", [STEP_COLOURS, LAYER_COLOURS])
def test_lines_can_be_seen_on_white(name: str) -> None:
    # The bright end of the uncut maps, pale yellow, has a contrast of 1.2: a line nobody sees.
    assert min(_contrast_with_white(colour) for colour in line_colours(9, name)) > 1.5
    assert len(set(line_colours(26, name))) == 26


def test_classes_differ_by_colour_or_marker() -> None:
    few, many = [str(i) for i in range(7)], [str(i) for i in range(30)]
    assert len({colour for colour, _ in class_styles(few).values()}) == 7
    assert len({marker for _, marker in class_styles(few).values()}) == 7
    assert len(set(class_styles(many).values())) == 30
    assert len(CLASS_COLOURS) == len(set(CLASS_COLOURS))


def test_cell_text_is_white_on_dark_and_black_on_bright(ax: Axes) -> None:
    mesh = ax.pcolormesh([[0, 1]], cmap="viridis")
    assert (text_colour(mesh.get_cmap(), 0.0), text_colour(mesh.get_cmap(), 1.0)) == ("white", "black")


def test_labels_are_shortened_to_one_line() -> None:
    assert short("a\nb\t c") == "a b c"
    assert len(short("x" * 500)) == 40
    assert short("x" * 40) == "x" * 40


@pytest.mark.parametrize("count", [1, 2, 5, 26, 100])
def test_tick_labels_are_thinned_but_never_the_last(count: int) -> None:
    shown = spaced(count, 6)
    assert shown[-1] == count - 1
    assert len(shown) <= 7
    gaps = np.diff(shown)
    assert len(gaps) == 0 or gaps.min() >= -(-count // 6)
