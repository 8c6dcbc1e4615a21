"""From a study's clips to what is learnt: targets of every kind, and augmentation of the training split alone."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from ser_probe.config import AudioConfig, SplitConfig
from ser_probe.data.manifest import Manifest
from ser_probe.errors import ConfigError, ManifestError, SplitError
from ser_probe.models.heads import HeadSettings
from ser_probe.models.lora import LoraSettings
from ser_probe.steps.prepare import prepare_clips, read_clips
from ser_probe.steps.training_task import describe_gaps, label_clips, make_task

from ..voices import RATE_HZ, voice
from .conftest import small_study


@pytest.fixture
def manifest(corpus: Path) -> Manifest:
    """The small corpus, split, with votes and numbers."""
    prepared = prepare_clips(read_clips(small_study().data), AudioConfig(), SplitConfig()).manifest
    table = prepared.table
    rng = np.random.default_rng(0)
    votes = pd.DataFrame(rng.integers(1, 6, (len(table), 2)), columns=["votes_joy", "votes_anger"])
    numbers = pd.DataFrame({"arousal": rng.uniform(1, 5, len(table)), "valence": 3.0})
    return dataclasses.replace(prepared, table=pd.concat([table, votes, numbers], axis=1))


def test_classes_are_the_labels_in_order(manifest: Manifest) -> None:
    task = make_task(small_study(), manifest)
    assert task.targets.kind == "classes"
    assert list(task.targets.names) == sorted(manifest.table["label"].unique())
    table = manifest.table[manifest.table["split"] == "train"]
    assert [task.targets.names[label] for label in task.train.targets] == table["label"].tolist()
    assert list(task.train.ids) == table["clip_id"].tolist()
    assert task.head == HeadSettings()


def test_votes_become_shares(manifest: Manifest) -> None:
    study = small_study("finetune.targets=distribution", "finetune.target_columns={joy: votes_joy, anger: votes_anger}")
    task = make_task(study, manifest)
    assert (task.targets.kind, task.targets.names) == ("distribution", ("joy", "anger"))
    votes = manifest.table.loc[manifest.table["split"] == "train", ["votes_joy", "votes_anger"]].to_numpy(float)
    np.testing.assert_allclose(task.train.targets, votes / votes.sum(1, keepdims=True), rtol=1e-6)


def test_numbers_are_z_scores_of_the_training_clips_alone(manifest: Manifest) -> None:
    study = small_study("finetune.targets=numeric", "finetune.target_columns=[arousal, valence]")
    task = make_task(study, manifest)
    train = manifest.table["split"] == "train"
    arousal = manifest.table["arousal"]
    assert task.targets.offsets[0] == pytest.approx(arousal[train].mean())
    assert task.targets.offsets[0] != pytest.approx(arousal.mean(), rel=1e-3)
    np.testing.assert_allclose(task.train.targets.mean(axis=0), [0, 0], atol=1e-6)
    np.testing.assert_allclose(task.train.targets.std(axis=0), [1, 0], atol=1e-6)
    restored = task.targets.restore(task.validation.targets)
    np.testing.assert_allclose(restored[:, 0], arousal[manifest.table["split"] == "validation"], rtol=1e-5)


def test_a_manifest_without_labels_gets_those_of_its_targets(manifest: Manifest) -> None:
    bare = dataclasses.replace(manifest, table=manifest.table.drop(columns="label"))
    votes = small_study("finetune.targets=distribution", "finetune.target_columns=[votes_joy, votes_anger]").finetune
    winners = label_clips(bare, votes).table["label"]
    expected = bare.table[["votes_joy", "votes_anger"]].idxmax(axis=1)
    assert winners.tolist() == expected.tolist()
    numbers = small_study("finetune.targets=numeric", "finetune.target_columns=[arousal]").finetune
    assert label_clips(bare, numbers) is bare
    assert label_clips(manifest, numbers) is manifest


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("numeric", {"valence": None}, "no column 'valence'"),
        ("numeric", {"arousal": "high"}, "1 clips have no usable target"),
        ("numeric", {"arousal": np.nan}, "expected: finite numbers"),
        ("distribution", {"arousal": -1.0}, "votes or shares that are not negative"),
        ("distribution", {"arousal": 0.0, "valence": 0.0}, "1 clips have no usable target"),
    ],
)
def test_targets_that_are_none_are_refused(
    manifest: Manifest, kind: str, change: dict[str, object], message: str
) -> None:
    table = manifest.table.astype({"arousal": object, "valence": object})
    for column, value in change.items():
        if value is None:
            table = table.drop(columns=column)
        else:
            table.loc[3, column] = value
    study = small_study(f"finetune.targets={kind}", "finetune.target_columns=[arousal, valence]")
    with pytest.raises(ManifestError, match=message):
        make_task(study, dataclasses.replace(manifest, table=table))


def test_head_and_adapters_arrive(manifest: Manifest) -> None:
    study = small_study(
        "finetune.head={layers: weighted, mix: pooled, pooling: max, hidden: [7], relu: true}",
        "finetune.head.batch_norm=true",
        "finetune.head.dropout=0.4",
        "finetune.trained=lora",
        "finetune.lora={rank: 2, alpha: 3.0, dropout: 0.1, targets: [k_proj]}",
    )
    task = make_task(study, manifest)
    assert task.head == HeadSettings("max", "weighted", "pooled", (7,), True, True, 0.4)
    assert task.lora == LoraSettings(2, 3.0, 0.1, ("k_proj",))


UNION = "finetune.augment={mode: union, transforms: [{name: FrequencyMask}, {library: audiomentations, name: Gain}]}"


def test_a_union_triples_the_training_split_and_nothing_else(manifest: Manifest) -> None:
    plain, union = make_task(small_study(), manifest), make_task(small_study(UNION), manifest)
    n = len(plain.train)
    assert len(union.train) == 3 * n
    assert len(set(union.train.ids)) == 3 * n
    np.testing.assert_array_equal(union.train.targets, np.tile(plain.train.targets, 3))
    for row in (0, n - 1):
        original = plain.train.load(row)
        np.testing.assert_array_equal(union.train.load(row), original)
        copies = [union.train.load(copy * n + row) for copy in (1, 2)]
        assert all(len(copy) == len(original) and not np.array_equal(copy, original) for copy in copies)
        np.testing.assert_array_equal(copies[0], union.train.load(n + row))
    assert list(union.validation.ids) == list(plain.validation.ids)
    np.testing.assert_array_equal(union.validation.load(0), plain.validation.load(0))
    other = make_task(small_study(UNION, "finetune.seed=9"), manifest)
    assert set(other.train.ids) & set(union.train.ids) == set(plain.train.ids), "another seed is another copy"


def test_on_the_fly_clips_stay_and_are_varied_by_seed(manifest: Manifest) -> None:
    study = small_study("finetune.augment={probability: 1.0, transforms: [{name: FrequencyMask}]}")
    task, plain = make_task(study, manifest), make_task(small_study(), manifest)
    assert list(task.train.ids) == list(plain.train.ids)
    assert (task.validation.augment, plain.train.augment) == (None, None)
    samples = task.train.load(0)
    np.testing.assert_array_equal(samples, plain.train.load(0))
    assert task.train.augment is not None
    one, same, other = (task.train.augment(samples, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    assert task.train.augmentation["mode"] == "on-the-fly"


def test_augmentations_are_tried_on_the_shortest_clip_there_is(manifest: Manifest) -> None:
    """Halving up to 8 stretches of 500 ms is possible in each clip of 2.5 s, and mostly not in one second."""
    for number, path in enumerate(manifest.audio_paths()):
        soundfile.write(path, voice(number, 120 + number, 2.5), RATE_HZ)
    parameters = {"num_time_intervals": 8, "max_width": 500}
    splice = {"library": "torch-audiomentations", "name": "SpliceOut", **parameters}
    study = small_study(f"finetune.augment={json.dumps({'transforms': [splice]})}")
    long = dataclasses.replace(manifest, table=manifest.table.assign(duration_s=2.5))
    task = make_task(study, long)
    assert task.train.augment is not None
    assert all(len(task.train.augment(task.train.load(row), row)) >= 400 for row in range(len(task.train)))
    soundfile.write(manifest.audio_paths()[0], voice(0, 120, 1.0), RATE_HZ)
    durations = long.table["duration_s"].mask(long.table.index == 0, 1.0)
    shorter = dataclasses.replace(long, table=long.table.assign(duration_s=durations, split="train"))
    with pytest.raises(ConfigError, match=r"SpliceOut.* on a clip of 16000 samples"):
        make_task(study, shorter)


def test_an_augmentation_that_does_not_exist_is_refused(manifest: Manifest) -> None:
    study = small_study("finetune.augment={transforms: [{library: audiomentations, name: AddGausianSNR}]}")
    with pytest.raises(ConfigError, match="AddGaussianSNR"):
        make_task(study, manifest)


def test_splits_without_a_class_are_described(manifest: Manifest) -> None:
    table, study = manifest.table, small_study()
    assert describe_gaps(table, study.finetune) == []
    missing = table[~((table["split"] != "train") & (table["label"] == "joy"))]
    assert describe_gaps(missing, study.finetune) == [
        "validation has no clip of 'joy': the choice of the best step, and early stopping, know nothing of it",
        "test has no clip of 'joy': scores on it know nothing of it",
    ]
    assert describe_gaps(missing[missing["split"] != "test"], study.finetune)[1:] == []
    numbers = small_study("finetune.targets=numeric", "finetune.target_columns=[arousal]")
    assert describe_gaps(missing, numbers.finetune) == []


def test_a_class_without_training_clips_is_refused_with_where_its_clips_are(manifest: Manifest) -> None:
    table = manifest.table
    counts = table[table["label"] == "joy"]["split"].value_counts()
    table = table[~((table["split"] == "train") & (table["label"] == "joy"))]
    expected = rf"class 'joy' has no training clip \({counts['validation']} in validation, {counts['test']} in test\)"
    with pytest.raises(SplitError, match=expected):
        make_task(small_study(), dataclasses.replace(manifest, table=table))


@pytest.mark.parametrize("value", [1e308, -1e30, np.inf, np.nan])
def test_numbers_too_large_to_compute_with_are_refused(value: float, manifest: Manifest) -> None:
    study = small_study("finetune.targets=numeric", "finetune.target_columns=[arousal]")
    table = manifest.table.copy()
    table.loc[3, "arousal"] = value
    with pytest.raises(ManifestError, match=r"1 clips have no usable target(.|\n)*less than 1e\+30(.|\n)*arousal"):
        make_task(study, dataclasses.replace(manifest, table=table))
