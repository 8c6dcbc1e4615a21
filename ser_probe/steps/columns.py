"""The columns of the clips that an analysis uses: its defaults if the clips have them, requested columns always."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ser_probe.config import AnalyzeConfig
from ser_probe.config.analyses import ANALYSES
from ser_probe.config.sections import Section
from ser_probe.data.columns import find_column
from ser_probe.errors import AnalysisError, did_you_mean
from ser_probe.runtime import SILENT, Progress


def say_without(analysis: str, names: Sequence[str], progress: Progress) -> None:
    """Report in a line the columns of its defaults that an analysis goes without."""
    if names:
        pronoun = "it" if len(names) == 1 else "them"
        progress.say(f"{analysis} without {', '.join(names)}: the clips do not have {pronoun}")


def say_without_intervals(analysis: str, clips: pd.DataFrame, progress: Progress) -> None:
    """Report that an analysis has no intervals over speakers, if the clips name none."""
    if "speaker" not in clips:
        progress.say(f"{analysis} without intervals over speakers: the clips have no column 'speaker'")


def named_columns(
    clips: pd.DataFrame, config: Section, key: str, *, made: tuple[str, ...] = (), progress: Progress = SILENT
) -> list[str]:
    """Return the columns that a key names and the clips have.

    A corpus need not have the columns of the defaults, such as the speakers' gender; columns that a user names must
    exist.

    Args:
        clips: The clips.
        config: The section of the analysis.
        key: The key, such as `analyze.umap.color`.
        made: Columns that the analysis makes itself.
        progress: Told of the columns that are left out.

    Raises:
        AnalysisError: If a column is asked for, beyond the defaults, that the clips do not have.
    """
    field = key.rpartition(".")[2]
    names: tuple[str, ...] = getattr(config, field)
    # Compared by value: a study's resolved config spells its defaults out, and must run as the study did.
    by_default = names == type(config).model_fields[field].default
    names = tuple(dict.fromkeys(find_column(name, clips.columns) or name for name in names))
    for name in names:
        if not by_default and name not in clips and name not in made:
            raise AnalysisError(
                f"The clips have no column {name!r}",
                where=key,
                fix=did_you_mean(name, map(str, clips.columns)),
            )
    present = [name for name in names if name in clips or name in made]
    say_without(key.split(".")[1], [name for name in names if name not in present], progress)
    return present


def check_columns(clips: pd.DataFrame, analyze: AnalyzeConfig) -> None:
    """Raise early what would otherwise fail only when an analysis runs.

    Raises:
        AnalysisError: If an analysis is asked for by a column that the clips do not have.
    """
    for name, options in analyze.wanted().items():
        for field in ANALYSES[name].columns:
            named_columns(clips, options, f"analyze.{name}.{field}")
