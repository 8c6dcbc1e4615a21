"""What figures need of a tidy table: its columns checked, its layers and steps in order, its rows picked.

Shared conventions: a layer is a string ('0'..'N', 'final'); the row of an acoustic feature set has the
layer 'functionals' and neither a checkpoint nor a step.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pandas as pd

from ser_probe.errors import AnalysisError, NothingToDrawError, show

FUNCTIONALS = "functionals"
POOLED = "all"
"""The `corpus` of rows over the clips of all corpora, in a table that also has rows of each corpus."""
NO_STEP = -1
"""The step given to representations whose files name none."""
_CONTROLS_WITH_STEP = ("none", "shuffled_labels", "shuffled_clips")
"""What `control` says in the rows of a checkpoint's layers; other controls have no step and belong to all of them."""
_SWAP = {f"{name}_{a}": f"{name}_{b}" for name in ("model", "checkpoint", "step", "layer") for a, b in ("ab", "ba")}
"""Names of columns when the two sides of a comparison change places."""


def layer_order(names: Iterable[object]) -> list[str]:
    """Return layer names without repeats in the order of the network: 0, 1, ..., 10, other names, final."""

    def position(name: str) -> tuple[int, int, str]:
        if re.fullmatch(r"\d+", name):
            return (0, int(name), "")
        return (2 if name == "final" else 1, 0, name)

    return sorted({str(name) for name in names}, key=position)


def step_order(steps: Iterable[float]) -> list[int]:
    """Return the fine-tuning steps without repeats, ascending, leaving out rows that have none."""
    return sorted({int(step) for step in steps if not pd.isna(step)})


def first_and_last(steps: Sequence[int]) -> list[int]:
    """Return the first and the last of these steps; one where there is only one."""
    return list(dict.fromkeys([steps[0], steps[-1]])) if steps else []


def step_name(step: int) -> str:
    """Return a step as a legend lists it."""
    return "none" if step == NO_STEP else str(step)


def at_step(step: int) -> str:
    """Return a step as the title of a panel."""
    return "no step" if step == NO_STEP else f"step {step}"


