"""The headline table of the fine-tuned classifier, and its scores in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ser_probe.report.headline import Headline, interval_text
from ser_probe.report.measures import short_measure_name
from ser_probe.report.tables import need

_SHOWN = ("uar", "accuracy", "macro_f1", "ccc", "rmse", "kl_divergence", "ece")
_FIRST = ("uar", "ccc", "kl_divergence")
"""The measure that a sentence gives with its interval: for classes, for numbers, for distributions without labels."""
_COLUMNS = ["evaluated_on", "corpus", "step", "best", "group_by", "measure", "value", "ci_low", "ci_high", "n"]


def evaluation_headline(scores: pd.DataFrame) -> pd.DataFrame:
    """Return a row per set of clips, corpus, checkpoint and numeric target: how many clips, and the scores.

    Args:
        scores: The table `evaluation`.
    """
    rows: dict[tuple[Any, ...], dict[str, object]] = {}
    for record in _overall(scores).to_dict("records"):
        names = {"evaluated on": record["evaluated_on"], "corpus": record["corpus"]}
        if "target" in record:
            names["target"] = record["target"]
        step = f"{record['step']}, the best" if record["best"] else record["step"]
        key = (*names.values(), step)
        row = rows.setdefault(key, {**names, "step": step, "clips": record["n"], "speakers": record["n_speakers"]})
        if record["measure"] in _SHOWN:
            row[short_measure_name(str(record["measure"]))] = _with_interval(record)
    return pd.DataFrame(list(rows.values())).fillna("–")


def evaluation_sentences(scores: pd.DataFrame) -> dict[str, str]:
    """Return the scores of the chosen checkpoint in words, by the set of clips.

    Args:
        scores: The table `evaluation`.
    """
    sentences: dict[str, str] = {}
    overall = _overall(scores)
    for (on, corpus), rows in overall.groupby(["evaluated_on", "corpus"], sort=False):
        has_several_corpora = overall.loc[overall["evaluated_on"] == on, "corpus"].nunique() > 1
        chosen = rows[rows["step"] == chosen_step(rows)]
        text = f"{_scores(chosen)} on {_count(chosen)}, step {chosen_step(rows)}"
        if chosen_step(rows) == 0:
            text += " (an untrained head)"
        elif (untrained := rows[rows["step"] == 0]).shape[0]:
            text += f"; before training: {_scores(untrained, brief=True)}"
        sentences[f"{on} ({corpus})" if has_several_corpora else str(on)] = text
    return sentences


def chosen_step(table: pd.DataFrame) -> int:
    """Return the step whose scores are shown: the best one, or the last where that is not among them."""
    best = table.loc[table["best"].astype(bool), "step"]
    return int((best if len(best) else table["step"]).max())


def _overall(scores: pd.DataFrame) -> pd.DataFrame:
    need(scores, _COLUMNS, "evaluation")
    return scores[scores["group_by"] == "overall"]


def _scores(rows: pd.DataFrame, *, brief: bool = False) -> str:
    """Return scores of one checkpoint on one set of clips as text."""
    parts = []
    targets = list(dict.fromkeys(rows["target"])) if "target" in rows and rows["target"].notna().all() else [None]
    for target in targets:
        of_target = rows if target is None else rows[rows["target"] == target]
        records = {str(record["measure"]): record for record in of_target.to_dict("records")}
        if first := next((name for name in _FIRST if name in records), None):
            score = f"{records[first]['value']:.3f}" if brief else _with_interval(records[first])
            parts.append(f"{'' if target is None else f'{target} '}{short_measure_name(first)} {score}")
        others = [name for name in ("accuracy", "macro_f1") if name in records and not brief]
        parts += [f"{short_measure_name(name)} {records[name]['value']:.3f}" for name in others]
    return ", ".join(parts)


def _count(rows: pd.DataFrame) -> str:
    n, speakers = int(rows["n"].max()), int(rows["n_speakers"].max())
    who = f" of {speakers} speaker{'s' * (speakers != 1)}" if speakers else ""
    return f"{n} clip{'s' * (n != 1)}{who}"


def _with_interval(record: Mapping[Any, Any]) -> str:
    value = f"{record['value']:.3f}"
    interval = interval_text(record["ci_low"], record["ci_high"])
    return value if interval is None else f"{value} ({interval})"


EVALUATION_HEADLINE = Headline(
    "evaluation",
    "What the fine-tuned classifier reaches",
    "In brackets: 95 % intervals over speakers, none with fewer than three. The validation speakers chose the best "
    "step, which makes their scores look better than those of new speakers; step 0 is an untrained head, what chance "
    "gives.",
    lambda tables: evaluation_headline(tables["evaluation"]),
    lambda tables: [f"{on}: {text}." for on, text in evaluation_sentences(tables["evaluation"]).items()],
)
