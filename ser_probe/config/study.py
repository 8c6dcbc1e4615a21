"""A whole study, and the combinations of values that cannot work together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from ser_probe.config.analyses import ANALYSES
from ser_probe.config.analyze import AnalyzeConfig
from ser_probe.config.clashes import Clash, known_depth, splits_not_extracted
from ser_probe.config.evaluation import StudyEvaluateConfig
from ser_probe.config.finetune import FinetuneConfig
from ser_probe.config.search import SearchConfig
from ser_probe.config.sections import (
    N_SEEDS,
    AudioConfig,
    BackboneConfig,
    DataConfig,
    ExtractConfig,
    OutputConfig,
    Section,
    Seed,
    SplitConfig,
)
from ser_probe.data.corpora import IMPORTERS
from ser_probe.data.schemes import SPLITS
from ser_probe.errors import did_you_mean
from ser_probe.models.catalogue import TINY_CONFIGS
from ser_probe.training.settings import LOSSES, METRICS_OF

FRACTION_TOLERANCE = 1e-6  # 0.64 + 0.2 + 0.16 is not 1 in binary
COMBINATION = "impossible_combination"
_DEFAULT_SPLIT = SplitConfig()


class StudyConfig(Section):
    """One study: what is trained, what is stored, what is measured."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Name of the study and of its folder: letters, digits, dot, dash, underscore."""
    seed: Seed = 0
    """Random seed of all that has no seed of its own."""
    data: DataConfig
    """The clips."""
    audio: AudioConfig = AudioConfig()
    """How a clip becomes samples."""
    split: SplitConfig = SplitConfig()
    """Which speakers train, validate and test."""
    backbone: BackboneConfig
    """The pretrained model."""
    extract: ExtractConfig = ExtractConfig()
    """What is stored of every checkpoint."""
    finetune: FinetuneConfig = FinetuneConfig()
    """How the model is fine-tuned."""
    evaluate: StudyEvaluateConfig | None = StudyEvaluateConfig()
    """On what the fine-tuned classifier is scored; null: on nothing. Without fine-tuning there is none."""
    search: SearchConfig | None = None
    """Which values `ser-probe search` tries before the final training; `ser-probe run` does not look at it."""
    analyze: AnalyzeConfig = AnalyzeConfig()
    """What is computed from the stored embeddings."""
    output: OutputConfig = OutputConfig()
    """The folders that studies and caches are written to."""

    @model_validator(mode="before")
    @classmethod
    def _hand_down_seed(cls, study: Any) -> Any:
        """Give the study's seed to the sections that state none, so that the resolved study shows it."""
        if not isinstance(study, dict) or type(study.get("seed")) is not int or not 0 <= study["seed"] < N_SEEDS:
            return study  # what is wrong with it is said once
        sections = {section: study.get(section, {}) for section in ("split", "finetune", "evaluate")}
        seeded = {
            section: {"seed": study["seed"], **values}
            for section, values in sections.items()
            if isinstance(values, dict)
        }
        return {**study, **seeded}

    @model_validator(mode="after")
    def _refuse_clashes(self) -> Self:
        clashes = [
            *_corpus_clashes(self),
            *_data_clashes(self),
            *_split_clashes(self),
            *_extraction_clashes(self),
            *_training_clashes(self),
            *_evaluation_clashes(self),
            *_analysis_clashes(self),
        ]
        if clashes:
            raise PydanticCustomError(COMBINATION, "values exclude each other", {"clashes": clashes})
        return self


def _corpus_clashes(study: StudyConfig) -> Iterator[Clash]:
    data = study.data
    if data.corpus is None:
        if data.root is not None:
            yield Clash(("data.root", "data.corpus"), "belongs to data.corpus; a manifest has data.audio_root")
        if data.options:
            yield Clash(("data.options", "data.corpus"), "belong to an importer; a manifest has none")
        return
    if data.audio_root is not None:
        yield Clash(("data.audio_root", "data.corpus"), "belongs to data.manifest; a corpus lies in data.root")
    if data.corpus not in IMPORTERS:
        near = did_you_mean(data.corpus, IMPORTERS)
        yield Clash(("data.corpus",), f"there is no importer '{data.corpus}'; {near}")
        return
    if data.root is None:
        yield Clash(("data.root", "data.corpus"), f"data.corpus '{data.corpus}' needs the folder of the corpus")
    known = IMPORTERS[data.corpus].options
    for option in data.options:
        if option not in known:
            near = did_you_mean(option, known) if known else "it has none"
            yield Clash((f"data.options.{option}", "data.corpus"), f"no option of the importer; {near}")


