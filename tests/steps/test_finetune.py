"""finetune: every setting arrives, and no run is lost to an edited configuration."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest
from safetensors.torch import load_file

from ser_probe.config import FinetuneConfig, StudyConfig, check_options
from ser_probe.data.manifest import Manifest, read_manifest
from ser_probe.errors import BackboneError, CheckpointError, ManifestError, SerProbeError, SplitError
from ser_probe.steps import finetune as module
from ser_probe.steps.finetune import finetune_manifest, train_study, training_settings
from ser_probe.training.locks import exclusive
from ser_probe.training.settings import TrainingSettings

from .conftest import OPTIONS, Said, small_study

FOLDER = Path("runs/small")
CHANGED = {
    "epochs": 3.0, "max_steps": 7, "batch_size": 3, "gradient_accumulation": 2, "learning_rate": 2e-4,
    "head_learning_rate": 3e-3, "weight_decay": 0.2, "warmup_ratio": 0.3, "scheduler": "cosine", "max_grad_norm": 2.0,
    "precision": "bf16", "checkpoint_every": 9, "trained": "all", "spec_augment": True, "seed": 5,
    "keep_optimizer": "all", "cache_front_end": False, "cache_audio": False, "loss": "cross_entropy",
    "class_weights": "balanced", "label_smoothing": 0.1, "group_by_length": False, "gradient_checkpointing": True,
    "early_stopping": {"metric": "uar", "threshold": 0.5, "patience": 2},
}  # fmt: skip
OF_THE_TASK = {
    "head": {
        "layers": 2, "mix": "pooled", "pooling": "max", "batch_norm": True, "relu": True, "dropout": 0.4,
        "hidden": [7, 5], "l2": 0.2,
    },
    "lora": {"rank": 2, "alpha": 3.0, "dropout": 0.1, "targets": ["k_proj"]},
    "targets": "distribution", "target_columns": ["a", "b"], "augment": None,
}  # fmt: skip
"""What `make_task` takes; see test_training_task."""
NOT_OF_TRAINING = {"early_stopping", "class_weights"}


def test_every_setting_arrives() -> None:
    """Each key of the config, changed, changes its setting; a setting that no key reaches would show here."""
    known = {*CHANGED, *OF_THE_TASK, "enabled", "device"}
    assert known == set(FinetuneConfig.model_fields), "a new key needs a row here"
    options = {**OPTIONS, **{f"finetune.{key}": value for key, value in CHANGED.items()}, "finetune.head.l2": 0.2}
    settings = training_settings(check_options(StudyConfig, options))
    for key, value in CHANGED.items():
        if key not in NOT_OF_TRAINING:
            assert getattr(settings, key) == value, key
    stopping = (settings.metric, settings.early_stopping_threshold, settings.early_stopping_patience)
    assert stopping == ("uar", 0.5, 2)
    default = TrainingSettings()
    unchanged = {
        each.name for each in dataclasses.fields(settings)
        if getattr(settings, each.name) == getattr(default, each.name)
    }  # fmt: skip
    assert unchanged == set()
    assert (settings.head_l2, settings.class_weights) == (0.2, True)


def test_without_early_stopping() -> None:
    settings = training_settings(small_study())
    assert settings.early_stopping_patience is None
    assert settings.metric == "loss"
    assert settings.cache_front_end is True


def test_the_defaults_are_those_of_training() -> None:
    options = {name: value for name, value in OPTIONS.items() if not name.startswith("finetune.")}
    assert training_settings(check_options(StudyConfig, options)) == TrainingSettings()


@pytest.mark.parametrize("name", ["tiny-whisper", "tiny-wav2vec2-bert"])
def test_what_cannot_be_trained_is_said_before_a_clip_is_decoded(
    name: str, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "prepare_study_clips", lambda *_, **__: pytest.fail("clips were decoded"))
    config = check_options(StudyConfig, {**OPTIONS, "backbone.name": name})
    with pytest.raises(BackboneError, match="cannot be fine-tuned here"):
        finetune_manifest(config, Path("out"))


def test_what_the_table_and_the_settings_show_is_said_before_a_model_is_loaded(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "prepare_study_clips", lambda *_, **__: pytest.fail("clips were decoded"))
    monkeypatch.setattr(module, "_load_trainable", lambda *_, **__: pytest.fail("a model was loaded"))

    def train(*overrides: str) -> None:
        finetune_manifest(small_study(*overrides), Path("out"))

    with pytest.raises(SplitError, match=r"has no column 'split'(.|\n)*--scheme study_e"):
        train("split.scheme=manifest")
    with pytest.raises(ManifestError, match="The manifest has no column 'arousal'"):
        train("finetune={targets: numeric, target_columns: [arousal]}")
    with pytest.raises(SerProbeError, match="torch sees no CUDA device"):
        train("finetune.device=cuda")
    assert not Path("out").exists()


def test_a_run_may_start_from_random_weights() -> None:
    backbone = module._load_trainable(small_study("backbone.random_weights=7"))
    assert backbone.name == "tiny-wavlm-base (random weights, seed 7)"
    assert backbone.weights_hash() != module._load_trainable(small_study()).weights_hash()


def manifest() -> Manifest:
    return read_manifest(FOLDER / "manifest.csv")


def test_another_configuration_sets_the_run_aside(finished: Path) -> None:
    weights = (FOLDER / "checkpoints/checkpoint-2/model.safetensors").read_bytes()
    said = Said()
    files = train_study(small_study("finetune.max_steps=1"), manifest(), FOLDER, progress=said)
    assert [path.parent.name for path in files if path.name == "model.safetensors"] == ["checkpoint-0", "checkpoint-1"]
    (kept,) = FOLDER.glob("replaced-*")
    assert (kept / "checkpoints/checkpoint-2/model.safetensors").read_bytes() == weights
    assert {path.name for path in kept.iterdir()} == {"checkpoints", "training.json", "best.json", "tensorboard"}
    (line,) = [line for line in said.lines if "are kept in" in line]
    assert str(kept) in line
    assert "max_steps was 4, is 1" in line


def test_a_run_in_progress_is_not_set_aside(finished: Path) -> None:
    for options in ({}, {"restart": True}):
        with (
            exclusive(FOLDER / ".training.lock", "trains in this folder"),
            pytest.raises(CheckpointError, match="Another process trains in this folder"),
        ):
            train_study(small_study("finetune.max_steps=1"), manifest(), FOLDER, **options)
        assert (FOLDER / "checkpoints/checkpoint-4").is_dir()
        assert not list(FOLDER.glob("replaced-*"))


def test_a_run_stopped_before_its_first_checkpoint_stands_in_nobodys_way(
    corpus: Path, finished_once: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = read_manifest(finished_once / FOLDER / "manifest.csv")

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ser_probe.training.fine_tuning.open_front_end", stop)
        with pytest.raises(KeyboardInterrupt):
            train_study(small_study(), clips, FOLDER)
    assert (FOLDER / "training.json").is_file()
    train_study(small_study("finetune.max_steps=1"), clips, FOLDER)
    assert (FOLDER / "checkpoints/checkpoint-1").is_dir()
    assert not list(FOLDER.glob("replaced-*")), "nothing was lost, so nothing is kept"


def test_restart_keeps_the_run_before(finished: Path) -> None:
    before = (FOLDER / "checkpoints/checkpoint-4/model.safetensors").read_bytes()
    train_study(small_study(), manifest(), FOLDER, restart=True)
    (kept,) = FOLDER.glob("replaced-*")
    assert (kept / "checkpoints/checkpoint-4/model.safetensors").read_bytes() == before
    assert (FOLDER / "checkpoints/checkpoint-4/model.safetensors").read_bytes() == before, "the same seed"


def test_a_deleted_checkpoint_names_the_way_out(finished: Path) -> None:
    (FOLDER / "checkpoints/checkpoint-2/model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="A checkpoint of the run was deleted or changed") as raised:
        train_study(small_study(), manifest(), FOLDER)
    assert raised.value.fix == "put it back, or train anew with --force finetune"
    train_study(small_study(), manifest(), FOLDER, restart=True)
    assert (FOLDER / "checkpoints/checkpoint-2/model.safetensors").is_file()


def test_the_whole_verb(corpus: Path) -> None:
    options = {**OPTIONS, "finetune.max_steps": 1}
    split_column = check_options(StudyConfig, {**options, "split.scheme": "manifest"}, ["analyze.umap=null"])
    with pytest.raises(SplitError, match="The manifest has no column 'split'") as raised:
        finetune_manifest(split_column, Path("out"))
    assert raised.value.fix == "name a scheme with --scheme study_e"
    outcome = finetune_manifest(small_study("finetune.max_steps=1"), Path("out"))
    assert outcome.summary["checkpoints"] == "0, 1"
    assert outcome.files[-1] == Path("out/best.json")
    table = pd.read_csv("out/tables/training.csv")
    assert set(table["step"]) == {0, 1}
    assert (Path("out") / "manifest.csv").is_file()
    with pytest.raises(CheckpointError, match="The folder holds another training run"):
        finetune_manifest(small_study(), Path("out"))
    outcome = finetune_manifest(small_study("finetune.max_steps=2"), Path("out"), restart=True)
    assert outcome.summary["checkpoints"] == "0, 2"


def test_several_seeds_are_several_runs_with_one_table_and_figure(corpus: Path) -> None:
    study = small_study("finetune.max_steps=1")
    with pytest.raises(CheckpointError, match="There is no run to go on with"):
        finetune_manifest(study, Path("seeds"), seeds=[3, 1], must_continue=True)
    outcome = finetune_manifest(study, Path("seeds"), seeds=[3, 1])
    assert outcome.files[-2:] == (Path("seeds/seed-3/best.json"), Path("seeds/seed-1/best.json"))
    assert Path("seeds/figures/training.png") in outcome.files
    table = pd.read_csv("seeds/tables/training.csv")
    assert list(table["run_seed"].unique()) == [3, 1]
    heads = [load_file(f"seeds/seed-{seed}/checkpoints/checkpoint-0/head.safetensors") for seed in (3, 1)]
    assert not heads[0]["linear.weight"].equal(heads[1]["linear.weight"])
    backbones = [load_file(f"seeds/seed-{seed}/checkpoints/checkpoint-0/model.safetensors") for seed in (3, 1)]
    assert all(backbones[0][name].equal(backbones[1][name]) for name in backbones[0]), "each begins untrained"
    again = finetune_manifest(study, Path("seeds"), seeds=[3, 1], must_continue=True)
    assert again.summary == outcome.summary


def test_a_checkpoint_knows_how_its_clips_became_samples(corpus: Path) -> None:
    finetune_manifest(small_study("finetune.max_steps=1", "audio.loudness_lufs=-27.0"), Path("out"))
    note = json.loads(Path("out/checkpoints/checkpoint-1/audio.json").read_text())
    assert (note["audio"]["loudness_lufs"], note["audio"]["sample_rate_hz"]) == (-27.0, 16000)
