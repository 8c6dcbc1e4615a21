"""Fine-tuning and splits: curves, marks and bars are what the tables say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ser_probe.errors import AnalysisError
from ser_probe.report.training.figures import draw_splits
from ser_probe.report.training.plots import (
    mark_steps,
    plot_clips_per_split,
    plot_learning_rate,
    plot_loss,
    plot_validation_scores,
)

from ..drawn import Tables, labels, line


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


def test_an_audit_that_counts_no_class_is_refused(tables: Tables) -> None:
    audit = tables["audit"]
    with pytest.raises(AnalysisError, match="counts no class that can be drawn"):
        draw_splits(audit[audit["measure"] == "clips"])