def with_steps(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which all representations have a step, so that they can be drawn.

    Embeddings that no training of ours made name no step, and acoustic features alone are a representation like any
    other: both are given `NO_STEP`, and features the name of their set in the place of a layer's. Features beside the
    layers of a model, and the controls, stay as they are.
    """
    if "layer_a" in table:
        for side in "ab":
            table = _side_with_steps(table, side)
        return table
    if not {"step", "layer"} <= set(table):
        return table
    scores = pd.Series(True, index=table.index)
    if "control" in table:
        scores = table["control"].isin(_CONTROLS_WITH_STEP)
    layers = scores & (table["layer"].astype(str) != FUNCTIONALS)
    if not layers.any() and scores.any() and "model" in table:
        names = table["model"].astype(str)
        table = table.assign(layer=names.where(scores, table["layer"].astype(str)))
        layers = scores
    without_step = layers & table["step"].isna()
    if not without_step.any() or (layers & ~without_step).any():
        return table
    return table.assign(step=table["step"].astype(float).mask(without_step, NO_STEP))


def _side_with_steps(table: pd.DataFrame, side: str) -> pd.DataFrame:
    """Return comparisons in which all layers of one side have a step; features have none."""
    step = table[f"step_{side}"].astype(float)
    without_step = step.isna() & ~table[f"layer_{side}"].astype(str).str.startswith(FUNCTIONALS)
    return table.assign(**{f"step_{side}": step.mask(without_step, NO_STEP)})


def has_corpora(table: pd.DataFrame) -> bool:
    """Tell whether a table holds rows of all corpora pooled as well as of each corpus."""
    return "corpus" in table and bool((table["corpus"] == POOLED).any()) and table["corpus"].nunique() > 1


def pooled_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of all corpora pooled; the whole table where corpora are not told apart."""
    return table[table["corpus"] == POOLED] if has_corpora(table) else table


def by_corpus(
    table: pd.DataFrame, columns: Sequence[str], *, sort: bool = False
) -> Iterator[tuple[dict[str, str], tuple[Any, ...], pd.DataFrame]]:
    """Yield the rows of each combination of columns, of all corpora pooled and of each corpus.

    Returns:
        The corpus, where there are several, then the values of the columns, then the rows.
    """
    parts: list[tuple[dict[str, str], pd.DataFrame]] = [({}, table)]
    if has_corpora(table):
        corpora = table.groupby("corpus", sort=False)
        parts = [({"corpus": "all, pooled" if name == POOLED else str(name)}, rows) for name, rows in corpora]
    for corpus, rows in parts:
        for values, group in rows.groupby(list(columns), sort=sort):
            yield corpus, values, group


def need(table: pd.DataFrame, columns: Sequence[str], what: str) -> pd.DataFrame:
    """Return the table if it has rows and these columns.

    Raises:
        AnalysisError: If it is empty or lacks a column.
    """
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise AnalysisError(
            f"The {what} table lacks columns that its figure is drawn from",
            expected=", ".join(columns),
            found="without " + ", ".join(missing),
        )
    if table.empty:
        raise NothingToDrawError(
            f"The {what} table is empty: there is nothing to draw",
            fix="run the analysis that writes it, or leave the figure out",
        )
    return table


def pick(table: pd.DataFrame, what: str, **values: object) -> pd.DataFrame:
    """Return the rows whose columns have these values.

    Raises:
        AnalysisError: If a column is missing or no row is left.
    """
    need(table, list(values), what)
    chosen = table
    for column, value in values.items():
        rows = chosen[chosen[column] == value]
        if rows.empty:
            raise NothingToDrawError(
                f"The {what} table holds nothing to draw",
                expected=f"{column} = {show(value)}",
                found=", ".join(show(x) for x in chosen[column].drop_duplicates().head(8)),
            )
        chosen = rows
    return chosen


def encoder_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the layers of checkpoints, without acoustic features and controls that have no step."""
    return table[table["step"].notna() & (table["layer"] != FUNCTIONALS)]


def with_acoustics(similarity: pd.DataFrame) -> pd.DataFrame:
    """Return the comparisons of a layer with an acoustic feature set, the layer always on side `a`."""
    need(similarity, ["layer_a", "layer_b"], "similarity")
    acoustic_a, acoustic_b = similarity["layer_a"] == FUNCTIONALS, similarity["layer_b"] == FUNCTIONALS
    swapped = similarity[acoustic_a & ~acoustic_b].rename(columns=_SWAP)
    return pd.concat([similarity[acoustic_b & ~acoustic_a], swapped], ignore_index=True)


def between_layers(similarity: pd.DataFrame, step_a: int, step_b: int) -> pd.DataFrame:
    """Return the comparisons of one model's layers at two steps, `a` at `step_a` and `b` at `step_b`.

    A measure of similarity is symmetric, so a pair that was written once is returned both ways round.
    """
    columns = ["model_a", "step_a", "layer_a", "model_b", "step_b", "layer_b", "measure", "value"]
    need(similarity, columns, "similarity")
    pairs = similarity[similarity["model_a"] == similarity["model_b"]]
    both = pd.concat([pairs, pairs.rename(columns=_SWAP)], ignore_index=True)
    return both[(both["step_a"] == step_a) & (both["step_b"] == step_b)]


def variants(
    table: pd.DataFrame, keys: Sequence[str], *, named: Sequence[str] = ()
) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    """Yield one part of a table per combination of its keys, with the key values that tell the parts apart.

    A key that has only one value tells nothing and is left out of the names, unless it is in `named`. Rows that every
    part is compared with (acoustic features, the majority class) are added to each part they fit.
    """
    is_shared = pd.Series(False, index=table.index)
    if "layer" in table:
        is_shared |= table["layer"].astype(str) == FUNCTIONALS
    if "control" in table:
        is_shared |= table["control"] == "majority_class"
    rows, shared = table[~is_shared], table[is_shared]
    split_by = [key for key in keys if key in rows and (rows[key].nunique() > 1 or key in named)]
    if not split_by or rows.empty:
        yield {}, table
        return
    for values, part in rows.groupby(split_by, sort=False):
        names = {key: str(value) for key, value in zip(split_by, values, strict=True)}
        fitting = shared
        for key, value in zip(split_by, values, strict=True):
            if key not in ("model", "pooling", "layer"):
                fitting = fitting[(fitting[key] == value) | fitting[key].isna() | (fitting[key] == "")]
        yield names, pd.concat([part, fitting], ignore_index=True)


def clip_count(table: pd.DataFrame) -> str:
    """Return `n = 588 clips` where all rows agree on it, a range where they do not, nothing where unknown."""
    counts = pd.to_numeric(table["n"], errors="coerce").dropna() if "n" in table else pd.Series(dtype=float)
    if counts.empty:
        return ""
    low, high = int(counts.min()), int(counts.max())
    return f"n = {low} clips" if low == high else f"n = {low} to {high} clips"


def best_layers(probe: pd.DataFrame, measure: str) -> dict[int, str]:
    """Return per step the layer with the best mean score on the validation speakers, never on the test ones."""
    need(probe, ["step", "layer", "control", "split", "measure", "value"], "probe")
    rows = probe[(probe["control"] == "none") & (probe["split"] == "validation") & (probe["measure"] == measure)]
    rows = encoder_rows(rows)
    if rows.empty:
        return {}
    # In the order of the network, so that of equal layers the one nearest the input is taken.
    means = rows.pivot_table(index="step", columns="layer", values="value", aggfunc="mean")
    best = means.reindex(columns=layer_order(means.columns)).idxmax(axis="columns")
    return {int(step): str(layer) for step, layer in zip(best.index.astype(int), best, strict=True)}
