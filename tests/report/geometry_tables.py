"""Synthetic tables with the schema that the analysis `geometry` writes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

MODEL = "wavlm-large"
SHAPE = {
    "rankme": 400.0, "effective_rank": 120.0, "participation_ratio": 30.0, "participation_ratio_unbiased": 31.0,
    "isoscore": 0.03, "anisotropy": 0.5, "two_nn": 17.0, "two_nn_mle": 17.5,
}  # fmt: skip
UNIQUE = {"label": 0.1, "speaker": 0.3, "gender": 0.1, "sentence": 0.05, "label:speaker": 0.08, "joint": 0.02}


def geometry_tables(layers: Sequence[str], steps: Sequence[int]) -> dict[str, pd.DataFrame]:
    """Labels gain and dimension falls with depth and step; the acoustic features stand beside."""
    rows: list[dict[str, object]] = []
    spectra = []
    places = [
        (step, layer, d) for step in steps for layer, d in zip(layers, np.linspace(0, 1, len(layers)), strict=True)
    ]
    for step, layer, d in [*places, (np.nan, "functionals", 0.5)]:
        moved = 0.0 if np.isnan(step) else d * step / max(steps)
        key = dict(
            corpus="emovo", model="eGeMAPSv02" if np.isnan(step) else MODEL, run_seed=0,
            checkpoint="" if np.isnan(step) else f"step-{step}", step=step, layer=layer, pooling="mean",
            n=588, n_speakers=15,
        )  # fmt: skip

        def add(measure: str, factor: str, value: float, width: float, baseline: float, key: dict = key) -> None:
            first = key["step"] in (0, np.nan)
            rows.append(
                key | dict(measure=measure, factor=factor, value=value, ci_low=value - width, ci_high=value + width,
                           baseline=baseline, change=np.nan if first else -0.1, change_low=np.nan if first else -0.2,
                           change_high=np.nan if first else -0.05)
            )  # fmt: skip

        for measure, level in SHAPE.items():
            width = np.nan if "rank" in measure else 0.1 * level
            add(measure, "", level * (1 - 0.6 * moved), width, 0.0 if measure == "anisotropy" else 3 * level)
        for factor in ("label", "speaker"):
            sign = 1 if factor == "label" else -1
            add("silhouette", factor, 0.02 + 0.2 * sign * moved, 0.02, -0.02)
            add("fisher_ratio", factor, 0.3 + 0.25 * sign * moved, 0.05, 0.0)
        for factor, share in UNIQUE.items():
            value = share + 0.4 * moved if factor == "label" else share * (1 - 0.6 * moved)
            add("unique_share", factor, value, 0.02, 0.0 if ":" not in factor else np.nan)
            if ":" not in factor and factor != "joint":
                add("marginal_share", factor, value + 0.01, 0.02, 0.0)
        add("unique_share", "residual", 1 - sum(UNIQUE.values()), 0.02, np.nan)
        shares = np.arange(1, 65.0) ** -(1 + moved)
        spectra.append(
            pd.DataFrame(
                {**{name: [value] * 64 for name, value in key.items()}, "measure": "variance_share",
                 "component": np.arange(1, 65), "value": shares / shares.sum()}
            )
        )  # fmt: skip
    return {"geometry": pd.DataFrame(rows), "geometry_spectrum": pd.concat(spectra, ignore_index=True)}
