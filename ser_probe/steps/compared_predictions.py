"""The predictions of several evaluations, joined on clip: the same clips, in the same order, of every model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ser_probe.data.parquet import read_parquet
from ser_probe.errors import AnalysisError, DamagedFileError, show
from ser_probe.models.model_names import shown_models

PREDICTIONS = "predictions.parquet"
_CLIP = ["corpus", "clip_id"]
_PROBABILITY, _NUMBER = re.compile(r"p\((.*)\)", re.DOTALL), re.compile(r"predicted\((.*)\)", re.DOTALL)
_SHOWN = 3


@dataclass(frozen=True, eq=False)
class Predictions:
    """The predictions of one model.

    Attributes:
        path: The file.
        name: Name of the model in tables.
        table: A row per clip and run: `corpus`, `clip_id`, `run_seed`, true and predicted values.
        classes: The classes, empty for numeric targets.
        targets: The numeric targets, empty for classes.
    """

    path: Path
    name: str
    table: pd.DataFrame
    classes: tuple[str, ...]
    targets: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class JoinedPredictions:
    """Several models on the same clips.

    Attributes:
        clips: The clips that all models have, N: `corpus`, `clip_id`, `speaker` if known, true values.
        runs: By model, the rows of each of its runs in the order of the clips.
        classes: The classes, empty for numeric targets.
        targets: The numeric targets, empty for classes.
        left_out: By model, its clips that some other model lacks.
    """

    clips: pd.DataFrame
    runs: dict[str, list[pd.DataFrame]]
    classes: tuple[str, ...]
    targets: tuple[str, ...]
    left_out: dict[str, int]

    def values(self, column: str) -> dict[str, np.ndarray]:
        """Return a column of each model and run, [S, N]."""
        return {name: np.stack([run[column].to_numpy() for run in runs]) for name, runs in self.runs.items()}


def read_predictions(places: Sequence[Path], names: Sequence[str] = ()) -> list[Predictions]:
    """Read the predictions of several models.

    Args:
        places: Folders of evaluations, or their files of predictions (Parquet or CSV).
        names: Names of the models, in the same order; by default those of their evaluations, with the checkpoint if
            that tells them apart.

    Raises:
        AnalysisError: If a file is missing or holds no predictions, or two models have one name.
    """
    if len(places) < 2:
        raise AnalysisError("A comparison needs two models at least", found=f"{len(places)} evaluation")
    if names and len(names) != len(places):
        raise AnalysisError(
            f"{len(names)} names are given for {len(places)} evaluations",
            found=", ".join(map(show, names)),
            fix="give each evaluation its --name, in their order, or none",
        )
    paths = [_find(place) for place in places]
    tables = [_read(path) for path in paths]
    chosen = list(names) or _names(tables, places)
    if repeated := sorted({name for name in chosen if chosen.count(name) > 1}):
        raise AnalysisError(
            "Two of the models have one name",
            where=", ".join(str(path) for path, name in zip(paths, chosen, strict=True) if name in repeated),
            found=", ".join(map(show, repeated)),
            fix="give each of them its --name, in their order",
        )
    return [_describe(path, name, table) for path, name, table in zip(paths, chosen, tables, strict=True)]


def join_predictions(models: Sequence[Predictions]) -> JoinedPredictions:
    """Return the predictions of all models for the clips that all have.

    Raises:
        AnalysisError: If they predict different things, no clip is in all, or a clip's truth is not the same.
    """
    first = models[0]
    for model in models[1:]:
        _refuse_other_targets(first, model)
    truth = first.targets or ("label",)
    tables = [_with_truth(model, truth) for model in models]
    shared = pd.MultiIndex.from_frame(tables[0].loc[_in_every_run(tables[0]), _CLIP].drop_duplicates())
    for table in tables[1:]:
        shared = shared[shared.isin(pd.MultiIndex.from_frame(table.loc[_in_every_run(table), _CLIP]))]
    if not len(shared):
        raise AnalysisError(
            "No clip is in all of the evaluations",
            where=", ".join(str(model.path) for model in models),
            found="; ".join(f"{_count(model.table)} clips of {_corpora(model.table)}" for model in models),
            fix="evaluate the same manifest with each model",
        )
    runs = {
        model.name: [run.set_index(_CLIP).loc[shared].reset_index() for _, run in table.groupby("run_seed")]
        for model, table in zip(models, tables, strict=True)
    }
    for model in models[1:]:
        _refuse_other_truth(model, runs[model.name][0], first, runs[first.name][0], truth)
    left_out = {model.name: _count(model.table) - len(shared) for model in models}
    return JoinedPredictions(
        runs[first.name][0], runs, first.classes, first.targets, {name: n for name, n in left_out.items() if n}
    )


def _find(place: Path) -> Path:
    path = place.expanduser()
    path = path / PREDICTIONS if path.is_dir() else path
    if not path.is_file():
        raise AnalysisError(
            "There are no predictions here",
            where=place,
            expected=f"a folder that `ser-probe evaluate` wrote, with {PREDICTIONS}, or such a file",
            fix="run `ser-probe evaluate RUN MANIFEST -o DIR` and give DIR",
        )
    return path


def _read(path: Path) -> pd.DataFrame:
    if path.suffix.lower() == ".csv":
        texts = {name: str for name in ("clip_id", "label", "predicted", "speaker", "corpus", "model", "checkpoint")}
        try:
            table = pd.read_csv(path, dtype=texts, keep_default_na=False, na_values={"run_seed": [""]})
        except ValueError as error:
            raise DamagedFileError(
                "The predictions cannot be read", where=path, expected="CSV as `ser-probe evaluate` writes it",
                found=" ".join(str(error).split()),
            ) from error  # fmt: skip
    else:
        table = read_parquet(path, fix="evaluate again")
    if "clip_id" not in table or not ("predicted" in table or any(map(_NUMBER.fullmatch, table.columns))):
        raise AnalysisError(
            "The file holds no predictions",
            where=path,
            expected="columns clip_id and predicted, or predicted(TARGET), as `ser-probe evaluate` writes them",
            found=", ".join(map(str, table.columns[:12])) or "no columns",
        )
    defaults: dict[str, Any] = {"corpus": "clips", "run_seed": -1, "checkpoint": ""}
    table = table.assign(**{name: value for name, value in defaults.items() if name not in table})
    table["run_seed"] = table["run_seed"].fillna(-1).astype("int64")
    twice = table.duplicated([*_CLIP, "run_seed"])
    if twice.any():
        raise AnalysisError(
            "A clip is predicted twice by one run",
            where=path,
            expected="the predictions of one model, a row per clip and seed",
            found=f"{int(twice.sum())} rows more, such as clip {table.loc[twice, 'clip_id'].iloc[0]}",
            fix="keep the predictions of one model in a file",
        )
    return table


def _names(tables: Sequence[pd.DataFrame], places: Sequence[Path]) -> list[str]:
    """Return the models' names in their evaluations; equal names with their folders, or else their checkpoints."""
    names = [_first_value(table, "model") or place.stem for table, place in zip(tables, places, strict=True)]
    paths = [_first_value(table, "model_path") or name for table, name in zip(tables, names, strict=True)]
    named = set(zip(names, paths, strict=True))
    several = {name for name in names if [pair[0] for pair in named].count(name) > 1}
    folders = shown_models(paths)
    shown = [folder if name in several else name for name, folder in zip(names, folders, strict=True)]
    steps = [", ".join(map(str, table["checkpoint"].unique()[:_SHOWN])) for table in tables]
    return [
        f"{name} {step}".strip() if shown.count(name) > 1 else name for name, step in zip(shown, steps, strict=True)
    ]


