"""The classifier: what is trained is what is measured."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ser_probe.models.backbone import Backbone
from ser_probe.models.embedding import pooled_layers
from ser_probe.models.forward import run_front_end
from ser_probe.models.heads import LinearHead, SerClassifier
from ser_probe.models.loading import load_backbone
from ser_probe.models.pooling import POOLINGS
from tests.models.conftest import RELATIVE_TOLERANCE, relative_difference

N_CLASSES = 5


@pytest.fixture
def classifier(backbone: Backbone) -> SerClassifier:
    """A classifier on its own copy of each tiny model."""
    torch.manual_seed(0)
    return SerClassifier(load_backbone(backbone.name), N_CLASSES)


def test_logits_are_the_head_of_the_extracted_final_layer(classifier: SerClassifier, clips: list[np.ndarray]) -> None:
    classifier.eval()
    with torch.inference_mode():
        logits = classifier(clips[4:12]).numpy()
        extracted = torch.from_numpy(pooled_layers(classifier.backbone, clips[4:12])[-1])
        expected = classifier.head(extracted).numpy()
    assert logits.shape == (8, N_CLASSES)
    np.testing.assert_array_equal(logits, expected)


def test_frames_computed_once_give_what_clips_give(classifier: SerClassifier, clips: list[np.ndarray]) -> None:
    classifier.eval()
    with torch.inference_mode():
        frames = run_front_end(classifier.backbone, clips[4:12])
        assert torch.equal(classifier(frames), classifier(clips[4:12]))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_head_stands_on_every_pooling_that_gives_one_vector(pooling: str, clips: list[np.ndarray]) -> None:
    classifier = SerClassifier(load_backbone("tiny-wavlm-base"), N_CLASSES, pooling=pooling)
    classifier(clips[4:8]).sum().backward()
    weight = classifier.head.linear.weight
    assert weight.shape == (N_CLASSES, POOLINGS[pooling].factor * classifier.backbone.width)
    assert weight.grad.isfinite().all()


def test_logits_do_not_depend_on_the_batch(classifier: SerClassifier, clips: list[np.ndarray]) -> None:
    classifier.eval()
    with torch.inference_mode():
        together = classifier(clips).numpy()
        alone = np.concatenate([classifier([clip]).numpy() for clip in clips])
    assert relative_difference(together, alone) < RELATIVE_TOLERANCE


@pytest.mark.parametrize("frozen", [True, False])
def test_gradient_reaches_all_that_is_trained(classifier: SerClassifier, clips: list[np.ndarray], frozen: bool) -> None:
    if frozen:
        classifier.freeze_front_end()
    classifier.train()
    loss = torch.nn.functional.cross_entropy(classifier(clips[4:8]), torch.tensor([0, 1, 2, 3]))
    loss.backward()
    for name, weight in classifier.named_parameters():
        reached = weight.grad is not None and bool(weight.grad.ne(0).any())
        if name == "model.masked_spec_embed" or (frozen and name.startswith("model.feature_extractor.")):
            assert weight.grad is None, name
        else:
            assert reached, name


def test_the_backbone_is_trained_in_place(clips: list[np.ndarray]) -> None:
    """What is extracted after a step is what the step made."""
    classifier = SerClassifier(load_backbone("tiny-wavlm-base"), N_CLASSES)
    classifier.freeze_front_end()
    front, whole = classifier.backbone.front_end_hash(), classifier.backbone.weights_hash()
    before = pooled_layers(classifier.backbone, clips[4:8])
    optimiser = torch.optim.AdamW(classifier.parameters(), lr=1e-3)
    classifier.train()
    torch.nn.functional.cross_entropy(classifier(clips[4:8]), torch.tensor([0, 1, 2, 3])).backward()
    optimiser.step()
    assert classifier.backbone.front_end_hash() == front
    assert classifier.backbone.weights_hash() != whole
    assert relative_difference(pooled_layers(classifier.backbone, clips[4:8]), before) > 1e-3


def test_a_few_steps_learn_a_batch_by_heart(clips: list[np.ndarray]) -> None:
    torch.manual_seed(1)
    classifier = SerClassifier(load_backbone("tiny-hubert-large"), 4)
    classifier.freeze_front_end()
    frames = run_front_end(classifier.backbone, clips[4:12])
    labels = torch.arange(8) % 4
    optimiser = torch.optim.AdamW(classifier.parameters(), lr=1e-3)
    classifier.train()
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(classifier(frames), labels)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    assert (classifier.eval()(frames).argmax(dim=1) == labels).all()


def test_spec_augment_is_a_switch(clips: list[np.ndarray]) -> None:
    backbone = load_backbone("tiny-wav2vec2-large")
    backbone.model.config.mask_time_prob = 0.5
    for spec_augment in (True, False):
        classifier = SerClassifier(backbone, N_CLASSES, spec_augment=spec_augment).train()
        backbone.model.zero_grad()
        classifier(clips[20:24]).square().sum().backward()
        reached = backbone.model.masked_spec_embed.grad is not None
        assert reached == spec_augment


def test_linear_head_drops_out_in_training_only() -> None:
    head = LinearHead(64, 3, dropout=0.5)
    pooled = torch.ones(2, 64)
    assert not torch.equal(head(pooled), head(pooled))
    head.eval()
    assert torch.equal(head(pooled), head.linear(pooled))


def test_settings_rebuild_the_head(classifier: SerClassifier) -> None:
    assert classifier.settings() == {"kind": "linear", "n_classes": N_CLASSES, "pooling": "mean", "dropout": 0.0}
