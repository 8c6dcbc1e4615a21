"""The sections of a study that say what goes through the model: data, audio, split, backbone, extract; and output.

The text under a key is its description: it reaches the JSON schema, and so the editor, and the command
line's help. Defaults are those of Study E (see `docs/`) where it states one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import CoreSchema, core_schema

from ser_probe.errors import ConfigError
from ser_probe.models.pooling import parse_pooling
from ser_probe.names.named import Named
from ser_probe.names.training import PRECISIONS
from ser_probe.names.trims import TRIMS

# Strict: YAML has its own numbers and truth values, so text or `true` in a number's place is a slip.
Count = Annotated[int, Field(strict=True, ge=1)]
Whole = Annotated[int, Field(strict=True, ge=0)]
N_SEEDS = 2**32
"""Numpy's older generators, which other packages use, take no larger seed."""
Seed = Annotated[int, Field(strict=True, ge=0, lt=N_SEEDS)]
Level = Annotated[float, Field(strict=True, le=0)]
Positive = Annotated[float, Field(strict=True, gt=0)]
NonNegative = Annotated[float, Field(strict=True, ge=0)]
Share = Annotated[float, Field(strict=True, ge=0, lt=1)]
Flag = Annotated[bool, Field(strict=True)]
Name = Annotated[str, Field(min_length=1)]
FilePath = Annotated[Path, AfterValidator(Path.expanduser)]
Split = Literal["train", "validation", "test"]
Layer = Annotated[int, Field(strict=True, ge=0)] | Literal["final"]


NULL: Any = object()
"""The value of an option that was given and stands for null, where None stands for one that was not given."""


@dataclass(frozen=True, eq=False)
class OneOf:
    """The names of a table as the only values of a key, as in `Annotated[str, OneOf(PRECISIONS)]`."""

    table: Mapping[str, Named]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return core_schema.literal_schema(list(self.table))


Precision = Annotated[str, OneOf(PRECISIONS)]


def as_list(value: object) -> object:
    """Let one name stand for a list of one."""
    return [value] if isinstance(value, str) else value


def _check_pooling(name: str) -> str:
    try:
        return parse_pooling(name).name
    except ConfigError as error:
        expected, fix = f"; expected {error.expected}", f"; {error.fix}" if error.fix else ""
        what = error.what[0].lower() + error.what[1:]
        raise ValueError(f"{what}: {name!r}{expected}{fix}") from error


PoolingName = Annotated[str, AfterValidator(_check_pooling)]


