"""From a run's probabilities to the tables of its evaluation, by corpus and group."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ser_probe.analysis.calibration import reliability_table, top_label
from ser_probe.analysis.evaluation import (
    SpeakerBootstrap,
    average_confusion,
    confusion_table,
    score_classes,
    score_distributions,
    score_each_class,
    score_numbers,
    split_groups,
    summarise_runs,
)
from ser_probe.config.evaluation import EvaluateConfig
from ser_probe.models.targets import DISTRIBUTION, Targets
from ser_probe.steps.evaluated_clips import EvaluatedClips
from ser_probe.steps.trained_runs import TrainedRun

_CLIP_COLUMNS = ("corpus", "clip_id", "path", "speaker", "gender", "corpus_label", "label")
_RUN_COLUMNS = ("model", "run_seed", "checkpoint", "step")
_HEADLINE_KEYS = ("corpus", "group_by", "group", "target")
HEADLINES = ("accuracy", "uar", "macro_f1", "ece", "kl_divergence", "ccc", "rmse")


def probability(name: str) -> str:
    """Return the column of a class's probability in the table of predictions."""
    return f"p({name})"


def prediction(name: str) -> str:
    """Return the column of a numeric target's prediction; its true value stands under the target's own name."""
    return f"predicted({name})"


def share(name: str) -> str:
    """Return the column of a class's true share, where clips have a distribution of labels."""
    return f"share({name})"


def tabulate_predictions(run: TrainedRun, clips: EvaluatedClips, targets: Targets, values: np.ndarray) -> pd.DataFrame:
    """Return a run's predictions, a row per clip that could be decoded.

    Args:
        run: Which run.
        clips: The clips, N.
        targets: What is predicted, K names.
        values: Probabilities, or values of the numeric targets, [N, K]; NaN where a clip could not be decoded.
    """
    table = clips.clips.table
    kept = [name for name in dict.fromkeys([*_CLIP_COLUMNS, *clips.by]) if name in table]
    columns: dict[str, Any] = {
        "model": run.model, "run_seed": run.run_seed, "checkpoint": run.name, "step": run.step,
        "model_path": str(run.model_path), **{name: table[name] for name in kept},
    }  # fmt: skip
    if targets.is_numeric:
        for k, name in enumerate(targets.names):
            if name in table:
                columns[name] = table[name]
            columns[prediction(name)] = values[:, k]
    else:
        if targets.kind == DISTRIBUTION:
            columns |= {share(name): table[name] for name in targets.names if name in table}
        # Clips without probabilities, whose argmax is meaningless, are dropped below.
        columns["predicted"] = np.array(targets.names, dtype=object)[np.argmax(values, axis=1)]
        columns |= {probability(name): values[:, k] for k, name in enumerate(targets.names)}
    predictions = pd.DataFrame(columns)[~np.isnan(values).any(axis=1)].reset_index(drop=True)
    # Whole numbers that may be missing.
    return predictions.astype({"run_seed": "Int64", "step": "Int64"})


def score_predictions(
    predictions: pd.DataFrame, targets: Targets, by: Sequence[str], config: EvaluateConfig
) -> dict[str, pd.DataFrame]:
    """Return the tables of one run: `scores`, and for classes `classes`, `confusion` and `reliability`.

    Args:
        predictions: From `tabulate_predictions`, of one run.
        targets: What is predicted.
        by: Columns whose values are scored apart; `corpus` is one.
        config: Bins, resamples and their seed.

    Returns:
        By name; without true values in the manifests there are none.
    """
    found: dict[str, list[pd.DataFrame]] = {}
    run = {name: predictions[name].iloc[0] for name in _RUN_COLUMNS}
    for corpus, rows in corpus_sets(predictions, by):
        columns = {name: _group_values(rows, name) for name in by if name != "corpus"}
        for group_by, group, chosen in split_groups(columns, len(rows)):
            keys = {"corpus": corpus, **run, "group_by": group_by, "group": group}
            for name, table in _score(rows[chosen], targets, config):
                found.setdefault(name, []).append(table.assign(**keys))
    tables = {name: pd.concat(parts, ignore_index=True) for name, parts in found.items()}
    return {name: table.astype({"run_seed": "Int64", "step": "Int64"}) for name, table in tables.items()}


def agreement_rows(predictions: pd.DataFrame, targets: Targets, by: Sequence[str]) -> pd.DataFrame:
    """Return true and predicted values as figures take them, a row per clip and numeric target with a true value.

    Args:
        predictions: From `tabulate_predictions`, of one or several runs.
        targets: Numeric targets.
        by: As in `score_predictions`.
    """
    parts = [
        rows[list(_RUN_COLUMNS)].assign(corpus=corpus, target=name, true=rows[name], predicted=rows[prediction(name)])
        for corpus, rows in corpus_sets(predictions, by)
        for name in targets.names
        if name in rows
    ]
    return pd.concat(parts, ignore_index=True).dropna(subset=["true"])


