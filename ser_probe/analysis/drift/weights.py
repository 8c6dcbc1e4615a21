"""Drift in weight space: how far the weights of each part of a model have moved, and in which direction they go on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from ser_probe.errors import AnalysisError

COLUMNS = ["state", "against", "layer", "measure", "value", "n"]


class _Part:
    """Sums over the weights of one part of a model, at T states."""

    def __init__(self, n_states: int) -> None:
        self.n = 0
        self.squares = np.zeros(n_states)  # |W_t|^2
        self.from_first = np.zeros(n_states)  # |W_t - W_0|^2
        self.steps = np.zeros(n_states)  # |W_t - W_t-1|^2
        self.turns = np.zeros(n_states)  # <W_t - W_t-1, W_t-1 - W_t-2>

    def add(self, states: Sequence[np.ndarray]) -> None:
        # Flat float64: sums of millions of squares in float32 lose digits.
        first = before = np.asarray(states[0], np.float64).ravel()
        last_update: np.ndarray | None = None
        self.n += first.size
        for place, state in enumerate(states):
            now = np.asarray(state, np.float64).ravel()
            update = now - before
            self.squares[place] += now @ now
            self.from_first[place] += (now - first) @ (now - first)
            self.steps[place] += update @ update
            if last_update is not None and place > 1:
                self.turns[place] += update @ last_update
            before, last_update = now, update


def weight_drift(tensors: Iterable[tuple[str, Sequence[np.ndarray]]], n_states: int) -> pd.DataFrame:
    """Measure how far the weights of each part have moved at each state.

    - `relative_change`, from 0 without end: |W_t - W| / |W| (Frobenius norm over all weights of the part), with W those
      of the first state, or of the one before. It counts every weight alike, whatever it does to the output; weights
      that a layer norm rescales again may move without any effect.
    - `update_cosine`, in [-1, 1]: the cosine between the last update W_t - W_t-1 and the one before. Near 1 the weights
      keep their direction, near 0 each stretch of training moves in a new one, below 0 it undoes the last one. From
      the third state on; NaN where a part did not move.

    Args:
        tensors: Name of the part, and one tensor of it at each state; a part has many. Taken one at a time.
        n_states: Number of states, T.

    Returns:
        A row per state, reference (`against` first or previous), part (`layer`) and measure; `n` counts its weights.

    Raises:
        AnalysisError: If the weights are not finite.
    """
    parts: dict[str, _Part] = {}
    for name, states in tensors:
        parts.setdefault(name, _Part(n_states)).add(states)
    rows: list[tuple[int, str, str, str, float, int]] = []
    for name, part in parts.items():
        if not np.isfinite(part.squares).all():
            place = int(np.argmin(np.isfinite(part.squares)))
            raise AnalysisError("Weights are NaN or infinite", where=f"{name} of state {place}", found="no finite norm")
        for place in range(n_states):
            moved = _ratio(part.from_first[place], part.squares[0])
            rows.append((place, "first", name, "relative_change", moved, part.n))
            if place > 0:
                moved = _ratio(part.steps[place], part.squares[place - 1])
                rows.append((place, "previous", name, "relative_change", moved, part.n))
            if place > 1:
                lengths = np.sqrt(part.steps[place] * part.steps[place - 1])
                cosine = float(np.clip(part.turns[place] / lengths, -1, 1)) if lengths > 0 else np.nan
                rows.append((place, "previous", name, "update_cosine", cosine, part.n))
    return pd.DataFrame(rows, columns=COLUMNS)


def _ratio(over: float, under: float) -> float:
    """Return the root of a ratio of sums of squares; infinite for weights that were zero and have moved."""
    if under > 0:
        return float(np.sqrt(over / under))
    return 0.0 if over == 0 else float("inf")