def _data_clashes(study: StudyConfig) -> Iterator[Clash]:
    data, audio = study.data, study.audio
    if data.manifest is not None and data.corpus is not None:
        yield Clash(("data.manifest", "data.corpus"), "give a manifest or a corpus, not both")
    if data.manifest is None and data.corpus is None:
        yield Clash(("data.manifest", "data.corpus"), "give data.manifest, or data.corpus with data.root")
    if data.labels is not None and len(set(data.labels)) < 2:
        yield Clash(("data.labels",), "at least two different labels are needed to tell them apart")
    if audio.min_duration_s >= audio.max_duration_s:
        yield Clash(
            ("audio.min_duration_s", "audio.max_duration_s"),
            f"must be below audio.max_duration_s ({audio.max_duration_s:g})",
        )


def _split_clashes(study: StudyConfig) -> Iterator[Clash]:
    split = study.split
    keys = ("split.fractions", "split.scheme")
    if split.scheme == "fractions" and split.fractions is None:
        yield Clash(keys, "needed by split.scheme 'fractions'")
    if split.scheme != "fractions" and split.fractions is not None:
        yield Clash(keys, f"would be ignored by split.scheme '{split.scheme}': set split.scheme to 'fractions'")
    if split.fractions is not None:
        total = split.fractions.train + split.fractions.validation + split.fractions.test
        if abs(total - 1) > FRACTION_TOLERANCE:
            yield Clash(("split.fractions",), f"must sum to 1, sum to {total:g}")
    ignored = f"would be ignored by split.scheme '{split.scheme}': set split.scheme to"
    if split.folds != _DEFAULT_SPLIT.folds and split.scheme != "kfold":
        yield Clash(("split.folds", "split.scheme"), f"{ignored} 'kfold'")
    if split.fold != _DEFAULT_SPLIT.fold and split.scheme not in ("kfold", "loso"):
        yield Clash(("split.fold", "split.scheme"), f"{ignored} 'kfold' or 'loso'")
    if split.scheme == "kfold" and split.fold >= split.folds:
        yield Clash(("split.fold", "split.folds"), f"must be below split.folds ({split.folds})")
    if split.scheme == "manifest" and study.data.corpus is not None:
        yield Clash(("split.scheme", "data.corpus"), "'manifest' needs data.manifest with a split column")


def _extraction_clashes(study: StudyConfig) -> Iterator[Clash]:
    extract, limit_s = study.extract, study.audio.max_duration_s
    if len(set(extract.pooling)) < len(extract.pooling):
        yield Clash(("extract.pooling",), "names a pooling twice")
    if extract.long_clips == "chunk" and extract.chunk_overlap_s >= limit_s / 2:
        yield Clash(
            ("extract.chunk_overlap_s", "audio.max_duration_s"),
            f"must be below half of audio.max_duration_s ({limit_s:g}), the length of a chunk",
        )
    if extract.long_clips != "chunk" and extract.chunk_overlap_s != ExtractConfig().chunk_overlap_s:
        yield Clash(
            ("extract.chunk_overlap_s", "extract.long_clips"),
            f"would be ignored by extract.long_clips '{extract.long_clips}': set extract.long_clips to 'chunk'",
        )
    if extract.precision == "tf32" and extract.device == "cpu":
        yield Clash(("extract.precision", "extract.device"), "tf32 exists on CUDA devices only")


