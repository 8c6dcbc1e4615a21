"""An analysis that is no part of ser-probe, whole in one file: the length of each layer's vectors by label."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ser_probe.config.analyses import Analysis
from ser_probe.config.sections import Name, Section
from ser_probe.report.figure_specs import FigureSpec
from ser_probe.report.headline import Headline
from ser_probe.steps.analyses.inputs import Inputs
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.tables import write_table


class ToyConfig(Section):
    """How long the vectors of each layer are."""

    column: Name = "label"
    """Column of the clips by whose values lengths are given."""


def run(inputs: Inputs, config: ToyConfig) -> Outcome:
    """Write the table `toy`: a row per checkpoint, layer and value of the column."""
    joined = inputs.join()
    values = joined.column(config.column)
    rows = []
    for state in joined.checkpoints:
        for layer in state.layer_names:
            lengths = pd.Series(np.linalg.norm(state.layer(layer), axis=1)).groupby(values).mean()
            rows += [{**state.key(layer)._asdict(), "group": group, "value": value} for group, value in lengths.items()]
    files = write_table(pd.DataFrame(rows).assign(**inputs.context), inputs.output, "toy")
    return Outcome(tuple(files), joined.counts())


def draw_toy(toy: pd.DataFrame, column: str = "label") -> Figure:
    """Draw the mean length of each layer's vectors."""
    figure = Figure(layout="constrained")
    ax = figure.subplots()
    for step, rows in toy.groupby("step"):
        ax.plot(rows.groupby("layer", sort=False)["value"].mean(), label=f"step {step:g}")
    ax.set(title=f"Length by {column}", xlabel="layer", ylabel="length")
    return figure


def longest(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the layer whose vectors are longest."""
    toy = tables["toy"]
    return toy.loc[[toy["value"].idxmax()], ["step", "layer", "group", "value"]]


TOY_FIGURES = {"toy": FigureSpec("Length of vectors", "toy", draw_toy, "Longer vectors say nothing by themselves.")}
TOY_HEADLINE = Headline("toy", "Where vectors are longest", "Over all checkpoints.", longest)

ANALYSIS = Analysis(
    name="toy",
    section=ToyConfig,
    summary="How long the vectors of each layer are.",
    run="tests.toy_analysis:run",
    tables=("toy",),
    needs=frozenset({"caches", "splits"}),
    figures=("tests.toy_analysis:TOY_FIGURES",),
    headlines=("tests.toy_analysis:TOY_HEADLINE",),
    figure_options={"toy": {"column": "column"}},
    columns=("column",),
)
