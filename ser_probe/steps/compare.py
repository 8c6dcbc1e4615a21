"""The verb `compare`: is one model better than another on the same clips? Paired tests over speakers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ser_probe.analysis.paired import compare_classifiers, compare_numbers
from ser_probe.analysis.paired_wording import describe_comparison
from ser_probe.analysis.stats.typeset import latex_table
from ser_probe.errors import AnalysisError, ConfigError, show
from ser_probe.files import write_json, write_text
from ser_probe.names.measures import SCORES
from ser_probe.output_paths import check_output_folder
from ser_probe.report.comparison.figures import write_comparison_figures
from ser_probe.runtime import SILENT, Progress, run_record
from ser_probe.steps.compared_predictions import JoinedPredictions, join_predictions, read_predictions
from ser_probe.steps.evaluation_tables import clip_speakers, corpus_sets, prediction
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.tables import write_table

NAME = "comparison"
COLUMNS = {
    "corpus": "corpus", "target": "target", "model_a": "model A", "model_b": "model B", "measure": "measure",
    "score_a": "A", "score_b": "B", "value": "A - B", "ci_low": "95 % from", "ci_high": "to", "p": "p",
    "p_holm": "p (Holm)", "p_mcnemar": "p (McNemar, clips)", "n": "clips", "n_speakers": "speakers",
}  # fmt: skip
"""The columns of the table for a paper, and their headings."""


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    Attributes:
        outcome: Files and facts.
        table: A row per corpus, target, pair of models and measure.
        sentences: The results in words, a sentence per pair.
    """

    outcome: Outcome
    table: pd.DataFrame
    sentences: list[str]


def compare_evaluations(
    places: Sequence[Path],
    output: Path,
    *,
    names: Sequence[str] = (),
    resamples: int = 1000,
    seed: int = 0,
    figures: bool = True,
    progress: Progress = SILENT,
) -> Comparison:
    """Compare every two of several evaluated models on the clips that all of them predicted: the whole verb.

    Args:
        places: Folders of evaluations, or files of predictions.
        output: Folder of the tables and figures.
        names: Names of the models, in the same order; by default those of their evaluations.
        resamples: Resamples of the speakers for the intervals.
        seed: Seed of the resamples and of drawn swaps.
        figures: Whether to draw.
        progress: Told of what was left out.

    Raises:
        AnalysisError: If there are no predictions, models predict different things or other clips, or a clip's truth
            is not the same.
        ConfigError: If the output is a file, or there are too few resamples.
    """
    check_output_folder(output)
    if resamples < 100:
        raise ConfigError("Intervals need resamples", where="--resamples", expected="100 or more", found=resamples)
    models = read_predictions(places, names)
    joined = join_predictions(models)
    for name, count in joined.left_out.items():
        progress.say(f"{name}: {count} clips are left out, which the others have not, or whose truth is unknown")
    table = _compare(joined, resamples, seed)
    for line in _remarks(table):
        progress.say(line)
    files = write_table(table, output, NAME)
    caption = "Differences of scores with 95 % intervals over speakers; p by swaps of whole speakers."
    write_text(output / f"{NAME}.tex", latex_table(_named(table), COLUMNS, caption=caption, label=f"tab:{NAME}"))
    sentences = describe_comparison(table)
    write_text(output / f"{NAME}.md", "\n\n".join(sentences) + "\n")
    drawn = write_comparison_figures(table, output / "figures") if figures else []
    record = {
        "models": [{"name": model.name, "predictions": str(model.path)} for model in models],
        "left_out": joined.left_out, "options": {"resamples": resamples, "seed": seed}, **run_record("cpu"),
    }  # fmt: skip
    write_json(output / f"{NAME}.json", record)
    written = (*drawn, *(output / f"{NAME}{suffix}" for suffix in (".json", ".md", ".tex")), *files)
    facts: dict[str, object] = {"clips of all models": len(joined.clips)}
    facts |= {f"clips of {name} left out": count for name, count in joined.left_out.items()}
    return Comparison(Outcome(written, facts), table, sentences)


def _compare(joined: JoinedPredictions, resamples: int, seed: int) -> pd.DataFrame:
    """Return the rows of each corpus, and of several together."""
    tables = []
    options: dict[str, Any] = {"n_resamples": resamples, "seed": seed}
    for corpus, rows in corpus_sets(joined.clips, ("corpus",)):
        chosen, speakers = rows.index.to_numpy(), clip_speakers(rows)
        if joined.targets:
            for target in joined.targets:
                known = rows[target].notna().to_numpy()
                if known.any():
                    values = _chosen(joined.values(prediction(target)), chosen[known])
                    known_speakers = None if speakers is None else speakers[known]
                    numbers = compare_numbers(rows[target].to_numpy(float)[known], values, known_speakers, **options)
                    tables.append(numbers.assign(corpus=corpus, target=target))
            continue
        classes = _classes(joined)
        answers = _chosen(joined.values("predicted"), chosen)
        codes = {name: _codes(classes, values) for name, values in answers.items()}
        labels = _codes(classes, rows["label"].to_numpy(str))
        tables.append(compare_classifiers(labels, codes, len(classes), speakers, **options).assign(corpus=corpus))
    return pd.concat(tables, ignore_index=True)


def _named(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(measure=[SCORES[name].brief for name in table["measure"]])


def _chosen(values: Mapping[str, np.ndarray], places: np.ndarray) -> dict[str, np.ndarray]:
    return {name: array[:, places] for name, array in values.items()}


def _classes(joined: JoinedPredictions) -> list[str]:
    """Return the classes that occur or are predicted; others change no score."""
    predicted = [values.astype(str) for values in joined.values("predicted").values()]
    occurring = {*joined.clips["label"].astype(str), *(name for values in predicted for name in np.unique(values))}
    if joined.classes and (unknown := sorted(occurring - {*joined.classes})):
        raise AnalysisError(
            "The predictions hold a label that is no class of the models",
            expected=", ".join(joined.classes),
            found=", ".join(map(show, unknown)),
            fix="evaluate again with a label map",
        )
    return sorted(occurring)


def _codes(classes: Sequence[str], values: np.ndarray) -> np.ndarray:
    return np.searchsorted(np.array(classes, dtype=str), values.astype(str))


def _remarks(table: pd.DataFrame) -> list[str]:
    """Return remarks on the data that a reader of the tests needs."""
    lines = []
    if (table["n_speakers"] == 0).any():
        lines.append("the speakers are not known of all clips: no interval and no test over speakers")
    smallest = table.loc[table["n_speakers"] > 0].drop_duplicates("corpus")
    lines += [
        f"{row['corpus']}: with {row['n_speakers']} speakers no p can be below {row['smallest_p']:.3g}; at 0.05 no "
        "difference can be found, however large"
        for row in smallest[smallest["smallest_p"] >= 0.05].to_dict("records")
    ]
    if (table["n_runs_a"] != table["n_runs_b"]).any():
        lines.append("models have different numbers of runs: only UAR and accuracy have a p between them")
    return lines
