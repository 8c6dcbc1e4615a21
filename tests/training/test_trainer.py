"""The parts of the Trainer that a whole run does not show one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ser_probe.errors import SerProbeError
from ser_probe.models.heads import SerClassifier
from ser_probe.models.loading import load_backbone
from ser_probe.models.trained_part import choose_trained
from ser_probe.training.dataset import ClipDataset
from ser_probe.training.trainer import SerTrainer, repeatable_kernels
from tests.training.conftest import TARGETS, make_clips, make_settings

ACCUMULATION_TOLERANCE = 1e-5  # float32 sums in another order, relative to the largest gradient


def make_trainer(folder: Path, **changes: Any) -> SerTrainer:
    torch.manual_seed(0)
    classifier = SerClassifier(load_backbone("tiny-hubert-base"), TARGETS)
    choose_trained(classifier, "encoder")
    data = ClipDataset(make_clips(13, seed=1), TARGETS), ClipDataset(make_clips(6, seed=2), TARGETS)
    return SerTrainer(classifier, data, make_settings(**changes), folder, [])


def gradients(trainer: SerTrainer, batches: list[list[int]]) -> torch.Tensor:
    """Return the gradient that the Trainer accumulates over batches, as one vector."""
    data = trainer.train_clips
    inputs, count = trainer.get_batch_samples(
        iter([data.collate([data[row] for row in rows]) for rows in batches]), len(batches), torch.device("cpu")
    )
    trainer.create_optimizer_and_scheduler(9)
    trainer.current_gradient_accumulation_steps = len(batches)
    trainer.classifier.zero_grad()
    for module in trainer.classifier.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for batch in inputs:
        trainer.training_step(trainer.classifier, batch, count)
    return torch.cat([p.grad.flatten() for p in trainer.classifier.parameters() if p.grad is not None])


def test_accumulated_batches_give_the_gradient_of_the_one_batch(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    for name in ("hidden_dropout", "activation_dropout", "attention_dropout", "feat_proj_dropout", "layerdrop"):
        setattr(trainer.classifier.backbone.config, name, 0.0)
    one = gradients(trainer, [[0, 1, 2, 3, 4]])
    several = gradients(trainer, [[0, 1], [2, 3], [4]])
    assert (one - several).abs().max() < ACCUMULATION_TOLERANCE * one.abs().max()
    # The mean of the batches' means, which the last clip would weigh twice in, is another gradient.
    means = torch.stack([gradients(trainer, [rows]) for rows in ([0, 1], [2, 3], [4])]).mean(dim=0)
    assert (one - means).abs().max() > 100 * ACCUMULATION_TOLERANCE * one.abs().max()


def test_biases_and_norms_do_not_decay_and_the_head_has_its_own_rate(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, weight_decay=0.3, head_learning_rate=0.5)
    names = {id(parameter): name for name, parameter in trainer.classifier.named_parameters()}
    seen = {}
    for group in trainer.create_optimizer().param_groups:
        for parameter in group["params"]:
            seen[names[id(parameter)]] = (group["weight_decay"], group["lr"])
    assert seen["head.linear.weight"] == (0.3, 0.5)
    assert seen["head.linear.bias"] == (0.0, 0.5)
    assert seen["model.encoder.layers.0.attention.q_proj.weight"] == (0.3, 1e-3)
    assert not any(name.startswith("model.feature_extractor.") for name in seen)
    spared = {name for name, (decay, _) in seen.items() if decay == 0}
    assert {"model.encoder.layer_norm.weight", "model.feature_projection.layer_norm.weight"} <= spared
    assert all(name.endswith("bias") or "norm" in name for name in spared)


def test_the_learning_rate_rises_then_falls(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, max_steps=20, warmup_ratio=0.25)
    trainer.create_optimizer_and_scheduler(20)
    rates = []
    for _ in range(20):
        rates.append(trainer.lr_scheduler.get_last_lr()[0])
        trainer.optimizer.step()
        trainer.lr_scheduler.step()
    np.testing.assert_allclose(rates[:6], 1e-3 * np.arange(6) / 5)
    np.testing.assert_allclose(rates[5:], 1e-3 * np.arange(15, 0, -1) / 15)


@pytest.mark.parametrize("what", ["gradient norm", "validation loss"])
def test_values_that_are_no_numbers_stop_the_run(tmp_path: Path, what: str) -> None:
    trainer = make_trainer(tmp_path)
    trainer.create_optimizer_and_scheduler(9)
    if what == "gradient norm":
        trainer.classifier.head.linear.weight.grad = torch.full((3, 96), torch.inf)
        with pytest.raises(SerProbeError, match="gradient norm is no longer a number"):
            trainer._get_grad_norm(trainer.classifier)
    else:
        with torch.no_grad():
            trainer.classifier.head.linear.weight.fill_(torch.nan)
        with pytest.raises(SerProbeError, match="validation loss is no number before training has begun"):
            trainer.evaluate()
        trainer.state.global_step = 2
        with pytest.raises(SerProbeError, match="validation loss is no longer a number"):
            trainer.evaluate()


def test_cudnn_is_left_as_it_was() -> None:
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    with repeatable_kernels(torch.device("cuda")):
        assert (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark) == (True, False)
    assert (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark) == before
