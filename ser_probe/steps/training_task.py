"""From a study's clips to what fine-tuning learns: targets, the clips of each split, and their augmentation."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ser_probe.audio.augment import (
    Transform,
    TransformSpec,
    augment_copy,
    augment_on_the_fly,
    build_transform,
    check_transforms,
    ingredients,
)
from ser_probe.audio.augment_classes import FILE_PARAMETERS
from ser_probe.audio.load import AudioSpec, load_clip
from ser_probe.config import AudioConfig, FinetuneConfig, StudyConfig
from ser_probe.data.manifest import Manifest, require_column
from ser_probe.errors import ManifestError, SplitError, collect, show
from ser_probe.files import fingerprint
from ser_probe.models.heads import HeadSettings
from ser_probe.models.lora import LoraSettings
from ser_probe.models.targets import CLASSES, DISTRIBUTION, NUMERIC, Targets, numeric_targets
from ser_probe.runtime import LARGEST_NUMBER, Progress
from ser_probe.steps.extraction_settings import audio_spec
from ser_probe.steps.prepare import PreparedClips, prepare_clips, wanted_split
from ser_probe.steps.study.stages import file_states
from ser_probe.training.fine_tuning import TrainingTask
from ser_probe.training.settings import SplitClips


def label_clips(manifest: Manifest, config: FinetuneConfig) -> Manifest:
    """Return a manifest with the column `label` that checks and the split of the speakers use.

    If votes are learnt and there is no label, it is the class of most votes. Numeric targets need no label.

    Raises:
        ManifestError: If a column of the targets is missing, or holds what is no target.
    """
    if config.targets == CLASSES:
        return manifest
    names, values = _columns(manifest, config)
    if config.targets == NUMERIC or "label" in manifest.table:
        return manifest
    chosen = [names[column] for column in values.argmax(axis=1)]
    return dataclasses.replace(manifest, table=manifest.table.assign(label=chosen))


def learns_labels(config: FinetuneConfig) -> bool:
    """Tell whether labels, or votes for them, are learnt; a study without fine-tuning uses labels too."""
    return not config.enabled or config.targets != NUMERIC


def describe_gaps(table: pd.DataFrame, config: FinetuneConfig) -> list[str]:
    """Return remarks on classes of the training split that validation or test lack.

    Args:
        table: Checked clips with splits.
        config: What is learnt of them.
    """
    if config.targets == NUMERIC:
        return []
    present = {str(split): {*map(str, part["label"])} for split, part in table.groupby("split")}
    consequences = {
        "validation": "the choice of the best step, and early stopping, know nothing of it",
        "test": "scores on it know nothing of it",
    }
    return [
        f"{split} has no clip of {', '.join(map(repr, missing))}: {consequence}"
        for split, consequence in consequences.items()
        if split in present and (missing := sorted(present.get("train", set()) - present[split]))
    ]


def prepare_study_clips(
    study: StudyConfig, manifest: Manifest, audio: AudioConfig, *, progress: Progress
) -> PreparedClips:
    """Check and split a study's clips, and report the result and classes that its splits lack.

    Args:
        study: Its data, split and finetune sections.
        manifest: The clips, from `label_clips`.
        audio: Length limits.
        progress: Told of each file.

    Raises:
        ManifestError: With all faults of the manifest at once.
        SplitError: If the speakers cannot be split as asked.
    """
    prepared = prepare_clips(
        manifest,
        audio,
        wanted_split(study.split),
        strict=study.data.strict,
        labelled=learns_labels(study.finetune),
        progress=progress,
    )
    progress.say(prepared.report.summary())
    for gap in describe_gaps(prepared.manifest.table, study.finetune) if study.finetune.enabled else ():
        progress.say(f"warning: {gap}")
    return prepared


def make_task(study: StudyConfig, manifest: Manifest) -> TrainingTask:
    """Return what is learnt from the clips of a checked manifest with splits.

    Raises:
        ManifestError: If a column of the targets is missing, or holds what is no target.
        ConfigError: If an augmentation cannot be used.
        MissingExtraError: If one needs a package that is not installed.
    """
    config, spec = study.finetune, audio_spec(study.audio)
    # Longer clips are accepted for extraction only; training needs memory for the activations of a whole batch.
    table = manifest.table[manifest.table["duration_s"] <= spec.max_duration_s + 1e-3]
    manifest = dataclasses.replace(manifest, table=table.reset_index(drop=True))
    _refuse_unlearnt_classes(manifest, config)
    targets, values = _targets(manifest, config)
    train, validation = (_clips(manifest, values, split, spec) for split in ("train", "validation"))
    head = HeadSettings(**config.head.model_dump(exclude={"l2"}))
    lora = None if config.lora is None else LoraSettings(**config.lora.model_dump())
    return TrainingTask(augment_clips(train, study, spec), validation, targets, head, lora)


def _refuse_unlearnt_classes(manifest: Manifest, config: FinetuneConfig) -> None:
    """Raise if a class has clips but none to train on: no model could predict it."""
    if config.targets != CLASSES:
        return
    clips = pd.crosstab(manifest.table["label"].astype(str), manifest.table["split"])
    faults = [
        f"class {label!r} has no training clip ("
        + ", ".join(f"{counts[split]} in {split}" for split in ("validation", "test") if split in counts)
        + ")"
        for label, counts in clips.iterrows()
        if not counts.get("train", 0)
    ]
    if faults:
        error = collect(SplitError, "The clips cannot be trained on", faults, where=manifest.source)
        error.fix = "split the speakers otherwise, or name the labels to keep (data.labels)"
        raise error


def _targets(manifest: Manifest, config: FinetuneConfig) -> tuple[Targets, np.ndarray]:
    """Return what is predicted, and of each clip its class [N], its shares [N, K] or its z-scores [N, K]."""
    table = manifest.table
    if config.targets == CLASSES:
        written = table["label"].astype(str)
        labels = sorted(written.unique())
        return Targets(CLASSES, tuple(labels)), np.array([labels.index(label) for label in written], dtype=np.int64)
    names, values = _columns(manifest, config)
    if config.targets == DISTRIBUTION:
        shares = values / values.sum(axis=1, keepdims=True)
        return Targets(DISTRIBUTION, names), shares.astype(np.float32)
    targets = numeric_targets(names, values[(table["split"] == "train").to_numpy()])
    return targets, targets.standardise(values)


def _columns(manifest: Manifest, config: FinetuneConfig) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the names of the targets and their columns, float64 [N, K]."""
    written = config.target_columns
    columns = written if isinstance(written, dict) else {name: name for name in written}
    table = manifest.table
    columns = {name: require_column(table, column, manifest.source) for name, column in columns.items()}
    values = np.stack([pd.to_numeric(table[column], errors="coerce") for column in columns.values()], axis=1)
    values = values.astype(np.float64)
    bad = ~(np.abs(values) < LARGEST_NUMBER).all(axis=1)  # NaN is not below either
    if config.targets == DISTRIBUTION:
        bad |= (values < 0).any(axis=1) | (values.sum(axis=1) == 0)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ManifestError(
            f"{int(bad.sum())} clips have no usable target",
            where=f"{manifest.source or 'manifest'}, {table['path'].iloc[row]}",
            expected="votes or shares that are not negative, one of them above 0"
            if config.targets == DISTRIBUTION
            else f"finite numbers, of less than {LARGEST_NUMBER:g}",
            found=", ".join(f"{column}: {show(table[column].iloc[row])}" for column in columns.values()),
            fix="mend these cells, or leave these clips out of the manifest",
        )
    return tuple(columns), values


