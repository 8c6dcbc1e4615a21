"""Synthetic tables with the schema that the analysis `acoustics` writes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

MODEL = "wavlm-large"
FUNCTIONALS = {
    "F0semitoneFrom27.5Hz_sma3nz_amean": "frequency",
    "F0semitoneFrom27.5Hz_sma3nz_pctlrange0-2": "frequency",
    "loudness_sma3_percentile20.0": "energy",
    "equivalentSoundLevel_dBp": "energy",
    "slopeUV500-1500_sma3nz_amean": "spectral",
    "mfcc4V_sma3nz_stddevNorm": "spectral",
    "StddevUnvoicedSegmentLength": "temporal",
}
FLAGS = {"mfcc4V_sma3nz_stddevNorm": "few clips decide", "equivalentSoundLevel_dBp": "constant"}


def acoustics_tables(layers: Sequence[str], steps: Sequence[int]) -> dict[str, pd.DataFrame]:
    """Later layers lose the first functionals and gain the last ones; controls and CKA stand beside."""
    tables: dict[str, list[dict[str, object]]] = {
        name: [] for name in ("acoustics", "acoustics_changes", "acoustics_groups")
    }

    def key(step: float, layer: str) -> dict[str, object]:
        named = "" if np.isnan(step) else f"step-{int(step)}"
        return dict(corpus="emovo", model=MODEL, run_seed=0, checkpoint=named, step=step, layer=layer, pooling="mean",
                    n=588, n_speakers=15)  # fmt: skip

    def numbers(value: float) -> dict[str, float]:
        return dict(value=value, ci_low=value - 0.05, ci_high=value + 0.05)

    depth = dict(zip(layers, np.linspace(0, 1, len(layers)), strict=True))
    for step in steps:
        for layer, d in depth.items():
            for place, (name, group) in enumerate(FUNCTIONALS.items()):
                flag, moved = FLAGS.get(name, ""), (place - 3) / 8 * d * step / max(steps)
                named = key(step, layer) | dict(feature=name, group=group, flag=flag)
                value = np.nan if flag == "constant" else 0.1 * place + moved
                for measure in ("r2", "r2_within"):
                    tables["acoustics"].append(named | dict(measure=measure, control="none") | numbers(value))
            for group in ("all", "frequency", "energy", "spectral", "temporal"):
                for measure in ("r2", "r2_within", "cka_debiased"):
                    row = key(step, layer) | dict(group=group, measure=measure, n_features=20)
                    tables["acoustics_groups"].append(row | dict(control="none") | numbers(0.4 - 0.2 * d))
                    tables["acoustics_groups"].append(row | dict(control="shuffled_clips") | numbers(-0.02))
    for layer in layers:
        row = key(np.nan, layer) | dict(group="all", measure="r2", n_features=20, control="random_weights")
        tables["acoustics_groups"].append(row | numbers(0.2))
    row = key(np.nan, "") | dict(group="all", measure="r2", n_features=20, control="gender_only")
    tables["acoustics_groups"].append(row | numbers(0.1))
    for step in steps[1:]:
        for place, (name, group) in enumerate(FUNCTIONALS.items()):
            if FLAGS.get(name) != "constant":
                for measure in ("r2", "r2_within"):
                    row = key(step, "mean") | dict(feature=name, group=group, flag=FLAGS.get(name, ""), measure=measure)
                    p = 0.001 if place == 0 else 0.4
                    tables["acoustics_changes"].append(row | numbers((place - 3) / 8) | dict(p=p, p_holm=p))
    return {name: pd.DataFrame(rows) for name, rows in tables.items()}
