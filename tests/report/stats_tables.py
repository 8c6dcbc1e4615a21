"""Synthetic tables of statistics with the schemas that the analysis writes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy.stats

TIMES = " × "


def descriptives_table(levels: dict[str, Sequence[object]], n: int = 5) -> pd.DataFrame:
    """Means that rise along every factor, each with an interval of 0.02 to each side."""
    rows = []
    for place in itertools.product(*(range(len(values)) for values in levels.values())):
        mean = 0.4 + 0.03 * sum(place)
        names = {name: str(values[i]) for (name, values), i in zip(levels.items(), place, strict=True)}
        rows.append({**names, "mean": mean, "sd": 0.02, "min": mean - 0.03, "max": mean + 0.03,
                     "ci_low": mean - 0.02, "ci_high": mean + 0.02, "n": n})  # fmt: skip
    return pd.DataFrame(rows).assign(
        sd_kind="sample", response="uar", factors=TIMES.join(levels), analysis="", alpha=0.05
    )


def contrasts_table(pairs: Sequence[tuple[object, object]], places: Sequence[str]) -> pd.DataFrame:
    """Effects that grow with the place; the first one without spread."""
    rows = []
    for i, place in enumerate(places):
        for a, b in pairs:
            g = 0.3 * i
            rows.append({
                "factor": "step", "level_a": str(a), "level_b": str(b), "within": place, "test": "welch", "n_a": 5,
                "n_b": 5, "difference": 0.01 * i, "statistic": g, "df": 8.0, "p": 0.5**i, "p_holm": 0.6**i,
                "p_bh": 0.5**i, "effect": "hedges_g", "effect_size": g, "ci_low": g - 0.8, "ci_high": g + 0.9,
            })  # fmt: skip
    return pd.DataFrame(rows).assign(correction="holm", alpha=0.05, analysis="")


def residuals_table(n: int = 60) -> pd.DataFrame:
    """Normal residuals but for the last one."""
    rank = np.arange(1, n + 1)
    normal = scipy.stats.norm.ppf((rank - 0.375) / (n + 0.25))
    low, high = (scipy.stats.norm.ppf(scipy.stats.beta.ppf(q, rank, n + 1 - rank)) for q in (0.025, 0.975))
    residual = np.where(rank == n, 6.0, normal)
    return pd.DataFrame(
        {"theoretical": normal, "residual": residual, "ci_low": low, "ci_high": high, "n": n, "analysis": ""}
    )


def power_curve_table(n_now: float = 10) -> pd.DataFrame:
    """Two effects, two designs."""
    rows = [
        {"design": design, "effect_size": effect, "n": n, "power": 1 - np.exp(-n * effect / 20), "alpha": 0.05,
         "target": 0.8, "n_now": n_now}
        for design in ("two_sample", "paired") for effect in (0.5, 1.0) for n in (2, 5, 10, 50, 100)
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(analysis="")


def stats_tables(steps: Sequence[int], layers: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Return all tables that figures of statistics are drawn from."""
    return {
        "descriptives": descriptives_table({"step": steps, "layer": layers}),
        "contrasts": contrasts_table([(step, steps[0]) for step in steps[1:]], [f"layer={layer}" for layer in layers]),
        "residuals": residuals_table(),
        "power_curve": power_curve_table(),
    }