def summarise(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the tables over runs: `summary`, and for classes `class_summary` and `confusion_mean`."""
    makers = {
        "scores": ("summary", summarise_runs),
        "classes": ("class_summary", summarise_runs),
        "confusion": ("confusion_mean", average_confusion),
    }
    return {name: make(tables[source]) for source, (name, make) in makers.items() if source in tables}


def headline_scores(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return a row per corpus, group and numeric target with the measures of `HEADLINES`; empty without scores.

    Args:
        tables: `scores` and `summary`, if there are any.
    """
    if "scores" not in tables:
        return pd.DataFrame()
    scores, summary = tables["scores"], tables["summary"]
    several = int(summary["n_runs"].max()) > 1
    records = summary if several else scores

    def cells(record: Mapping[Any, Any]) -> dict[str, Any]:
        name = str(record["measure"])
        if several:
            return {name: record["mean"], f"{name}_std": record["std"]}
        return {name: record["value"], f"{name}_low": record["ci_low"], f"{name}_high": record["ci_high"]}

    keys = [name for name in _HEADLINE_KEYS if name in scores]
    return one_row_per_set(scores, records[records["measure"].isin(HEADLINES)], keys, cells)


def one_row_per_set(
    scores: pd.DataFrame, records: pd.DataFrame, keys: Sequence[str], cells: Callable[[Mapping[Any, Any]], Mapping]
) -> pd.DataFrame:
    """Return scores with a row per set of clips, in place of a row per measure.

    Args:
        scores: Rows of `scores`, for the numbers of clips and speakers.
        records: The rows to turn into cells.
        keys: Columns that name a set of clips.
        cells: Returns the cells of a row of `records`, by column.
    """
    counts: dict[Any, dict[Any, Any]] = (
        scores.drop_duplicates(list(keys)).set_index(list(keys))[["n", "n_speakers"]].to_dict("index")
    )
    rows: dict[Any, dict[str, Any]] = {}
    for record in records.to_dict("records"):
        key = tuple(record[name] for name in keys)
        row = rows.setdefault(key, {**dict(zip(keys, key, strict=True)), **counts[key]})
        row |= cells(record)
    return pd.DataFrame(list(rows.values()))


def corpus_sets(predictions: pd.DataFrame, by: Sequence[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield each corpus separately, if asked for, and several corpora together."""
    names = list(dict.fromkeys(predictions["corpus"]))
    if "corpus" in by or len(names) == 1:
        for name in names:
            yield name, predictions[predictions["corpus"] == name]
    if len(names) > 1:
        yield "+".join(names), predictions


def _score(rows: pd.DataFrame, targets: Targets, config: EvaluateConfig) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the tables of one set of clips, by name."""
    speakers = clip_speakers(rows)
    if targets.is_numeric:
        true = np.stack([_column(rows, name) for name in targets.names], axis=1)
        predicted = np.stack([_column(rows, prediction(name)) for name in targets.names], axis=1)
        scores = score_numbers(true, predicted, targets.names, speakers, n_resamples=config.resamples, seed=config.seed)
        if len(scores):
            yield "scores", scores
        return
    p = rows[[probability(name) for name in targets.names]].to_numpy(dtype=float)
    if "label" in rows:
        codes = pd.Index(targets.names).get_indexer(pd.Index(rows["label"]))
        people = SpeakerBootstrap(speakers, len(rows), n_resamples=config.resamples, seed=config.seed)
        yield "scores", score_classes(codes, p, len(targets.names), people, n_bins=config.bins)
        yield "classes", score_each_class(codes, p.argmax(axis=1), targets.names, people)
        yield "confusion", confusion_table(codes, p.argmax(axis=1), targets.names)
        yield "reliability", reliability_table(*top_label(p, codes), n_bins=config.bins)
    if all(share(name) in rows for name in targets.names):
        true = rows[[share(name) for name in targets.names]].to_numpy(dtype=float)
        total = true.sum(axis=1)
        known = (total > 0) & (true >= 0).all(axis=1)
        if known.any():
            people = SpeakerBootstrap(
                None if speakers is None else speakers[known], int(known.sum()),
                n_resamples=config.resamples, seed=config.seed,
            )  # fmt: skip
            yield "scores", score_distributions(true[known] / total[known, None], p[known], people)


def _group_values(rows: pd.DataFrame, name: str) -> np.ndarray:
    """Return the values of a column as text; speakers of several corpora are told apart by corpus."""
    values = rows[name].astype("object").fillna("").astype(str)
    if name == "speaker" and rows["corpus"].nunique() > 1:
        values = _people(rows["corpus"], values)
    return values.to_numpy()


def _people(corpora: pd.Series, speakers: pd.Series) -> pd.Series:
    """Return the corpus before each speaker's name, once, though a manifest of several corpora has it there already."""
    named = [
        f"{corpus}/{name.removeprefix(f'{corpus}/')}" if name else ""
        for corpus, name in zip(corpora, speakers, strict=True)
    ]
    return pd.Series(named, index=speakers.index, dtype=object)


def _column(rows: pd.DataFrame, name: str) -> np.ndarray:
    return rows[name].to_numpy(dtype=float) if name in rows else np.full(len(rows), np.nan)


def clip_speakers(rows: pd.DataFrame) -> np.ndarray | None:
    """Return each clip's speaker, told apart by corpus; None unless all are known."""
    if "speaker" not in rows or not rows["speaker"].fillna("").astype(bool).all():
        return None
    return _people(rows["corpus"], rows["speaker"]).to_numpy(dtype=str)
