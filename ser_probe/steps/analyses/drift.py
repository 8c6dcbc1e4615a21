"""The analysis `drift`: how far fine-tuning has moved each layer, on the same clips, and how far is too little."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ser_probe.analysis.drift.floor import REPEAT, SEED, add_floor, floor_table
from ser_probe.analysis.drift.table import OVERALL, layer_drift
from ser_probe.analysis.drift.weights import weight_drift
from ser_probe.analysis.threads import run_side_by_side
from ser_probe.config import DriftConfig
from ser_probe.runtime import Progress
from ser_probe.steps.analyses.checkpoint_weights import read_parts
from ser_probe.steps.analyses.corpora import Part, corpus_counts, corpus_parts, in_context, join_parts, of_each
from ser_probe.steps.analyses.drift_pairs import DriftStates, Pair, join_states
from ser_probe.steps.analyses.inputs import Inputs
from ser_probe.steps.analyses.representations import Joined
from ser_probe.steps.columns import named_columns, say_without_intervals
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.tables import write_table

FIRST, PREVIOUS = "first", "previous"


def run(inputs: Inputs, config: DriftConfig) -> Outcome:
    """Write the tables `drift`, `drift_groups`, and where it can be `drift_floor` and `weight_drift`.

    Clips of several corpora are also measured corpus by corpus, with a column `corpus` that is `all` for all of them
    together. Weights have no clips.

    Args:
        inputs: Caches, of which the reference may be one (its drift is none), its repeats, and weights.
        config: What to measure.

    Raises:
        AnalysisError: If a cache has other layers than the reference, a repeat is of other weights, or a seed's
            checkpoint is of a step that is not among the caches.
        CheckpointError: If weights cannot be read, or are of another architecture.
    """
    progress = inputs.progress
    reference = inputs.caches[0] if inputs.reference is None else inputs.reference
    states = join_states(
        reference, inputs.caches, inputs.repeats, inputs.seed_caches, clips=inputs.clips, splits=inputs.chosen_splits
    )
    pairs = [pair for pair in states.pairs if pair.kind not in (FIRST, PREVIOUS) or pair.kind in config.against]
    weights = _weights(inputs.checkpoints, states) if inputs.checkpoints and config.weights else None
    parts = corpus_parts(states.joined, "drift", progress, apart=inputs.by_corpus)
    say_without_intervals("drift", states.joined.clips, progress)
    groupings = _groupings(states.joined, config, progress)
    progress.start("drift", len(parts) * len(states.reference.layer_names), "layers")

    def measure(part: Part, counted: Progress) -> dict[str, pd.DataFrame]:
        return _tables(_measure_layers(states, pairs, config, groupings, part, counted), states, pairs)

    parts, made = of_each(parts, measure, "drift", progress)
    progress.finish()
    tables = {name: join_parts(parts, [made_tables[name] for made_tables in made]) for name in made[0]}
    if weights is not None:
        tables["weight_drift"] = weights
    files = [
        path
        for name, table in tables.items()
        if name == "drift" or not table.empty
        for path in write_table(in_context(table, inputs.context), inputs.output, name)
    ]
    counts = states.joined.counts() | corpus_counts(parts)
    return Outcome(tuple(files), counts | _facts(made[0]["drift"], made[0]["drift_floor"]))


def _groupings(joined: Joined, config: DriftConfig, progress: Progress) -> dict[str, np.ndarray]:
    """Return the columns that drift is given by, [N] each; those that some clips have no value in are named."""
    groupings = {}
    for column in named_columns(joined.clips, config, "analyze.drift.by", progress=progress):
        if n_blank := int(joined.clips[column].isna().sum()):
            progress.say(f"drift is not given by {column}: {n_blank} clips have no value")
        else:
            groupings[column] = joined.column(column)
    return groupings


def _tables(measured: pd.DataFrame, states: DriftStates, pairs: Sequence[Pair]) -> dict[str, pd.DataFrame]:
    """Return the tables of what was measured over some clips, drift beside its floor."""
    of_states, of_equals = (measured[measured["kind"].isin(kinds)] for kinds in ((FIRST, PREVIOUS), (REPEAT, SEED)))
    limits = floor_table(of_equals)
    drift = add_floor(_named(of_states, states, pairs), limits)
    overall = drift["group_by"] == OVERALL
    return {
        "drift": drift[overall].drop(columns=["group_by", "group"]),
        "drift_groups": drift[~overall],
        "drift_floor": limits,
    }


def _measure_layers(
    states: DriftStates,
    pairs: Sequence[Pair],
    config: DriftConfig,
    groupings: Mapping[str, np.ndarray],
    part: Part,
    progress: Progress,
) -> pd.DataFrame:
    """Return the drift of every layer between all pairs of states: `kind`, `step` and `layer` beside the measures."""
    names, places = states.reference.layer_names, part.places
    of_part = {column: values[places] for column, values in groupings.items()}

    def work(layer: str) -> pd.DataFrame:
        table = layer_drift(
            [state.layer(layer)[places] for state in states.all],
            [(pair.before, pair.after) for pair in pairs],
            names=[f"layer {layer} of {state.checkpoint} ({state.path.name})" for state in states.all],
            speakers=None if states.speakers is None else states.speakers[places],
            groupings=of_part,
            measures=config.measures,
            n_neighbours=config.neighbours,
            overall_only=[place for place, pair in enumerate(pairs) if pair.kind == PREVIOUS],
        )
        of_pair = table["pair"].to_numpy()
        return table.assign(
            layer=layer,
            kind=np.array([pair.kind for pair in pairs])[of_pair],
            step=np.array([states.all[pair.after].step for pair in pairs])[of_pair],
        )

    tables_of = {}
    for layer, table in run_side_by_side(work, names):
        tables_of[layer] = table
        progress.advance(**part.beside)
    return pd.concat([tables_of[layer] for layer in names], ignore_index=True)


def _named(table: pd.DataFrame, states: DriftStates, pairs: Sequence[Pair]) -> pd.DataFrame:
    """Return rows with the names of their two states, by checkpoint and then by layer."""
    before = [states.all[pairs[place].before] for place in table["pair"]]
    after = [states.all[pairs[place].after] for place in table["pair"]]
    named = table.assign(
        model=[state.model for state in after],
        checkpoint=[state.checkpoint for state in after],
        pooling=[state.pooling for state in after],
        reference=[state.checkpoint for state in before],
        against=table["kind"],
    )
    return named.sort_values("pair", kind="stable").drop(columns=["pair", "kind"]).reset_index(drop=True)


def _weights(checkpoints: Mapping[str, Path], states: DriftStates) -> pd.DataFrame:
    """Return the drift of weights, named as the caches are; checkpoints without a cache are measured too."""
    names = list(checkpoints)
    steps = {state.checkpoint: (state.model, state.step) for state in states.all[: states.n_checkpoints]}
    model = states.reference.model
    table = weight_drift(read_parts(checkpoints), len(names))
    named = [steps.get(name, (model, _step_of(name))) for name in names]
    place = table["state"].to_numpy()
    earlier = np.where(table["against"] == FIRST, 0, np.maximum(place - 1, 0))
    return table.assign(
        model=np.array([model for model, _ in named])[place],
        step=np.array([step for _, step in named])[place],
        checkpoint=np.array(names)[place],
        reference=np.array(names)[earlier],
    ).drop(columns="state")


def _step_of(name: str) -> float:
    digits = name.rpartition("-")[2]
    return float(digits) if digits.isdecimal() else float("nan")


def _facts(drift: pd.DataFrame, limits: pd.DataFrame) -> dict[str, object]:
    if limits.empty:
        return {}
    last = drift[(drift["against"] == FIRST) & (drift["step"] == drift["step"].max())]
    above = last[last["above_floor"].fillna(False)]
    return {
        "layers above the floor at the last step": ", ".join(
            f"{measure}: {(above['measure'] == measure).sum()} of {len(part)}"
            for measure, part in last.groupby("measure", sort=False)
        )
    }
