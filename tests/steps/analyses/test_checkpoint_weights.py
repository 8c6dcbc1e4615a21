"""The weights of checkpoints: which part a weight is of, what is read and how, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from ser_probe.analysis.drift.weights import weight_drift
from ser_probe.errors import CheckpointError
from ser_probe.models.catalogue import TINY_CONFIGS
from ser_probe.models.loading import load_backbone, save_backbone
from ser_probe.steps.analyses.checkpoint_weights import PARTS_AROUND, find_checkpoints, part_of, read_parts

K, V = "encoder.layers.0.attention.k_proj.weight", "encoder.layers.0.attention.v_proj.weight"


def save(folder: Path, tensors: dict[str, Tensor], name: str = "model.safetensors") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / name)
    return folder


def read(**folders: Path) -> dict[str, list[list[np.ndarray]]]:
    parts: dict[str, list[list[np.ndarray]]] = {}
    for part, states in read_parts(folders):
        parts.setdefault(part, []).append(states)
    return parts


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("encoder.layers.0.attention.k_proj.weight", "1"),
        ("wavlm.encoder.layers.11.feed_forward.output_dense.bias", "12"),
        ("feature_extractor.conv_layers.3.conv.weight", "front_end"),
        ("wav2vec2.feature_projection.projection.weight", "feature_projection"),
        ("encoder.pos_conv_embed.conv.parametrizations.weight.original1", "positional_conv"),
        ("encoder.layer_norm.weight", "encoder_norm"),
        ("encoder.layers.2.final_layer_norm.weight", "3"),
        ("model.encoder.conv1.weight", "front_end"),
        ("masked_spec_embed", None),
        ("lm_head.weight", None),
        ("project_hid.weight", None),
        ("quantizer.codevectors", None),
        ("model.decoder.layers.0.encoder_attn.k_proj.weight", None),
        ("encoder.layers.0.conv_module.batch_norm.running_mean", None),
        ("tdnn.encoder_like.weight", None),
    ],
)
def test_parts(name: str, part: str | None) -> None:
    assert part_of(name) == part


@pytest.mark.parametrize("name", [name for name in TINY_CONFIGS if name.endswith(("wavlm-base", "hubert-large"))])
def test_every_weight_that_a_backbone_computes_with_is_of_a_part(name: str, tmp_path: Path) -> None:
    backbone = load_backbone(name)
    save_backbone(backbone, tmp_path / "a")
    parts = read(a=tmp_path / "a", b=tmp_path / "a")
    assert set(parts) == {*(str(block + 1) for block in range(backbone.n_layers)), *PARTS_AROUND}
    expected = sum(
        weight.numel() for key, weight in backbone.model.named_parameters() if key != "masked_spec_embed"
    ) - backbone.model.encoder.pos_conv_embed.conv.parametrizations.weight.original0.numel()  # fmt: skip
    assert sum(states[0].size for part in parts.values() for states in part) == expected


def test_a_checkpoint_with_a_head_equals_the_bare_one_and_old_names_are_known(tmp_path: Path) -> None:
    length, direction = torch.rand(1, 1, 4) + 1, torch.randn(6, 2, 4)
    today = {
        K: torch.ones(2, 2),
        "encoder.pos_conv_embed.conv.parametrizations.weight.original0": length,
        "encoder.pos_conv_embed.conv.parametrizations.weight.original1": direction,
    }
    old = {
        f"wavlm.{K}": torch.ones(2, 2),
        "wavlm.encoder.pos_conv_embed.conv.weight_g": length,
        # Twice as long: the direction alone counts.
        "wavlm.encoder.pos_conv_embed.conv.weight_v": 2 * direction,
        "classifier.weight": torch.ones(3, 3),
    }
    parts = read(a=save(tmp_path / "a", today), b=save(tmp_path / "b", old))
    table = weight_drift([(part, states) for part, tensors in parts.items() for states in tensors], 2)
    assert set(parts) == {"1", "positional_conv"}
    assert table["value"].max() < 1e-6
    whole = torch._weight_norm(direction, length, 2).numpy()
    np.testing.assert_allclose(parts["positional_conv"][0][0], whole, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_read_as_it_is(dtype: torch.dtype, tmp_path: Path) -> None:
    weight = torch.tensor([[1.5, -0.25], [3.0, 1.001]]).to(dtype)
    parts = read(a=save(tmp_path / "a", {K: weight}), b=save(tmp_path / "b", {K: weight.float()}))
    ((half, full),) = parts["1"]
    assert half.dtype == np.float32
    np.testing.assert_array_equal(half, full)


def test_weights_in_several_files_are_one_checkpoint(tmp_path: Path) -> None:
    whole = save(tmp_path / "a", {K: torch.ones(2), V: torch.zeros(3)})
    split = save(tmp_path / "b", {K: torch.ones(2)}, "one.safetensors")
    save(split, {V: torch.zeros(3)}, "two.safetensors")
    index = split / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {K: "one.safetensors", V: "two.safetensors"}}))
    assert [states[0].shape for states in read(a=whole, b=split)["1"]] == [(2,), (3,)]
    (split / "two.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no weights to read[\s\S]*missing: two.safetensors"):
        read(a=split)
    index.write_text("{}")
    with pytest.raises(CheckpointError, match="index of the checkpoint's weights cannot be read"):
        read(a=split)


def test_what_is_not_of_one_architecture_is_refused(tmp_path: Path) -> None:
    small, wide = save(tmp_path / "a", {K: torch.ones(2, 2)}), save(tmp_path / "b", {K: torch.ones(3, 3)})
    deep = save(tmp_path / "c", {K: torch.ones(2, 2), "encoder.layers.1.attention.k_proj.weight": torch.ones(2, 2)})
    with pytest.raises(CheckpointError, match=r"not of one architecture[\s\S]*\(2, 2\)[\s\S]*later: \(3, 3\)"):
        read(first=small, later=wide)
    with pytest.raises(CheckpointError, match=r"not of one architecture[\s\S]*no such weight"):
        read(first=small, later=deep)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="no weights to read"):
        read(a=tmp_path / "empty")
    broken = save(tmp_path / "broken", {K: torch.ones(2, 2)})
    (broken / "model.safetensors").write_bytes(b"not at all")
    with pytest.raises(CheckpointError, match="weights of the checkpoint are damaged"):
        read(a=broken)
    with pytest.raises(CheckpointError, match="no weights of an encoder"):
        read(a=save(tmp_path / "head", {"classifier.weight": torch.ones(2)}))


def test_checkpoints_are_found_in_a_run_or_named_one_by_one(tmp_path: Path) -> None:
    for step in (100, 0, 50):
        save(tmp_path / f"run/checkpoints/checkpoint-{step}", {K: torch.ones(2)})
    names = ["step-0", "step-50", "step-100"]
    folder = tmp_path / "run" / "checkpoints"
    assert list(find_checkpoints([tmp_path / "run"])) == names
    assert list(find_checkpoints([folder])) == names
    assert list(find_checkpoints([folder / "checkpoint-50", folder / "checkpoint-0"])) == names[:2]
    base = save(tmp_path / "base", {K: torch.ones(2)})
    assert list(find_checkpoints([folder / "checkpoint-50", base])) == ["base", "step-50"]
    with pytest.raises(CheckpointError, match="There is no such folder"):
        find_checkpoints([tmp_path / "nothing"])
    with pytest.raises(CheckpointError, match=r"no weights of a checkpoint here[\s\S]*found: base, run"):
        find_checkpoints([tmp_path])
    with pytest.raises(CheckpointError, match=r"model.safetensors is a file, and a folder is wanted"):
        find_checkpoints([base / "model.safetensors"])
    save(tmp_path / "other/checkpoint-50", {K: torch.ones(2)})
    with pytest.raises(CheckpointError, match="Two checkpoints are called step-50"):
        find_checkpoints([folder, tmp_path / "other"])
