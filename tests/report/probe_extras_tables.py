"""Synthetic tables with the schemas that the extras of the probes write."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd

_KEYS = {"corpus": "emovo", "model": "wavlm-large", "run_seed": 0, "pooling": "mean", "target": "label",
         "feature": "embedding"}  # fmt: skip
_CLASSES = ("anger", "joy", "sadness")


def probe_extras_tables(layers: Sequence[str], steps: Sequence[int]) -> dict[str, pd.DataFrame]:
    """Code lengths, curves, transfer within a study and between two corpora, and directions."""
    depth = dict(zip(layers, np.linspace(0, 1, len(layers)), strict=True))
    late = {step: i / max(1, len(steps) - 1) for i, step in enumerate(steps)}
    lengths = [
        dict(layer=layer, step=step, checkpoint=f"step-{step}", measure="compression", order_seed=seed, n=588,
             value=1 + depth[layer] * (0.3 + late[step]) + 0.02 * seed, uniform_bits=1650.0, frequency_bits=1500.0,
             ceiling=4.0)
        for layer, step, seed in product(layers, steps, range(3))
    ]  # fmt: skip
    curve = [
        dict(layer=layer, step=step, checkpoint=f"step-{step}", measure="uar", by=by, fraction=share, n=98,
             value=0.2 + 0.4 * share**0.5 * (1 + late[step]) / 2, sd_over_draws=np.nan if share == 1 else 0.03,
             train_clips=round(196 * share), train_speakers=4.0)
        for layer, step, by, share in product(layers, steps, ("speakers", "clips"), (0.25, 0.5, 1.0))
    ]  # fmt: skip
    transfer = [
        dict(layer=layer, step=b, checkpoint=f"step-{b}", trained_step=a, tested_step=b, trained_on=f"step-{a}",
             tested_on=f"step-{b}", alignment=alignment, measure="uar", n=98, own_value=0.5 + 0.2 * late[b],
             value=0.5 + 0.2 * late[b] - 0.4 * abs(late[a] - late[b]) * depth[layer] * loss)
        for layer, a, b, (alignment, loss) in product(
            layers, steps, steps, (("none", 1.0), ("scaled", 0.6), ("rotated", 0.1))
        )
        if alignment == "none" or a != b
    ]  # fmt: skip
    directions = [
        {"layer": layer, "step_a": a, "step_b": b, "checkpoint_a": f"step-{a}", "checkpoint_b": f"step-{b}", "n": 196,
         "class": name, "measure": "cosine", "value": 0.6 - 0.4 * (late[b] - late[a]) * depth[layer], "ceiling": 0.6,
         "null": 0.15, "null_isotropic": 0.1}
        for layer, a, b, name in product(layers, steps, steps, _CLASSES)
        if a <= b
    ]  # fmt: skip
    corpora = [
        dict(layer=layer, step=step, checkpoint=f"step-{step}", trained_on=a, tested_on=b, measure="uar", n=98,
             value=0.7 if a == b else 0.4 + 0.1 * depth[layer])
        for layer, step, a, b in product(layers, steps, ("emodb", "emovo"), ("emodb", "emovo"))
    ]  # fmt: skip
    rows = {
        "probe_description_length": lengths, "probe_curve": curve, "probe_transfer": transfer,
        "probe_directions": directions, "probe_corpus_transfer": corpora,
    }  # fmt: skip
    return {name: pd.DataFrame(each).assign(**_KEYS, family="linear") for name, each in rows.items()}
