"""Packed kernels: the values of the stock ones up to rounding, and no trace once they are left."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ser_probe.models import packing
from ser_probe.models.backbone import Backbone
from ser_probe.models.embedding import pooled_layers
from ser_probe.models.forward import run_encoder, run_front_end
from ser_probe.models.loading import load_backbone, save_backbone
from ser_probe.models.packing import is_exact_gelu, packed

from .conftest import relative_difference

pytestmark = pytest.mark.skipif(not packing.is_available(), reason="torch has no such kernels for this processor")

REORDERED_SUMS = 3e-6
"""Relative, in float32: the same products, summed in another order. The stock kernels are as far from float64; the
difference measured is up to 1.3e-6."""

ONE_ROUNDING = 1e-6
"""Relative, in float32: kernels for processors without AVX-512 sum in an order that follows the number of rows. Up to
3.5e-7 was measured (AVX2); with AVX-512 rows are the same to the last bit."""


def own_forwards(model: nn.Module) -> dict[str, Callable]:
    """Return the modules whose forward is their own and not their class's, with it."""
    return {name: module.forward for name, module in model.named_modules() if "forward" in vars(module)}


@pytest.fixture
def few(clips: list[np.ndarray]) -> list[np.ndarray]:
    """Clips of several lengths, so that a batch is padded; the first is the shortest there is."""
    return [clips[0], *clips[5:9]]


def reload(name: str, folder: Path, **config: object) -> Backbone:
    """Return a tiny model with the same weights and other entries in its config."""
    save_backbone(load_backbone(name), folder)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
    return load_backbone(folder)


def test_values_are_those_of_the_stock_kernels(any_backbone: Backbone, few: list[np.ndarray]) -> None:
    few = few[1:] if any_backbone.min_samples > len(few[0]) else few
    stock = pooled_layers(any_backbone, few)
    before, weights = own_forwards(any_backbone.model), any_backbone.weights_hash()
    parameters = list(any_backbone.model.parameters())
    with packed([any_backbone]):
        inside = own_forwards(any_backbone.model)
        found = pooled_layers(any_backbone, few)
    assert len(inside) >= len(before) + 6 * any_backbone.n_layers, "the linear layers of each block at least"
    assert relative_difference(found, stock) < REORDERED_SUMS
    assert own_forwards(any_backbone.model) == before
    assert any_backbone.weights_hash() == weights
    after = any_backbone.model.parameters()
    assert all(one is other for one, other in zip(parameters, after, strict=True)), "an optimiser may hold them"
    np.testing.assert_array_equal(pooled_layers(any_backbone, few), stock)


def test_packed_weights_are_not_hashed_as_if_they_were_others(tiny_models: dict[str, Backbone]) -> None:
    backbone = tiny_models["tiny-hubert-base"]
    with packed([backbone]), pytest.raises(NotImplementedError, match="storage"):
        backbone.weights_hash()


def test_packing_takes_no_memory_beside_the_weights() -> None:
    backbone = load_backbone("tiny-wav2vec2-large")
    layers = [module for module in backbone.model.modules() if isinstance(module, nn.Linear)]
    plain = [layer.weight for layer in layers]
    with packed([backbone]):
        assert sum(weight.untyped_storage().nbytes() for weight in plain) == 0


@pytest.mark.parametrize("name", ["tiny-wav2vec2-base", "tiny-wav2vec2-large", "tiny-data2vec-audio-base"])
def test_front_end_is_packed_where_it_is_that_of_wav2vec(name: str, tiny_models: dict[str, Backbone]) -> None:
    backbone = tiny_models[name]
    with packed([backbone]):
        assert "forward" in vars(backbone.model.feature_extractor)
        with pytest.raises(ValueError, match=r"takes one clip at a time\. Got 2"):
            backbone.model.feature_extractor(torch.zeros(2, 800))


def test_forwards_come_back_after_an_error_too(tiny_models: dict[str, Backbone]) -> None:
    backbone = tiny_models["tiny-wavlm-base"]
    before = own_forwards(backbone.model)
    with contextlib.suppress(KeyboardInterrupt), packed([backbone, tiny_models["tiny-hubert-large"]]):
        assert len(own_forwards(backbone.model)) > len(before)
        raise KeyboardInterrupt
    assert own_forwards(backbone.model) == before
    assert not own_forwards(tiny_models["tiny-hubert-large"].model)
    # WavLM's fused attention is a forward of the instance's own.
    assert sorted(before) == [f"encoder.layers.{block}.attention" for block in range(4)]


