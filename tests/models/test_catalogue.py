"""Every entry of the catalogue is consistent, and the catalogue needs no torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ser_probe.clip_length import MIN_SAMPLES
from ser_probe.models.backbone import Backbone
from ser_probe.models.catalogue import KNOWN_CHECKPOINTS, SUPPORTED_FAMILIES, TINY_CONFIGS, known_names
from ser_probe.models.families import FAMILIES


@pytest.mark.parametrize("name", KNOWN_CHECKPOINTS)
def test_known_checkpoints_are_consistent(name: str) -> None:
    known = KNOWN_CHECKPOINTS[name]
    assert known.family in SUPPORTED_FAMILIES
    assert known.sample_rate_hz == 16_000
    assert known.licence in {"apache-2.0", "mit", "cc-by-nc-sa-4.0", "see model card"}
    if known.family in ("wav2vec2", "hubert", "wavlm", "unispeech-sat"):
        assert known.pre_norm == (known.front_end_norm == "layer"), "the two go together in these families"
        assert known.family in name.lower()
        base = "base" in name or name.endswith("147")
        assert (known.layers == 12 and known.width == 768) == base
        assert known.front_end_norm == ("group" if base or name == "facebook/wav2vec2-large" else "layer")
    elif known.family == "data2vec-audio":
        assert (known.front_end_norm, known.pre_norm) == ("layer", False)
    else:
        assert (known.front_end_norm, known.pre_norm) == ("none", known.family == "whisper")


def test_parameters_follow_from_depth_and_width() -> None:
    """Attention has 4 D^2 weights and a feed-forward 8; a conformer two of those, and convolutions of 3."""
    for name, known in KNOWN_CHECKPOINTS.items():
        blocks_m = (23 if known.family == "wav2vec2-bert" else 12) * known.layers * known.width**2 / 1e6
        assert 0.85 * known.parameters_m < blocks_m <= known.parameters_m, name


def test_every_family_that_can_be_run_is_in_the_table() -> None:
    assert tuple(FAMILIES) == SUPPORTED_FAMILIES


def test_there_is_a_tiny_model_of_each_family_and_norm(tiny_models: dict[str, Backbone]) -> None:
    assert {b.family for b in tiny_models.values()} == set(SUPPORTED_FAMILIES)
    with_both = ("wav2vec2", "hubert", "wavlm", "unispeech-sat")
    assert {
        (b.family, b.pre_norm, b.config.feat_extract_norm) for b in tiny_models.values() if b.family in with_both
    } == {(family, norm == "layer", norm) for family in with_both for norm in ("group", "layer")}
    assert all(name.startswith(f"tiny-{b.family}") for name, b in tiny_models.items())
    assert [name for name, b in tiny_models.items() if getattr(b.config, "conv_pos_batch_norm", False)] == [
        "tiny-hubert-batchnorm"
    ]


def test_tiny_models_are_small_and_hear_as_the_published_ones_do(any_backbone: Backbone) -> None:
    assert sum(p.numel() for p in any_backbone.model.parameters()) < 1_000_000
    assert (any_backbone.input.sample_rate_hz, any_backbone.samples_per_frame) == (16_000, 320)
    assert any_backbone.min_samples == (560 if any_backbone.family == "wav2vec2-bert" else MIN_SAMPLES)
    assert any_backbone.max_samples == (480_000 if any_backbone.family == "whisper" else None)
    assert any_backbone.frame_counts([16_000]).tolist() == [50 if any_backbone.family == "whisper" else 49]
    if hasattr(any_backbone.config, "conv_kernel"):
        assert list(any_backbone.config.conv_kernel) == [10, 3, 3, 3, 3, 2, 2]
        assert list(any_backbone.config.conv_stride) == [5, 2, 2, 2, 2, 2, 2]


def test_known_names_hold_both_tables_once() -> None:
    assert sorted(known_names()) == sorted({*TINY_CONFIGS, *KNOWN_CHECKPOINTS})


def test_the_catalogue_loads_no_torch() -> None:
    check = "import sys, ser_probe.models.catalogue; print({'torch', 'transformers', 'numpy'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, timeout=300)
    assert ran.stdout.strip() == "set()"
