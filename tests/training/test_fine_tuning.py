"""Whole runs: what they leave, that they resume exactly, and what they refuse."""

from __future__ import annotations

import dataclasses
import functools
import json
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks import kill_training
from ser_probe.errors import AudioError, BackboneError, CheckpointError, SerProbeError, SplitError
from ser_probe.files import read_json
from ser_probe.models.checkpoint import load_classifier
from ser_probe.models.heads import HeadSettings
from ser_probe.models.loading import load_backbone
from ser_probe.models.precision import read_products
from ser_probe.models.targets import Targets
from ser_probe.training import trainer
from ser_probe.training.run import TrainingResult
from ser_probe.training.trainer import SerTrainer
from tests.forked import Forked
from tests.training.conftest import TARGETS, Interrupting, make_clips, make_settings

Tune = Callable[..., TrainingResult]


@pytest.fixture(scope="module")
def whole(tune: Tune, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    """A run that was left alone. Its folder is only read."""
    return tune(tmp_path_factory.mktemp("whole"))


def run_folder(result: TrainingResult) -> Path:
    return result.checkpoints[0][1].parent.parent


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return {**load_file(checkpoint / "model.safetensors"), **load_file(checkpoint / "head.safetensors")}


def assert_equal_bits(ours: TrainingResult, theirs: TrainingResult) -> None:
    """Compare every weight of every checkpoint, and the tables."""
    assert [step for step, _ in ours.checkpoints] == [step for step, _ in theirs.checkpoints]
    for (_, our_path), (_, their_path) in zip(ours.checkpoints, theirs.checkpoints, strict=True):
        our_weights, their_weights = weights(our_path), weights(their_path)
        assert our_weights.keys() == their_weights.keys()
        for name, tensor in our_weights.items():
            assert torch.equal(tensor, their_weights[name]), f"{our_path.name}: {name}"
    pd.testing.assert_frame_equal(ours.table, theirs.table, check_exact=True)
    assert (ours.best_step, ours.best_value, ours.stopped_early) == (
        theirs.best_step,
        theirs.best_value,
        theirs.stopped_early,
    )


def interrupt(tune: Tune, folder: Path, after_steps: int, **options: object) -> None:
    with pytest.raises(KeyboardInterrupt):
        tune(folder, progress=Interrupting(after_steps), **options)


# What a run leaves


def test_checkpoints_lie_at_step_zero_every_k_steps_and_the_last(whole: TrainingResult) -> None:
    assert [step for step, _ in whole.checkpoints] == [0, 2, 4, 6, 8, 9]
    assert whole.resumed_from is None
    assert not whole.stopped_early
    names = {path.name for path in whole.checkpoints[-1][1].iterdir()}
    assert "training_args.bin" not in names
    assert {"optimizer.pt", "scheduler.pt", "trainer_state.json", "model.safetensors", "head.safetensors"} <= names
    with_optimizer = [step for step, path in whole.checkpoints if (path / "optimizer.pt").exists()]
    assert with_optimizer == [9]
    assert any((run_folder(whole) / "tensorboard").iterdir())


def test_step_zero_is_the_untouched_backbone(whole: TrainingResult) -> None:
    untouched = load_backbone("tiny-wavlm-base")
    hashes = [load_backbone(path).weights_hash() for _, path in whole.checkpoints]
    assert hashes[0] == untouched.weights_hash()
    assert len(set(hashes)) == len(hashes)


def test_the_front_end_stays_and_the_rest_is_trained(whole: TrainingResult) -> None:
    before, after = weights(whole.checkpoints[0][1]), weights(whole.checkpoints[-1][1])
    # The mask embedding is used by SpecAugment alone.
    frozen = {name for name in before if name.startswith("feature_extractor.") or name == "masked_spec_embed"}
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == frozen


def test_automodel_opens_a_checkpoint_with_all_weights(whole: TrainingResult) -> None:
    from transformers import AutoModel

    path = whole.checkpoints[-1][1]
    model, loading = AutoModel.from_pretrained(path, output_loading_info=True)
    assert not any(loading[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert load_backbone(path).weights_hash() == load_classifier(path).backbone.weights_hash()
    assert type(model).__name__ == "WavLMModel"


def test_the_table_holds_each_step_and_each_evaluation(whole: TrainingResult) -> None:
    table = whole.table
    losses = table[(table["split"] == "train") & (table["measure"] == "loss")]
    assert losses["step"].tolist() == list(range(1, 10))
    for measure in ("loss", "accuracy", "uar", "macro_f1"):
        rows = table[(table["split"] == "validation") & (table["measure"] == measure)]
        assert rows["step"].tolist() == [0, 2, 4, 6, 8, 9]
    assert np.isfinite(table["value"]).all()


def test_the_best_step_is_recorded(whole: TrainingResult) -> None:
    table = whole.table[(whole.table["split"] == "validation") & (whole.table["measure"] == "loss")]
    best = table.loc[table["value"].idxmin()]
    assert read_json(run_folder(whole) / "best.json") == {
        "step": int(best["step"]),
        "metric": "loss",
        "value": best["value"],
    }
    assert (whole.best_step, whole.best_value) == (int(best["step"]), best["value"])


def test_the_loss_goes_down_on_an_easy_task(whole: TrainingResult) -> None:
    table = whole.table[(whole.table["split"] == "validation") & (whole.table["measure"] == "loss")]
    assert table["value"].iloc[-1] < 0.7 * table["value"].iloc[0]


def test_the_validation_scores_are_those_of_the_checkpoint_clip_by_clip(whole: TrainingResult) -> None:
    classifier = load_classifier(whole.checkpoints[-1][1])
    clips = make_clips(6, seed=2)
    with torch.no_grad():
        logits = torch.cat([classifier([clips.load(row)]) for row in range(6)])
    losses = torch.nn.functional.cross_entropy(logits, torch.tensor(clips.targets), reduction="none")
    last = whole.table[(whole.table["split"] == "validation") & (whole.table["step"] == 9)]
    value = dict(zip(last["measure"], last["value"], strict=True))
    assert value["loss"] == pytest.approx(losses.mean().item(), rel=1e-5)  # batches are exact to fp32 rounding
    assert value["accuracy"] == pytest.approx((logits.argmax(-1).numpy() == clips.targets).mean())


def test_another_seed_is_another_run_and_the_same_seed_the_same(
    tune: Tune, whole: TrainingResult, tmp_path: Path
) -> None:
    torch.rand(3)
    assert_equal_bits(tune(tmp_path / "same"), whole)
    other = tune(tmp_path / "other", make_settings(seed=1))
    heads = [load_file(result.checkpoints[0][1] / "head.safetensors")["linear.weight"] for result in (whole, other)]
    assert not torch.equal(*heads)


def test_evaluating_more_often_does_not_change_the_training(tune: Tune, whole: TrainingResult, tmp_path: Path) -> None:
    rare = tune(tmp_path, make_settings(checkpoint_every=50))
    assert [step for step, _ in rare.checkpoints] == [0, 9]
    ours, theirs = (weights(result.checkpoints[-1][1]) for result in (rare, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("backbone", ["tiny-wavlm-base", "tiny-wav2vec2-large"])
def test_the_cached_front_end_gives_equal_weights(tune: Tune, tmp_path: Path, backbone: str) -> None:
    short = {"max_steps": 3, "checkpoint_every": 3}
    cached = tune(tmp_path / "cached", make_settings(**short), backbone=backbone)
    direct = tune(tmp_path / "direct", make_settings(**short, cache_front_end=False), backbone=backbone)
    assert_equal_bits(cached, direct)


def test_the_front_end_is_trained_where_asked(tune: Tune, tmp_path: Path) -> None:
    result = tune(tmp_path, make_settings(trained="all", max_steps=2))
    before, after = (weights(result.checkpoints[row][1]) for row in (0, -1))
    name = "feature_extractor.conv_layers.0.conv.weight"
    assert not torch.equal(before[name], after[name])


def test_early_stopping_ends_the_run(tune: Tune, tmp_path: Path) -> None:
    # No evaluation can improve by 10: the second without improvement is at step 4.
    settings = make_settings(early_stopping_patience=2, early_stopping_threshold=10.0)
    result = tune(tmp_path, settings)
    assert [step for step, _ in result.checkpoints] == [0, 2, 4]
    assert result.stopped_early


def test_fewer_clips_than_a_batch_are_enough(tune: Tune, tmp_path: Path) -> None:
    settings = make_settings(epochs=2, max_steps=None, batch_size=16)
    assert tune(tmp_path, settings, train=make_clips(3, seed=1)).checkpoints[-1][0] == 2


def test_bf16_keeps_the_weights_in_float32_and_leaves_no_trace(
    tune: Tune, whole: TrainingResult, tmp_path: Path
) -> None:
    half = tune(tmp_path / "half", make_settings(precision="bf16", max_steps=2))
    assert {tensor.dtype for tensor in weights(half.checkpoints[-1][1]).values()} == {torch.float32}
    assert_equal_bits(tune(tmp_path / "full"), whole)


def test_nothing_is_printed_and_the_callers_random_states_stay(
    tune: Tune, tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002 - the global one is the matter

    def seed() -> None:
        random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002

    seed()
    expected = draw()
    seed()
    tune(tmp_path, make_settings(max_steps=2, spec_augment=True))
    assert draw() == expected
    assert capfd.readouterr() == ("", "")
    assert [str(warning.message) for warning in recwarn if warning.category is not DeprecationWarning] == []


def test_the_progress_is_told_of_every_step_and_evaluation(tune: Tune, tmp_path: Path) -> None:
    progress = Interrupting(100)
    tune(tmp_path, make_settings(max_steps=3), progress=progress)
    assert progress.left == 97
    assert progress.said[0].startswith("training ")
    assert [line.partition(":")[0] for line in progress.said[1:]] == ["step 0", "step 2", "step 3"]


# Going on


@pytest.mark.parametrize(
    "after_steps",
    [
        pytest.param(1, id="before the first checkpoint after step 0"),
        pytest.param(5, id="in the middle of an epoch"),
        pytest.param(8, id="before step 8, which ends an epoch, is evaluated"),
        pytest.param(9, id="before the last checkpoint, after an epoch's end"),
    ],
)
def test_a_resumed_run_equals_the_uninterrupted_one(
    tune: Tune, whole: TrainingResult, tmp_path: Path, after_steps: int
) -> None:
    interrupt(tune, tmp_path, after_steps)
    resumed = tune(tmp_path)
    assert resumed.resumed_from == (after_steps - 1) // 2 * 2
    assert_equal_bits(resumed, whole)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(
            {"spec_augment": True, "gradient_accumulation": 3, "batch_size": 2},
            id="masks from numpy's generator, the rest of an epoch's accumulated batches",
        ),
        pytest.param({"trained": "all"}, id="front end trained"),
        pytest.param(
            {"trained": "lora", "early_stopping_patience": 3, "early_stopping_threshold": 10.0, "max_steps": 9},
            id="adapters, early stopping's count",
        ),
        pytest.param(
            {
                "precision": "bf16",
                "group_by_length": False,
                "scheduler": "cosine",
                "head_learning_rate": 1e-2,
                "metric": "uar",
            },
            id="bf16, batches of any lengths, two learning rates",
        ),
    ],
)
def test_all_that_training_depends_on_is_restored(tune: Tune, tmp_path: Path, changes: dict[str, object]) -> None:
    settings = make_settings(**({"max_steps": 4} | changes))
    interrupt(tune, tmp_path / "resumed", 3, settings=settings)
    resumed = tune(tmp_path / "resumed", settings)
    assert resumed.resumed_from == 2
    assert_equal_bits(resumed, tune(tmp_path / "whole", settings))


def test_without_seeds_by_step_a_resumed_run_would_differ(
    tune: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ser_probe.training.callbacks import StepSeeds

    monkeypatch.setattr(StepSeeds, "on_step_begin", lambda *_, **__: None)
    settings = make_settings(max_steps=4)
    interrupt(tune, tmp_path / "resumed", 3, settings=settings)
    ours, theirs = (weights(tune(tmp_path / name, settings).checkpoints[-1][1]) for name in ("resumed", "whole"))
    assert any(not torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_run_interrupted_twice_equals_the_uninterrupted_one(
    tune: Tune, whole: TrainingResult, tmp_path: Path
) -> None:
    interrupt(tune, tmp_path, 3)
    interrupt(tune, tmp_path, 3)  # from step 2 on
    resumed = tune(tmp_path)
    assert resumed.resumed_from == 4
    assert_equal_bits(resumed, whole)


def test_a_killed_process_leaves_a_run_that_goes_on_exactly(tmp_path: Path) -> None:
    run = tmp_path / "killed"
    train = functools.partial(kill_training.train, threads=torch.get_num_threads(), steps=4, every=2)
    train(tmp_path / "whole")
    process = Forked(lambda: train(run), tmp_path)
    assert kill_training.kill(process, run, 2, None) == "writing"
    train(run)
    assert kill_training.compare(tmp_path / "whole", run) is None
    assert not list((run / "checkpoints").glob(".*"))


def test_a_finished_run_does_nothing_and_returns_the_same(
    tune: Tune, whole: TrainingResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the front end was opened")

    monkeypatch.setattr("ser_probe.training.fine_tuning.open_front_end", refuse)
    again = tune(run_folder(whole), progress=Interrupting(1))
    assert again.resumed_from is None
    assert_equal_bits(again, whole)


def test_a_run_killed_before_it_wrote_down_its_end_does_not_train_on(
    tune: Tune, whole: TrainingResult, tmp_path: Path
) -> None:
    shutil.copytree(run_folder(whole), tmp_path / "run")
    record = read_json(tmp_path / "run" / "training.json")
    (tmp_path / "run" / "training.json").write_text(json.dumps({**record, "finished": None}))
    (tmp_path / "run" / "best.json").unlink()
    assert_equal_bits(tune(tmp_path / "run", progress=Interrupting(1)), whole)
    assert (tmp_path / "run" / "best.json").is_file()


def test_a_damaged_newest_checkpoint_is_passed_over(tune: Tune, whole: TrainingResult, tmp_path: Path) -> None:
    settings = make_settings(keep_optimizer="all")
    interrupt(tune, tmp_path, 7, settings=settings)
    (tmp_path / "checkpoints" / "checkpoint-6" / "model.safetensors").unlink()
    progress = Interrupting(100)
    resumed = tune(tmp_path, settings, progress=progress)
    assert progress.said[:2] == ["passed over checkpoint-6: model.safetensors is missing", "going on from step 4"]
    assert_equal_bits(resumed, whole)


def test_restart_deletes_the_run(tune: Tune, whole: TrainingResult, tmp_path: Path) -> None:
    tune(tmp_path, make_settings(max_steps=2, seed=1))
    assert_equal_bits(tune(tmp_path, restart=True), whole)


# What it refuses


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": make_settings(learning_rate=2e-3)}, r"learning_rate was 0\.001, is 0\.002"),
        ({"backbone": "tiny-hubert-base"}, "backbone weights was"),
        ({"train": make_clips(13, seed=1, labels=[0, 1, 2, 2] + [0] * 9)}, "training clips was"),
        ({"targets": Targets("classes", ("low", "middle", "top"))}, "targets was .*, is "),
        ({"head": HeadSettings(dropout=0.2)}, r"head\.dropout was 0\.1, is 0\.2"),
    ],
)
def test_a_folder_of_another_run_is_refused(
    tune: Tune, whole: TrainingResult, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(CheckpointError, match="holds another training run") as caught:
        tune(run_folder(whole), **changes)
    assert caught.match(message)
    assert caught.match("--restart")


def test_what_does_not_change_the_weights_may_change(tune: Tune, whole: TrainingResult) -> None:
    settings = make_settings(cache_front_end=False, keep_optimizer="all")
    assert tune(run_folder(whole), settings).best_step == whole.best_step


@pytest.mark.parametrize("text", [None, "{", "{}"])
def test_checkpoints_without_a_record_are_refused(
    tune: Tune, whole: TrainingResult, tmp_path: Path, text: str | None
) -> None:
    shutil.copytree(run_folder(whole), tmp_path / "run")
    record = tmp_path / "run" / "training.json"
    record.unlink() if text is None else record.write_text(text)
    with pytest.raises(CheckpointError, match=r"checkpoints without training.json|training.json cannot be read"):
        tune(tmp_path / "run")


@pytest.mark.parametrize("finished", [True, False])
def test_a_deleted_checkpoint_is_noticed(tune: Tune, whole: TrainingResult, tmp_path: Path, finished: bool) -> None:
    shutil.copytree(run_folder(whole), tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "checkpoint-4")
    if not finished:
        record = read_json(tmp_path / "run" / "training.json")
        (tmp_path / "run" / "training.json").write_text(json.dumps({**record, "finished": None}))
    with pytest.raises(CheckpointError, match="checkpoint of the run was deleted or changed"):
        tune(tmp_path / "run")


def forget_hashes(checkpoint: Path) -> None:
    """Make a checkpoint what older releases wrote, whose changes show in what they lead to alone."""
    contents = read_json(checkpoint / "checkpoint.json")
    del contents["sha256"]
    (checkpoint / "checkpoint.json").write_text(json.dumps(contents))


def test_a_damaged_optimiser_state_is_refused(tune: Tune, tmp_path: Path) -> None:
    interrupt(tune, tmp_path, 3)
    path = tmp_path / "checkpoints" / "checkpoint-2" / "optimizer.pt"
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(CheckpointError, match=r"no checkpoint is whole(.|\n)*optimizer.pt is not as it was written"):
        tune(tmp_path)
    forget_hashes(path.parent)
    with pytest.raises(CheckpointError, match="optimiser's state cannot be loaded"):
        tune(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("no moment", "no moments for weights of shape"),
        ("rate", "a setting of the optimiser is nan"),
        ("schedule", "a schedule at step 7 from"),
    ],
)
def test_a_state_that_is_not_whole_is_refused(tune: Tune, tmp_path: Path, change: str, message: str) -> None:
    interrupt(tune, tmp_path, 3)
    checkpoint = tmp_path / "checkpoints" / "checkpoint-2"
    forget_hashes(checkpoint)
    path = checkpoint / ("scheduler.pt" if change == "schedule" else "optimizer.pt")
    state = torch.load(path, weights_only=True)
    if change == "no moment":
        del state["state"][0]["exp_avg_sq"]
    elif change == "rate":
        state["param_groups"][0]["weight_decay"] = float("nan")
    else:
        state["last_epoch"] = 7
    torch.save(state, path)
    contents = read_json(checkpoint / "checkpoint.json")
    contents["files"][path.name] = path.stat().st_size
    (checkpoint / "checkpoint.json").write_text(json.dumps(contents))
    with pytest.raises(CheckpointError, match=rf"state is damaged, or of another run(.|\n)*{message}"):
        tune(tmp_path)


def test_a_weight_that_was_flipped_is_not_trained_on(tune: Tune, tmp_path: Path) -> None:
    interrupt(tune, tmp_path, 5)
    path = tmp_path / "checkpoints" / "checkpoint-4" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        CheckpointError, match=r"no checkpoint is whole(.|\n)*model.safetensors is not as it was written"
    ):
        tune(tmp_path)


def test_an_optimiser_state_that_would_run_code_is_refused(tune: Tune, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "ran",)

    interrupt(tune, tmp_path, 3)
    checkpoint = tmp_path / "checkpoints" / "checkpoint-2"
    torch.save({"state": Bomb()}, checkpoint / "optimizer.pt")
    contents = read_json(checkpoint / "checkpoint.json")
    contents["files"]["optimizer.pt"] = (checkpoint / "optimizer.pt").stat().st_size
    del contents["sha256"]
    (checkpoint / "checkpoint.json").write_text(json.dumps(contents))
    with pytest.raises(CheckpointError, match="holds more than tensors"):
        tune(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_other_threads_are_pointed_out_on_resume(tune: Tune, tmp_path: Path) -> None:
    interrupt(tune, tmp_path, 3)
    record = read_json(tmp_path / "training.json")
    record["environment"]["threads"] = 64
    (tmp_path / "training.json").write_text(json.dumps(record))
    progress = Interrupting(1)
    with pytest.raises(KeyboardInterrupt):
        tune(tmp_path, progress=progress)
    assert "begun elsewhere (threads was 64" in progress.said[0]


def test_a_diverged_run_stops_and_says_where(tune: Tune, tmp_path: Path) -> None:
    with pytest.raises(SerProbeError, match="training loss is no longer a number") as caught:
        tune(tmp_path, make_settings(learning_rate=1e30, warmup_ratio=0.0))
    assert caught.match(r"step [0-3], learning rate")
    assert (tmp_path / "checkpoints" / "checkpoint-0").is_dir()


def test_a_clip_that_holds_no_number_is_named_as_what_it_is(tune: Tune, tmp_path: Path) -> None:
    clips = make_clips(13, seed=1)
    damaged = dataclasses.replace(clips, load=lambda row: clips.load(row) * np.float32(np.nan if row == 5 else 1))
    settings = make_settings(cache_front_end=False, cache_audio=False)
    with pytest.raises(SerProbeError, match="A clip to train on holds what is no finite number") as caught:
        tune(tmp_path, settings, train=damaged)
    assert caught.match(r"clip 1/5/")
    assert (tmp_path / "checkpoints" / "checkpoint-0").is_dir()


def test_one_class_is_refused(tune: Tune, tmp_path: Path) -> None:
    with pytest.raises(SplitError, match="only one class"):
        tune(
            tmp_path,
            targets=Targets("classes", ("low",)),
            train=make_clips(3, 1, labels=[0] * 3),
            validation=make_clips(3, 2, labels=[0] * 3),
        )


def test_a_full_disk_leaves_the_checkpoints_before(tune: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = torch.save

    def fail_at_step_two(value: object, path: Path) -> None:
        if "checkpoint-2" in str(path):
            raise OSError(28, "No space left on device")
        save(value, path)

    monkeypatch.setattr("torch.save", fail_at_step_two)
    with pytest.raises(CheckpointError, match="checkpoint of step 2 could not be written"):
        tune(tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["checkpoint-0"]


@pytest.mark.parametrize("trained", [pytest.param("encoder", marks=pytest.mark.slow), "all"])
@pytest.mark.parametrize("name", ["tiny-data2vec-audio-base", "tiny-unispeech-sat-large", "tiny-hubert-batchnorm"])
def test_other_families_are_trained_and_go_on(name: str, trained: str, tune: Tune, tmp_path: Path) -> None:
    settings = make_settings(max_steps=3, checkpoint_every=1, trained=trained)
    whole = tune(tmp_path / "whole", settings, backbone=name)
    hashes = [load_backbone(path).weights_hash() for _, path in whole.checkpoints]
    assert hashes[0] == load_backbone(name).weights_hash()
    assert len(set(hashes)) == 3, "all but the first step of the warm-up, whose learning rate is 0"
    interrupt(tune, tmp_path / "resumed", 2, settings=settings, backbone=name)
    assert_equal_bits(tune(tmp_path / "resumed", settings, backbone=name), whole)


@pytest.mark.parametrize("name", ["tiny-whisper", "tiny-wav2vec2-bert"])
def test_a_family_that_cannot_be_trained_leaves_no_folder(name: str, tune: Tune, tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="cannot be fine-tuned here"):
        tune(tmp_path / "run", backbone=name)
    assert not (tmp_path / "run").exists()


def test_a_cuda_device_other_than_the_first_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ser_probe.models.backbone import Backbone
    from ser_probe.training.fine_tuning import TrainingTask, fine_tune

    monkeypatch.setattr(Backbone, "device", torch.device("cuda", 1))
    clips = make_clips(3, seed=1)
    with pytest.raises(SerProbeError, match="first CUDA device"):
        fine_tune(
            load_backbone("tiny-wavlm-base"), TrainingTask(clips, clips, TARGETS), make_settings(), tmp_path,
            cache_folder=tmp_path, recipe={},
        )  # fmt: skip


def test_importing_the_entry_loads_no_transformers() -> None:
    import subprocess

    code = "import sys, ser_probe.training.settings; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# Arithmetic


def test_every_step_and_evaluation_is_computed_in_exact_float32(
    tune: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever transformers sets for its arguments, and whatever was set before."""
    seen: list[tuple[str, dict[str, str]]] = []
    outputs, arguments, front_end = SerTrainer._outputs, trainer._arguments, trainer.run_front_end

    def look(name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any, **named: Any) -> Any:
            seen.append((name, read_products()))
            return plain(*given, **named)

        return run

    def as_on_a_gpu(*given: Any) -> Any:
        torch.backends.fp32_precision = "tf32"
        return arguments(*given)

    monkeypatch.setattr(SerTrainer, "_outputs", look("model", outputs))
    monkeypatch.setattr(trainer, "run_front_end", look("front end", front_end))
    monkeypatch.setattr(trainer, "_arguments", as_on_a_gpu)
    before = read_products()
    tune(tmp_path, make_settings(max_steps=2, cache_front_end=False))
    assert {name for name, _ in seen} == {"model", "front end"}
    assert {tuple(state.items()) for _, state in seen} == {
        (("any", "ieee"), ("matmul", "ieee"), ("conv", "ieee"), ("rnn", "ieee"))
    }
    assert read_products() == before


# What is not finite


def spoil(path: Path, name: str) -> None:
    """Put one NaN into a tensor of a checkpoint, of which the size does not change."""
    tensors = load_file(path)
    tensors[name].view(-1)[0] = torch.nan
    save_file(tensors, path)


def test_a_checkpoint_with_nan_is_not_gone_on_from(tune: Tune, tmp_path: Path) -> None:
    interrupt(tune, tmp_path, after_steps=5)
    checkpoint = tmp_path / "checkpoints" / "checkpoint-4"
    forget_hashes(checkpoint)
    kept = (checkpoint / "head.safetensors").read_bytes()
    spoil(checkpoint / "head.safetensors", next(iter(load_file(checkpoint / "head.safetensors"))))
    with pytest.raises(SerProbeError, match=r"finite|NaN") as caught:
        tune(tmp_path)
    assert "checkpoint-4" in str(caught.value)
    (checkpoint / "head.safetensors").write_bytes(kept)
    state = torch.load(checkpoint / "optimizer.pt", weights_only=True)
    state["state"][0]["exp_avg"].view(-1)[0] = torch.inf
    torch.save(state, checkpoint / "optimizer.pt")
    contents = json.loads((checkpoint / "checkpoint.json").read_text())
    contents["files"]["optimizer.pt"] = (checkpoint / "optimizer.pt").stat().st_size
    (checkpoint / "checkpoint.json").write_text(json.dumps(contents))
    with pytest.raises(CheckpointError, match="optimiser's states of the checkpoint hold numbers that are not finite"):
        tune(tmp_path)


def test_a_clip_that_augmentation_makes_infinite_is_named(tune: Tune, tmp_path: Path) -> None:
    def divide(samples: np.ndarray, seed: int) -> np.ndarray:
        return np.full_like(samples, np.inf)

    clips = dataclasses.replace(make_clips(13, seed=1), augment=divide)
    expected = r"A clip to train on holds what is no finite number(.|\n)*its augmented samples"
    with pytest.raises(AudioError, match=expected):
        tune(tmp_path, make_settings(max_steps=1), train=clips)


def test_a_model_that_computes_no_number_is_not_said_to_diverge(
    tune: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SerTrainer, "_outputs", lambda self, model, inputs: inputs["targets"] * torch.nan)
    with pytest.raises(SerProbeError, match="no number before training has begun"):
        tune(tmp_path, make_settings(max_steps=1))
