"""The analysis `umap`, its colours by right and wrong: predictions as `evaluate` writes them, joined on clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ser_probe.data.parquet import read_parquet
from ser_probe.errors import AnalysisError, DamagedFileError

CORRECT, PREDICTED = "correct", "predicted"
_RIGHT, _WRONG, _MIXED = "right", "wrong", "right in some runs"


def join_predictions(path: Path, clip_ids: np.ndarray) -> dict[str, np.ndarray]:
    """Return what a classifier said of clips, in their order.

    Args:
        path: CSV or Parquet with `clip_id`, `label` and `predicted`; a row per clip and run.
        clip_ids: The clips [N].

    Returns:
        `correct` [N]: `right`, `wrong` or `right in some runs` (of several); `predicted` [N]: the class that most runs
        gave. None for a clip without a prediction.

    Raises:
        AnalysisError: If the file cannot be read, is not of classes, or predicts none of the clips.
    """
    table = _read(path)
    if missing := [name for name in ("clip_id", "label", PREDICTED) if name not in table]:
        raise AnalysisError(
            "The predictions do not say which clips are right",
            where=path,
            expected="columns clip_id, label and predicted, as `ser-probe evaluate` writes them for classes",
            found="without " + ", ".join(missing),
        )
    table = table[table["clip_id"].isin(set(clip_ids))]
    if table.empty:
        raise AnalysisError(
            "The predictions are of other clips",
            where=path,
            expected="clip ids of the embedding files",
            fix="evaluate the manifest that was extracted",
        )
    label, predicted = table["label"].astype(str), table[PREDICTED].astype(str)
    known = table["label"].notna()
    share = (label == predicted)[known].groupby(table["clip_id"][known]).mean().reindex(clip_ids)
    most = predicted.groupby(table["clip_id"]).agg(lambda own: own.value_counts().index[0]).reindex(clip_ids)
    correct = np.select([share.eq(1).to_numpy(), share.eq(0).to_numpy()], [_RIGHT, _WRONG], _MIXED).astype(object)
    correct[share.isna().to_numpy()] = None
    said = most.to_numpy(dtype=object)
    said[most.isna().to_numpy()] = None
    return {CORRECT: correct, PREDICTED: said}


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise AnalysisError("The predictions do not exist", where=path, fix="give DIR/predictions.csv of an evaluation")
    try:
        # Text stays text: the class '01' is not 1.
        return read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype=str)
    except (ValueError, OSError) as error:
        found = error.found if isinstance(error, DamagedFileError) else error
        raise AnalysisError("The predictions cannot be read as a table", where=path, found=found) from error
