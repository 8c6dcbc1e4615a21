"""Synthetic tables of the analysis `probe` beside its scores, shaped like a real study's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

Tables = dict[str, pd.DataFrame]

CLASSES = ("anger", "disgust", "fear", "happiness", "neutral", "sadness")


def _place(step: float, layer: str, **own: object) -> dict[str, object]:
    return {
        "corpus": "emovo", "model": "wavlm-large", "run_seed": 0, "checkpoint": f"step-{step}", "step": step,
        "layer": layer, "pooling": "mean", "feature": "embedding", "target": "label", "family": "linear",
        "divided_by": "speaker", "shares_speakers": False, "control": "none", "split": "test", "n": 84,
        "n_speakers": 12, **own,
    }  # fmt: skip


def probe_tables(layers: Sequence[str], steps: Sequence[int]) -> Tables:
    """All of them, of a probe that gains with depth and with fine-tuning; the deepest layers significantly."""
    depths = dict(zip(layers, np.linspace(0, 1, len(layers)), strict=True))
    progress = {step: i / max(1, len(steps) - 1) for i, step in enumerate(steps)}
    rows: dict[str, list[dict[str, object]]] = {}

    def add(table: str, value: float, half: float, **own: object) -> None:
        ends = {"value": value, "ci_low": value - half, "ci_high": value + half}
        rows.setdefault(table, []).append({**own, **ends})

    for step, done in progress.items():
        for layer, depth in depths.items():
            gain = 0.3 * done * depth
            here = _place(step, layer)
            add("probe_summary", 0.2 + gain, 0.08, **here, measure="selectivity_uar")
            add("probe_summary", 0.4 + gain, 0.08, **here, measure="uar")
            add("probe_layer_weights", 1 / len(layers), 0.0, **here, measure="layer_weight", std_over_seeds=0.01)
            if step > min(steps):
                change: dict[str, object] = {"measure": "uar", "reference": "step-0", "reference_step": 0.0}
                p = 0.001 if depth > 0.5 else 0.4
                change |= {"p": p, "p_holm": min(1.0, 5 * p), "smallest_p": 2.0**-11}
                add("probe_changes", gain, 0.1, **here, **change, before=0.4, after=0.4 + gain)
            for k, name in enumerate(CLASSES):
                add("probe_classes", 0.3 + 0.06 * k + gain, 0.1, **here, measure="recall", **{"class": name})
            for true in CLASSES if layer == layers[-1] else ():
                for predicted in CLASSES:
                    share = 0.3 + gain if true == predicted else (0.7 - gain) / 5
                    add("probe_confusion", np.nan, np.nan, **here, true=true, predicted=predicted, share=share,
                        count=14 * share, chosen=True)  # fmt: skip
            for target in ("arousal", "valence"):
                own = {**here, "target": target, "family": "ridge", "measure": "r2"}
                for split in ("validation", "test"):
                    add("probe_numbers", 0.1 + gain, 0.1, **{**own, "split": split})
        for measure in ("centre_of_gravity", "expected_layer"):
            ends = {"first_layer": 0.0, "last_layer": len(layers) - 1.0}
            add("probe_centre", 1 + done, 0.5, **_place(step, "", measure=measure, **ends))
    pair = {"corpus": "emovo", "target": "label", "family": "linear", "model_a": "wavlm-large", "model_b": "eGeMAPSv02"}
    pair |= {"step_a": float(max(steps)), "step_b": np.nan, "layer_a": layers[-1], "layer_b": "functionals", "n": 84}
    for measure in ("uar", "macro_f1", "accuracy"):
        add("probe_models", 0.3, 0.1, **pair, measure=measure, score_a=0.7, score_b=0.4, p=0.01, p_holm=0.01,
            n_speakers=12)  # fmt: skip
    acoustic = _place(np.nan, "functionals", model="eGeMAPSv02", measure="selectivity_uar")
    add("probe_summary", 0.25, 0.08, **acoustic)
    return {name: pd.DataFrame(own) for name, own in rows.items()}
