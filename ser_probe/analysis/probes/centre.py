"""Where in the network a target is read: one number for a curve over layers.

Both numbers are depths, counted in layers. They say where, not how well, and need scores clearly above the control:
otherwise the centre of gravity is noise around the middle and the expected layer noise near the input.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def layer_positions(layers: Sequence[str]) -> np.ndarray:
    """Return the depth of each layer, float [L]: numbered ones by their number, `final` one below the last of them.

    Layers with other names count by their place in the list.
    """
    numbers = [int(layer) if layer.isdecimal() else None for layer in layers]
    if all(number is None for number in numbers):
        return np.arange(len(layers), dtype=float)
    deepest = max(number for number in numbers if number is not None)
    return np.array([deepest + 1 if number is None else number for number in numbers], dtype=float)


def centre_of_gravity(gains: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return the mean depth of what is read: sum of depth x gain / sum of gains.

    A gain is a layer's score above its control; layers below their control count as 0. Scaling all gains changes
    nothing. A target that every layer reads equally well has its centre in the middle.

    Args:
        gains: [..., L].
        positions: Depths, [L].

    Returns:
        [...], between the first and the last depth; NaN where no layer gains anything.
    """
    weights = np.maximum(gains, 0)
    total = weights.sum(axis=-1)
    with np.errstate(invalid="ignore"):
        return (weights * positions).sum(axis=-1) / np.where(total > 0, total, np.nan)  # type: ignore[no-any-return]


def expected_layer(scores: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return the mean depth at which the score improves on all layers before (Tenney et al. 2019, equations 4 and 5).

    The gain of a layer is what the best score so far rises by. The paper's probes see layers 0 to l, so that its scores
    rise by themselves; the best score so far stands for them here, where a probe sees one layer. Unchanged by adding to
    all scores and by scaling them. The first layer's own score is not counted, as in the paper.

    Args:
        scores: [..., L], in the order of the network.
        positions: Depths, [L].

    Returns:
        [...], NaN where no layer is better than the first.
    """
    gains = np.diff(np.maximum.accumulate(scores, axis=-1), axis=-1)
    total = gains.sum(axis=-1)
    with np.errstate(invalid="ignore"):
        return (gains * positions[1:]).sum(axis=-1) / np.where(total > 0, total, np.nan)  # type: ignore[no-any-return]
