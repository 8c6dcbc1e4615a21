"""What counts as one observation of a table of results, and so what its tests say and do not say."""

from __future__ import annotations

import pandas as pd

from ser_probe.config import StatsConfig

_OF_SEEDS = (
    "The repetitions are seeds ({seeds}). Seeds tested on one set of speakers are no independent samples of speakers: "
    "the tests say whether a difference would come again with other seeds, and nothing about other speakers or "
    "corpora. For these, see the intervals over speakers of the probe's own tables, or test over speakers."
)


def unit_column(rows: pd.DataFrame, stats: StatsConfig) -> str | None:
    """Return the column of what counts as one observation; None: every row does."""
    if stats.unit != "auto":
        return stats.unit
    used = {*stats.factors, stats.random}
    if "run_seed" in rows and "run_seed" not in used and rows["run_seed"].nunique() > 1:
        return "run_seed"
    return "probe_seed" if "probe_seed" in rows and "probe_seed" not in used else None


def what_repeats(rows: pd.DataFrame, stats: StatsConfig) -> str:
    """Return what the repetitions are, and so what the tests say and do not say."""
    unit = unit_column(rows, stats)
    if unit == "run_seed":
        return (
            "An observation is one fine-tuning run, the mean over its probes. The tests say whether a difference would "
            "come again with other runs on these speakers; they say nothing about other speakers or corpora."
        )
    if unit == "probe_seed" or (stats.unit == "auto" and "probe_seed" in rows):
        return (
            "The repetitions are seeds of the probe on one fine-tuned model and the same clips. They are no "
            "independent repetitions of fine-tuning: the tests say whether a difference would come again with other "
            "initialisations of the probe, and nothing about other fine-tuning runs, speakers or corpora. For these, "
            "fine-tune with several seeds, and see the intervals over speakers of the probe's own tables."
        )
    if seeds := _seeds(rows, stats):
        return _OF_SEEDS.format(seeds=seeds)
    what = "row of the table" if unit is None else unit
    return f"An observation is one {what}: the tests take these for independent, and say nothing beyond them."


def _seeds(rows: pd.DataFrame, stats: StatsConfig) -> str:
    """Return the columns of seeds that tell the observations apart; empty where they are something else."""
    unit = unit_column(rows, stats)
    taken = {*stats.factors, *stats.apart}
    varying = [name for name in rows if "seed" in str(name).lower() and name not in taken and rows[name].nunique() > 1]
    return ", ".join(map(str, varying)) if unit is None or unit in varying else ""


def seed_warnings(rows: pd.DataFrame, stats: StatsConfig) -> list[str]:
    """Return the warning that repetitions are seeds, where they are."""
    seeds = _seeds(rows, stats)
    return [_OF_SEEDS.format(seeds=seeds)] if seeds else []
