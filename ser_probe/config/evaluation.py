"""What a fine-tuned classifier is scored on, and how labels are read: by the command, and in a study's `evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from ser_probe.config.document import Document, read_document
from ser_probe.config.sections import (
    Count,
    FilePath,
    Flag,
    Level,
    Name,
    Positive,
    Precision,
    Section,
    Seed,
    Split,
    Whole,
)
from ser_probe.errors import ConfigError, collect

ChosenSplits = Literal["auto", "all"] | Split | Annotated[tuple[Split, ...], Field(min_length=1)]
LabelMapping = dict[Name, Name | dict[Name, Name | None] | None]


class EvaluateConfig(Section):
    """Predictions of a fine-tuned classifier, and every score that a paper reports of them."""

    splits: ChosenSplits = "auto"
    """Clips to evaluate: those of some splits, `all`, or `auto`: `test` where the manifest has such rows, else all."""
    label_map: LabelMapping = Field(default_factory=dict)
    """What labels of another corpus stand for, as `{rage: anger, boredom: null}`; null leaves a label out. Under a
    corpus's name for that corpus alone: `{emodb: {boredom: null}}`. Labels that neither are a class of the model nor
    are mapped are left out and counted: nothing is guessed."""
    target_columns: dict[Name, Name] = Field(default_factory=dict)
    """Column of the manifests with the true value of a numeric target, or with the votes or shares of a class, where it
    is not called as the model calls it."""
    by: Literal["auto"] | tuple[Name, ...] = "auto"
    """Columns whose values are also scored apart; `auto`: gender and corpus where there are. Without `corpus` several
    corpora are scored as one."""
    loudness_lufs: Literal["checkpoint"] | Level | None = "checkpoint"
    """Loudness to normalise clips to, in LUFS; null leaves levels as they are; `checkpoint`: as in training."""
    min_duration_s: Annotated[float, Field(strict=True, ge=0.025)] = 0.1
    """Clips shorter than this, in seconds, are rejected."""
    max_duration_s: Literal["checkpoint"] | Positive = "checkpoint"
    """Clips longer than this, in seconds, are rejected; `checkpoint`: as in training."""
    bins: Count = 15
    """Bins of the expected calibration error."""
    figures: Flag = True
    """Draw confusion matrices, reliability and recalls (or the agreement of numbers) besides writing the tables."""
    resamples: Annotated[int, Field(strict=True, ge=100)] = 1000
    """Resamples of the speakers for the intervals."""
    seed: Seed = 0
    """Seed of the resamples."""
    precision: Precision = "fp32"
    """Arithmetic of the model; fp32 is exact."""
    batch_seconds: Literal["auto"] | Positive = "auto"
    """Largest padded length of a batch, in seconds of audio; `auto`: 30 on a CPU, on a GPU what its memory takes.
    Probabilities do not depend on it."""
    max_clips: Count | None = None
    """Largest number of clips in a batch; null: no limit."""
    workers: Literal["auto"] | Whole = "auto"
    """Processes that decode audio ahead of the model; `auto`: on a CPU 0 or 1, up to 8 beside a GPU."""
    device: Name = "auto"
    """`auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`."""
    strict: Flag = False
    """Stop at the first unusable clip instead of listing it in `rejects.csv`, counting it and going on."""


class ClipSetConfig(Section):
    """A test set beside the study's own clips, such as another corpus."""

    name: Name
    """What tables and figures call it."""
    manifest: FilePath
    """CSV, TSV or Parquet file with one row per clip."""
    audio_root: FilePath | None = None
    """Folder that its paths start from; null: the manifest's own folder."""
    splits: ChosenSplits = "auto"
    """Its clips to score: those of some splits, `all`, or `auto`: `test` where the manifest has such rows, else all."""
    label_map: LabelMapping = Field(default_factory=dict)
    """What its labels stand for, as `{rage: anger, boredom: null}`; null leaves a label out. Labels that neither are a
    class of the model nor are mapped are left out and counted: nothing is guessed."""
    target_columns: dict[Name, Name] = Field(default_factory=dict)
    """Its column with the true value of a numeric target, or with the votes of a class, where it is not called as the
    model calls it."""


class StudyEvaluateConfig(Section):
    """Scores of the study's fine-tuned classifier on speakers that it was not trained on; null: none."""

    splits: tuple[Split, ...] = ("test", "validation")
    """Which of the study's own splits are scored. The best step was chosen on `validation`, which makes that look
    better than it is."""
    checkpoints: Annotated[tuple[Literal["best"] | Whole, ...], Field(min_length=1)] = ("best", 0)
    """Which checkpoints are scored, each a pass over the clips: `best`, and steps. Step 0, whose head is untrained,
    shows what chance gives."""
    test_sets: tuple[ClipSetConfig, ...] = ()
    """Further test sets, as `[{name: emovo, manifest: emovo.csv, label_map: {rage: anger}}]`."""
    by: Literal["auto"] | tuple[Name, ...] = "auto"
    """Columns whose values are also scored apart; `auto`: gender and corpus where there are."""
    bins: Count = 15
    """Bins of the expected calibration error."""
    resamples: Annotated[int, Field(strict=True, ge=100)] = 1000
    """Resamples of the speakers for the intervals."""
    seed: Seed = 0
    """Seed of the resamples; unset: the study's seed."""
    precision: Precision = "fp32"
    """Arithmetic of the model; fp32 is exact."""
    batch_seconds: Literal["auto"] | Positive = "auto"
    """Largest padded length of a batch, in seconds of audio; `auto`: 30 on a CPU, on a GPU what its memory takes.
    Probabilities do not depend on it."""
    max_clips: Count | None = None
    """Largest number of clips in a batch; null: no limit."""
    workers: Literal["auto"] | Whole = "auto"
    """Processes that decode audio ahead of the model; `auto`: on a CPU 0 or 1, up to 8 beside a GPU."""
    device: Name = "auto"
    """`auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`."""


def load_label_map(path: Path | None, pairs: Sequence[str] = ()) -> dict[str, Any]:
    """Return the label map of a YAML file with the pairs of a command line, which go before it.

    Args:
        path: A YAML file with a label and its class a line, as `rage: anger`; None: no file.
        pairs: `label=class` each; `-` for the class leaves the label out.

    Raises:
        ConfigError: If the file is no mapping, or a pair is none; all faults at once.
    """
    if path is None:
        return dict(parse_pairs(pairs, "--map", "rage=anger"))
    document = _read(path)
    if document.faults:
        raise collect(ConfigError, "The label map cannot be used", document.faults, where=path)
    return document.values | parse_pairs(pairs, "--map", "rage=anger")


def parse_pairs(pairs: Sequence[str], option: str, example: str) -> dict[str, str]:
    """Return `name=value` options as a mapping; the later wins.

    Raises:
        ConfigError: With every one that is no such pair.
    """
    found, faults = {}, []
    for pair in pairs:
        name, equals, value = (part.strip() for part in pair.partition("="))
        if equals and name and value:
            found[name] = value
        else:
            faults.append(f"{option} {pair}: expected NAME=VALUE, as in {example}")
    if faults:
        raise collect(ConfigError, "The command cannot be used", faults)
    return found


def _read(path: Path) -> Document:
    if not path.is_file():
        raise ConfigError("There is no such label map", where=path, fix="give a YAML file, or --map label=class")
    try:
        return read_document(path)
    except ConfigError as error:
        raise ConfigError(
            "The label map cannot be read", where=path, expected="YAML lines such as `rage: anger`", found=error.found
        ) from error