def _first_value(table: pd.DataFrame, column: str) -> str:
    """Return the first value of a column; the empty text if there is none."""
    return str(table[column].iloc[0]) if column in table and len(table) else ""


def _describe(path: Path, name: str, table: pd.DataFrame) -> Predictions:
    targets = tuple(match[1] for column in table.columns if (match := _NUMBER.fullmatch(column)))
    classes = tuple(match[1] for column in table.columns if (match := _PROBABILITY.fullmatch(column)))
    needed = targets or ("label",)
    if missing := [column for column in needed if column not in table]:
        raise AnalysisError(
            "The predictions have nothing to be compared with",
            where=path,
            expected=f"a column with the true values: {', '.join(needed)}",
            found="without " + ", ".join(missing),
            fix="evaluate manifests that have them",
        )
    return Predictions(path, name, table, () if targets else classes, targets)


def _refuse_other_targets(first: Predictions, second: Predictions) -> None:
    """Raise if two models predict different things; predictions without probabilities do not name their classes."""
    equal = set(first.targets) == set(second.targets)
    if first.classes and second.classes:
        equal = equal and set(first.classes) == set(second.classes)
    if not equal:
        raise AnalysisError(
            "The models do not predict the same, so that their scores cannot be compared",
            where=second.path,
            expected=f"{', '.join(first.targets or first.classes) or 'classes'}, as {first.name}",
            found=", ".join(second.targets or second.classes) or "classes",
            fix="compare models of the same classes or targets",
        )


def _with_truth(model: Predictions, truth: Sequence[str]) -> pd.DataFrame:
    """Return the rows whose truth is known: of classes a label, of numbers a value of some target."""
    table = model.table
    if model.targets:
        return table[table[list(truth)].notna().any(axis=1)]
    return table[table["label"].notna() & (table["label"].astype(str) != "")]


def _in_every_run(table: pd.DataFrame) -> pd.Series:
    return table.groupby(_CLIP)["run_seed"].transform("nunique") == table["run_seed"].nunique()


def _refuse_other_truth(
    model: Predictions, run: pd.DataFrame, first: Predictions, expected: pd.DataFrame, truth: Sequence[str]
) -> None:
    for name in truth:
        if model.targets:
            equal = np.isclose(run[name].astype(float), expected[name].astype(float), equal_nan=True)
        else:
            equal = (run[name].astype(str) == expected[name].astype(str)).to_numpy()
        if not equal.all():
            place = int(np.argmin(equal))
            raise AnalysisError(
                f"{int((~equal).sum())} clips have another {name} in another evaluation",
                where=f"{model.path}, such as clip {run['clip_id'].iloc[place]}",
                expected=f"{show(expected[name].iloc[place])}, as in {first.path}",
                found=show(run[name].iloc[place]),
                fix="evaluate with the same manifest and the same label map",
            )


def _count(table: pd.DataFrame) -> int:
    return len(table[_CLIP].drop_duplicates())


def _corpora(table: pd.DataFrame) -> str:
    return ", ".join(map(str, table["corpus"].unique()[:_SHOWN]))