def _clips(manifest: Manifest, values: np.ndarray, split: str, spec: AudioSpec) -> SplitClips:
    chosen = (manifest.table["split"] == split).to_numpy()
    table = manifest.table[chosen]
    paths = [path for path, keep in zip(manifest.audio_paths(), chosen, strict=True) if keep]
    return SplitClips(
        ids=table["clip_id"].tolist(),
        targets=values[chosen],
        durations_s=table["duration_s"].to_numpy(dtype=np.float64),
        load=functools.partial(_load, paths=paths, spec=spec),
    )


def _load(row: int, *, paths: list[Path], spec: AudioSpec) -> np.ndarray:
    return load_clip(paths[row], spec).samples


def augment_clips(clips: SplitClips, study: StudyConfig, spec: AudioSpec) -> SplitClips:
    """Return the training clips with augmentation: anew in each epoch, or as augmented copies.

    Copy a of the training split is transform a applied to every clip, drawn by the run's seed, the transform's number
    and the clip; with two transforms the split is three times as large.
    """
    config = study.finetune.augment
    if config is None:
        return clips
    specs = [TransformSpec(item.library, item.name, item.parameters) for item in config.transforms]
    check_transforms(specs, clips.load(int(np.argmin(clips.durations_s))), sample_rate_hz=spec.sample_rate_hz)
    transforms = [build_transform(item, spec.sample_rate_hz) for item in specs]
    facts: dict[str, Any] = {"mode": config.mode, "transforms": [ingredients(item) for item in specs]}
    if config.mode == "on-the-fly":
        augment = functools.partial(_augment, transforms=transforms, probability=config.probability)
        facts["probability"] = config.probability
        return dataclasses.replace(clips, augment=augment, augmentation=facts)
    mark = fingerprint([facts, study.finetune.seed])[:16]
    copies = range(len(transforms) + 1)
    load = functools.partial(_load_copy, clips=clips, transforms=transforms, seed=study.finetune.seed)
    return SplitClips(
        # A copy has other content, which a cache must not confuse with the clip or with another seed's copy.
        ids=[clip_id if copy == 0 else f"{clip_id}+{mark}.{copy}" for copy in copies for clip_id in clips.ids],
        targets=np.concatenate([clips.targets for _ in copies]),
        durations_s=np.tile(clips.durations_s, len(copies)),
        load=load,
        augmentation=facts,
    )


def sound_files_state(config: FinetuneConfig) -> dict[str, str]:
    """Return the state of the sounds and impulse responses that augmentation mixes in, for a stamp; nothing without."""
    transforms = () if config.augment is None else config.augment.transforms
    values = [item.parameters[key] for item in transforms for key in FILE_PARAMETERS if key in item.parameters]
    places = [
        Path(str(place)).expanduser() for value in values for place in (value if isinstance(value, list) else [value])
    ]
    files = [path for place in places for path in (sorted(place.rglob("*")) if place.is_dir() else [place])]
    return {"sound files of augmentation": file_states(files)} if files else {}


def _augment(samples: np.ndarray, seed: int, *, transforms: list[Transform], probability: float) -> np.ndarray:
    return augment_on_the_fly(samples, transforms, probability, seed)


def _load_copy(row: int, *, clips: SplitClips, transforms: list[Transform], seed: int) -> np.ndarray:
    copy, original = divmod(row, len(clips))
    return augment_copy(clips.load(original), transforms, copy, run_seed=seed, clip_id=clips.ids[original])