def _refuse_empty(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError("name at least one pooling, such as mean")
    return names


class Section(BaseModel):
    """A group of keys: unknown keys are refused, values cannot be changed after checking."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True, validate_default=True
    )


class DataConfig(Section):
    """The clips: either a manifest, or a corpus that an importer knows. Paths start from the current folder."""

    manifest: FilePath | None = None
    """CSV, TSV or Parquet file with one row per clip. Excludes `corpus`."""
    audio_root: FilePath | None = None
    """Folder that the manifest's paths start from; null: the manifest's own folder."""
    corpus: Name | None = None
    """Importer that reads a corpus folder (`sample`, `emovo`, `emodb`, `crema_d`). Excludes `manifest`."""
    root: FilePath | None = None
    """Folder of the corpus. The built-in `sample` corpus is synthesised there (seconds) if it is not yet."""
    options: dict[str, str | int | float | bool] = {}
    """Options of the importer, such as `labels: voice_vote` for `crema_d`."""
    target: Name = "label"
    """Column to learn and to probe."""
    labels: tuple[Name, ...] | None = None
    """Labels to keep; clips with others are left out, not rejected; null: all."""
    keep: dict[str, tuple[Name, ...]] = {}
    """Values to keep of other columns, as `language: [it]`."""
    strict: Flag = False
    """Stop at the first unusable clip instead of listing it in `rejects.csv`, counting it and going on."""


class AudioConfig(Section):
    """How a clip becomes samples. Every value is part of the cache key: changing one computes anew."""

    sample_rate_hz: Literal[16000] = 16000
    """Sampling rate in Hz after resampling; the backbones know no other."""
    loudness_lufs: Level | None = None
    """Loudness to normalise each clip to, in LUFS (gated ITU-R BS.1770), such as -23; null: levels stay as recorded."""
    peak_dbfs: Level | None = None
    """Highest sample allowed, in dB of full scale: louder clips are scaled down after normalising; null: no limit."""
    trim: Annotated[str, OneOf(TRIMS)] | None = None
    """How silence before and after a clip is found and removed, before its loudness is measured; null: it stays."""
    min_duration_s: Annotated[float, Field(strict=True, ge=0.025)] = 0.1
    """Clips shorter than this, in seconds, are rejected. Under 0.025 s (400 samples) no frame exists."""
    max_duration_s: Positive = 30.0
    """Clips longer than this, in seconds, are rejected: memory grows with the square of their length."""


class Fractions(Section):
    """Shares of the speakers; they sum to 1."""

    train: Share
    """Share of the speakers to train on."""
    validation: Share
    """Share of the speakers to choose checkpoints and layers on."""
    test: Share
    """Share of the speakers held out until the end."""


class SplitConfig(Section):
    """Which speakers train, validate and test. No speaker is ever in two splits."""

    scheme: Literal["study_e", "study_b", "fractions", "loso", "kfold", "manifest"] = "study_e"
    """How speakers are split: `study_e` 64/20/16, `study_b` 64/16/20, `fractions` of your own, `loso` leave one speaker
    out, `kfold` groups of speakers, or `manifest`: its split column."""
    seed: Seed = 0
    """Seed of the draw of speakers; unset: the study's seed."""
    fractions: Fractions | None = None
    """Shares for the scheme `fractions`, such as `{train: 0.6, validation: 0.2, test: 0.2}`."""
    folds: Annotated[int, Field(strict=True, ge=3)] = 5
    """Groups of speakers for `kfold`."""
    fold: Whole = 0
    """Which group (`kfold`) or speaker (`loso`) tests, counted from 0."""


class BackboneConfig(Section):
    """The pretrained model that is looked into."""

    name: Name
    """Hugging Face id, local folder, or a `tiny-*` model that needs no download (its weights are random)."""
    revision: Name | None = None
    """Commit, tag or branch of the Hugging Face repository; name a commit to be able to repeat the study; null: the
    newest."""
    random_weights: Seed | None = None
    """Seed to draw all weights from instead of loading them: the architecture, untrained; null: load the weights. Only
    the config is fetched."""


class ExtractConfig(Section):
    """What is stored of every checkpoint: the embeddings of each layer for each clip."""

    pooling: Annotated[tuple[PoolingName, ...], AfterValidator(_refuse_empty), BeforeValidator(as_list)] = ("mean",)
    """How the frames of a clip become what is stored: `mean`, `std`, `mean+std`, `max`, `sum`, `speech-mean` (frames
    that silero-vad calls speech; needs the extra `vad`), `segments:K` (means of K equal parts) or `frames` (all: about
    130 times the disk); several come from one forward pass, a file each. A study's analyses use the first."""
    precision: Precision = "fp32"
    """Arithmetic of the forward pass: fp32 is exact; tf32 (CUDA), bf16 and fp16 are faster on recent GPUs and are off
    by about 1e-3, 1e-2 and 1e-3, which `verify` measures and stores."""
    storage: Literal["float32", "float16"] = "float32"
    """Type on disk; float16 halves the file and costs 2e-4 of relative precision."""
    layers: Literal["all"] = "all"
    """Which layers to store. All come from one forward pass, so leaving some out would save disk only."""
    splits: Literal["all"] | tuple[Split, ...] = "all"
    """Splits to extract. Fewer cost less time and disk; `[test]` is enough for Study E."""
    checkpoints: Literal["all"] | tuple[Whole, ...] = "all"
    """Which saved steps of fine-tuning to extract; each costs one pass over the clips and one file."""
    egemaps: Flag = True
    """Also extract the 88 eGeMAPS functionals (needs the extra `egemaps`); about 10 clips/s per core, once."""
    random_control: Flag = True
    """Also extract the backbone with weights drawn from a seed, as a control: what the architecture gives without any
    training. Costs one more pass over the clips and one file."""
    long_clips: Literal["reject", "whole", "chunk"] = "reject"
    """What becomes of clips over `audio.max_duration_s`: left out, taken whole (memory grows with the square of the
    duration), or cut into overlapping chunks of that length whose frames are pooled together. Training skips them."""
    chunk_overlap_s: NonNegative = 2.0
    """What neighbouring chunks share, in seconds: each gives the half of it that lies deeper inside."""
    batch_seconds: Literal["auto"] | Positive = "auto"
    """Largest padded length of a batch, in seconds of audio; `auto`: 30 on a CPU, on a GPU what its memory takes (up to
    600). A batch that does not fit is halved and tried again."""
    max_clips: Count | None = None
    """Largest number of clips in a batch; null: no limit."""
    workers: Literal["auto"] | Whole = "auto"
    """Processes that decode audio ahead of the model; 0 decodes in the main process; `auto`: on a CPU 0 with up to 4
    processors and 1 with more, up to 8 beside a GPU, and for acoustic features one a processor."""
    device: Name = "auto"
    """`auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`."""
    verify: Whole = 4
    """Clips to run again alone, to prove that batching changed nothing; the difference is stored with the
    embeddings."""


class OutputConfig(Section):
    """Where things are written."""

    runs: FilePath = Path("runs")
    """Folder of the studies; this one writes to `runs/<name>/`."""
    cache: FilePath = Path("cache")
    """Folder of the embedding files, shared by all studies: what one has computed the others reuse."""
    figures: Flag = True
    """Draw the report's figures, most of the time of a small study; false leaves them to `ser-probe report`."""
