from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from ser_probe.models.attention import fuse_attention
from ser_probe.models.backbone import Backbone
from ser_probe.models.forward import run_encoder
from ser_probe.models.frames import Frames
from ser_probe.models.loading import load_backbone

# Two orders of float32 sums over some hundred terms; 1e-7 to 1e-6 measured.
TOLERANCE = 1e-5


def stock(backbone: Backbone) -> Backbone:
    """The same weights with the attention of transformers."""
    model = copy.deepcopy(backbone.model)
    for block in model.encoder.layers:
        del block.attention.__dict__["forward"]
    return Backbone(model, backbone.name, backbone.input)


def frames(lengths: tuple[int, ...]) -> Frames:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(len(lengths), max(lengths), 48, generator=generator)
    return Frames(features, torch.tensor(lengths))


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.fixture(params=["tiny-wavlm-base", "tiny-wavlm-large"])
def backbone(request: pytest.FixtureRequest) -> Backbone:
    loaded = load_backbone(request.param)
    # A random model's gates hardly open; trained ones do, and then the bias counts.
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, weight in loaded.model.named_parameters():
            if "gru_rel_pos" in name or "rel_attn_embed" in name:
                weight.copy_(torch.randn(weight.shape, generator=generator))
    return loaded


@pytest.mark.parametrize("lengths", [(90,), (90, 90, 90), (90, 40, 3)], ids=["one", "even", "padded"])
def test_every_layer_equals_the_stock_attention(backbone: Backbone, lengths: tuple[int, ...]) -> None:
    batch = frames(lengths)
    seen: list[dict[str, torch.Tensor]] = []
    with torch.inference_mode():
        for each in (backbone, stock(backbone)):
            layers: dict[str, torch.Tensor] = {}
            run_encoder(each, batch, lambda name, hidden, mask, layers=layers: layers.update({name: hidden[mask]}))
            seen.append(layers)
    assert seen[0].keys() == seen[1].keys() == set(backbone.layer_names)
    for name in backbone.layer_names:
        assert relative(seen[0][name], seen[1][name]) < TOLERANCE, name


@pytest.mark.parametrize("lengths", [(60, 60), (60, 25, 4)], ids=["even", "padded"])
def test_every_gradient_equals_the_stock_attentions(backbone: Backbone, lengths: tuple[int, ...]) -> None:
    batch, gradients = frames(lengths), []
    # Not the squared norm, which a final layer norm makes constant: its gradient would be rounding alone.
    target = torch.randn(len(lengths), max(lengths), backbone.width, generator=torch.Generator().manual_seed(3))
    for each in (backbone, stock(backbone)):
        final = run_encoder(each, batch)
        (final * target * batch.mask[..., None]).sum().backward()
        gradients.append({n: p.grad for n, p in each.model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert any("gru_rel_pos_linear" in name for name in gradients[0])
    largest = max(float(gradient.norm()) for gradient in gradients[1].values())
    for name, gradient in gradients[0].items():
        # A key's bias shifts all scores of a row alike, so its gradient is zero but for rounding.
        error = float((gradient - gradients[1][name]).norm()) / max(float(gradients[1][name].norm()), 1e-3 * largest)
        assert error < TOLERANCE, name


def test_the_bias_and_the_mask_count(backbone: Backbone) -> None:
    batch = frames((60, 25))
    with torch.inference_mode():
        right = run_encoder(backbone, batch)[1, :25]
        without_bias = copy.deepcopy(backbone.model)
        without_bias.encoder.layers[0].attention.rel_attn_embed.weight.zero_()
        unbiased = run_encoder(Backbone(without_bias, backbone.name, backbone.input), batch)[1, :25]
        unmasked = run_encoder(backbone, Frames(batch.features, torch.tensor([60, 60])))[1, :25]
    assert relative(unbiased, right) > 100 * TOLERANCE
    assert relative(unmasked, right) > 100 * TOLERANCE


def test_dropout_of_the_attention_acts_in_training_only(backbone: Backbone) -> None:
    for module in backbone.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    for block in backbone.model.encoder.layers:
        block.attention.dropout = 0.5
    batch = frames((50, 20))
    with torch.inference_mode():
        torch.manual_seed(0)
        evaluated = [run_encoder(backbone, batch) for _ in range(2)]
        backbone.model.train()
        trained = [run_encoder(backbone, batch) for _ in range(2)]
    assert torch.equal(*evaluated)
    assert not torch.equal(*trained)


def test_names_of_the_weights_stay() -> None:
    backbone = load_backbone("tiny-wavlm-base")
    before = list(backbone.model.state_dict())
    fuse_attention(backbone.model)
    assert list(backbone.model.state_dict()) == before == list(stock(backbone).model.state_dict())