def _training_clashes(study: StudyConfig) -> Iterator[Clash]:
    backbone, extract, finetune = study.backbone, study.extract, study.finetune
    if backbone.name in TINY_CONFIGS and backbone.revision is not None:
        yield Clash(("backbone.revision", "backbone.name"), f"'{backbone.name}' is built here and has no revision")
    elif backbone.revision is not None and Path(backbone.name).expanduser().is_dir():
        yield Clash(("backbone.revision", "backbone.name"), f"'{backbone.name}' is a folder and has no revision")
    if finetune.trained == "all" and finetune.cache_front_end is True:
        yield Clash(
            ("finetune.cache_front_end", "finetune.trained"),
            "a front end that is trained changes at every step and cannot be computed once",
        )
    yield from _target_clashes(finetune)
    if finetune.lora is not None and finetune.trained != "lora":
        yield Clash(("finetune.lora", "finetune.trained"), "would be ignored: set finetune.trained to 'lora'")
    if finetune.augment is not None and finetune.augment.mode == "on-the-fly" and finetune.cache_front_end is True:
        yield Clash(
            ("finetune.cache_front_end", "finetune.augment.mode"),
            "clips that are augmented anew in each epoch cannot be computed once",
        )
    if (
        finetune.augment is not None
        and finetune.augment.mode == "union"
        and "probability" in _changed(finetune.augment)
    ):
        yield Clash(
            ("finetune.augment.probability", "finetune.augment.mode"),
            "would be ignored by finetune.augment.mode 'union', which transforms every copy",
        )
    if finetune.head.mix != "frames" and not str(finetune.head.layers).startswith("weighted"):
        yield Clash(
            ("finetune.head.mix", "finetune.head.layers"),
            f"would be ignored: there is nothing to mix in finetune.head.layers {finetune.head.layers!r}",
        )
    depth = known_depth(backbone.name)
    if isinstance(finetune.head.layers, int) and depth is not None and finetune.head.layers > depth:
        yield Clash(("finetune.head.layers", "backbone.name"), f"'{backbone.name}' has the layers 0 to {depth}")
    if not finetune.enabled and extract.checkpoints != "all" and any(extract.checkpoints):
        yield Clash(
            ("extract.checkpoints", "finetune.enabled"),
            "without fine-tuning there is only step 0",
        )


def _target_clashes(finetune: FinetuneConfig) -> Iterator[Clash]:
    kind = finetune.targets
    if kind == "classes" and finetune.target_columns:
        yield Clash(("finetune.target_columns", "finetune.targets"), "are for distribution or numeric targets")
    if kind != "classes" and not finetune.target_columns:
        yield Clash(("finetune.target_columns", "finetune.targets"), f"name the columns of the {kind} targets")
    if finetune.loss is not None and kind not in LOSSES[finetune.loss]:
        known = ", ".join(name for name, kinds in LOSSES.items() if kind in kinds)
        yield Clash(("finetune.loss", "finetune.targets"), f"'{finetune.loss}' is not for {kind} targets; {known} is")
    metric = finetune.early_stopping.metric if finetune.early_stopping else "loss"
    if metric not in METRICS_OF[kind]:
        known = ", ".join(METRICS_OF[kind])
        yield Clash(
            ("finetune.early_stopping.metric", "finetune.targets"), f"{kind} targets have no '{metric}', but {known}"
        )
    if kind == "numeric":
        for key, chosen in (("class_weights", finetune.class_weights != "none"),
                            ("label_smoothing", finetune.label_smoothing > 0)):  # fmt: skip
            if chosen:
                yield Clash((f"finetune.{key}", "finetune.targets"), "is for classes, not for numeric targets")


def _evaluation_clashes(study: StudyConfig) -> Iterator[Clash]:
    evaluate = study.evaluate
    if evaluate is None:
        return
    if not evaluate.splits and not evaluate.test_sets:
        yield Clash(
            ("evaluate.splits", "evaluate.test_sets"), "there is nothing to score on: name a split or a test set"
        )
    if len(set(evaluate.splits)) < len(evaluate.splits):
        yield Clash(("evaluate.splits",), "names a split twice")
    names = [test_set.name for test_set in evaluate.test_sets]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        yield Clash(("evaluate.test_sets",), f"each needs a name of its own; found twice: {', '.join(twice)}")
    if splits := [name for name in names if name in SPLITS]:
        yield Clash(("evaluate.test_sets",), f"'{splits[0]}' is what a split of the study is called")
    if evaluate.precision == "tf32" and evaluate.device == "cpu":
        yield Clash(("evaluate.precision", "evaluate.device"), "tf32 exists on CUDA devices only")


def _analysis_clashes(study: StudyConfig) -> Iterator[Clash]:
    wanted = study.analyze.wanted()
    if not wanted:
        return
    if missing := splits_not_extracted(study.analyze.splits, study.extract):
        yield Clash(("analyze.splits", "extract.splits"), f"not in extract.splits: {', '.join(missing)}")
    for name, section in wanted.items():
        if check := ANALYSES[name].clashes:
            yield from check(section, study)


def _changed(section: Section) -> set[str]:
    """Return the keys of a section that have another value than their default."""
    fields = type(section).model_fields
    return {
        name for name, field in fields.items() if getattr(section, name) != field.get_default(call_default_factory=True)
    }