def test_a_forward_of_the_instance_is_hidden_and_comes_back() -> None:
    backbone = load_backbone("tiny-hubert-base")
    dense = backbone.model.encoder.layers[1].feed_forward.output_dense
    own = dense.forward = lambda inputs: nn.functional.linear(inputs, dense.weight, dense.bias)
    with packed([backbone]), packed([backbone]):
        assert dense.forward is not own
    assert own_forwards(backbone.model) == {"encoder.layers.1.feed_forward.output_dense": own}


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "gelu_python", "relu"])
@pytest.mark.parametrize("name", ["tiny-wav2vec2-base", "tiny-wavlm-large"])
def test_only_exact_gelu_is_fused(name: str, activation: str, few: list[np.ndarray], tmp_path: Path) -> None:
    backbone = reload(name, tmp_path, hidden_act=activation, feat_extract_activation=activation)
    stock = pooled_layers(backbone, few)
    with packed([backbone]):
        forwards = own_forwards(backbone.model)
        found = pooled_layers(backbone, few)
    assert relative_difference(found, stock) < REORDERED_SUMS
    fused = activation == "gelu"
    assert ("encoder.layers.0.feed_forward.intermediate_act_fn" in forwards) == fused
    assert ("feature_extractor" in forwards) == fused
    assert "encoder.layers.0.feed_forward.intermediate_dense" in forwards
    # Fusing another activation would be seen: they differ by far more than rounding.
    if not fused and activation != "gelu_python":
        exact = pooled_layers(reload(name, tmp_path / "exact"), few)
        assert relative_difference(stock, exact) > 100 * REORDERED_SUMS


def test_which_activation_is_exact_gelu() -> None:
    assert is_exact_gelu(nn.GELU())
    assert not is_exact_gelu(nn.GELU(approximate="tanh"))
    assert not is_exact_gelu(nn.ReLU())
    assert not is_exact_gelu(nn.functional.gelu)


def are_the_same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Tell whether two products are the same, as far as this processor's kernels can be asked to."""
    if "AVX512" in torch.backends.cpu.get_cpu_capability():
        return torch.equal(a, b)
    return relative_difference(a.numpy(), b.numpy()) < ONE_ROUNDING


@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize(("n_in", "n_out"), [(96, 192), (144, 48), (1024, 4096), (1536, 512)])
def test_rows_do_not_depend_on_the_batch(n_in: int, n_out: int, gelu: bool) -> None:
    """From two rows on: a single one of a wide layer takes another kernel."""
    torch.manual_seed(0)
    layer = nn.Linear(n_in, n_out)
    product = packing._product(packing._reorder(layer.weight), layer.bias, gelu=gelu)
    with torch.inference_mode():
        rows = torch.randn(700, n_in)
        whole = product(rows)
        expected = nn.functional.gelu(layer(rows)) if gelu else layer(rows)
        for n_rows in (2, 3, 7, 8, 17, 64, 99, 500):
            assert are_the_same(product(rows[:n_rows]), whole[:n_rows])
            assert are_the_same(product(rows[-n_rows:]), whole[-n_rows:])
        assert are_the_same(product(rows.view(7, 100, n_in)), whole.view(7, 100, n_out))
        assert are_the_same(product(rows.T.contiguous().T), whole)
    assert relative_difference(whole.numpy(), expected.numpy()) < REORDERED_SUMS


def test_a_group_norm_that_mixes_channels_is_left_alone(few: list[np.ndarray]) -> None:
    backbone = load_backbone("tiny-wav2vec2-base")
    convolutions = backbone.model.feature_extractor.conv_layers
    convolutions[0].layer_norm = nn.GroupNorm(4, convolutions[0].conv.out_channels)
    stock = pooled_layers(backbone, few)
    with packed([backbone]):
        assert "feature_extractor" not in own_forwards(backbone.model)
        assert relative_difference(pooled_layers(backbone, few), stock) < REORDERED_SUMS


@pytest.mark.parametrize("change", [{"padding": 1}, {"dilation": 2}], ids=str)
def test_other_convolutions_are_left_alone(change: dict[str, int]) -> None:
    backbone = load_backbone("tiny-wav2vec2-large")
    layer = backbone.model.feature_extractor.conv_layers[2]
    layer.conv = nn.Conv1d(48, 48, 3, stride=2, **change)
    with packed([backbone]):
        assert "feature_extractor" not in own_forwards(backbone.model)


def test_nothing_is_packed_where_the_kernels_are_not(
    tiny_models: dict[str, Backbone], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing.platform, "machine", lambda: "arm64")
    with packed([tiny_models["tiny-hubert-base"]]):
        assert not own_forwards(tiny_models["tiny-hubert-base"].model)


def test_training_goes_on_as_if_nothing_had_been(few: list[np.ndarray]) -> None:
    def gradients(backbone: Backbone) -> list[torch.Tensor]:
        backbone.model.zero_grad()
        run_encoder(backbone, run_front_end(backbone, few)).square().mean().backward()
        return [weight.grad.clone() for weight in backbone.model.encoder.parameters() if weight.grad is not None]

    backbone = load_backbone("tiny-wavlm-base")
    before = gradients(backbone)
    with packed([backbone]):
        pooled_layers(backbone, few)
    after = gradients(backbone)
    assert len(before) > 20
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    with torch.no_grad():
        for weight in backbone.model.parameters():
            weight *= 1.5
    scaled = pooled_layers(backbone, few)
    with packed([backbone]):
        assert relative_difference(pooled_layers(backbone, few), scaled) < REORDERED_SUMS
