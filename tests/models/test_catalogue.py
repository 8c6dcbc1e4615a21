"""Every entry of the catalogue is consistent, and the catalogue needs no torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ser_probe.models.backbone import MIN_SAMPLES, Backbone
from ser_probe.models.catalogue import KNOWN_CHECKPOINTS, SUPPORTED_FAMILIES, TINY_CONFIGS, known_names


@pytest.mark.parametrize("name", KNOWN_CHECKPOINTS)
def test_known_checkpoints_are_consistent(name: str) -> None:
    known = KNOWN_CHECKPOINTS[name]
    owner, model = name.split("/")
    assert owner in {"facebook", "microsoft"}
    assert known.family in SUPPORTED_FAMILIES
    assert model.startswith(known.family)
    assert (known.layers, known.width) in {(12, 768), (24, 1024), (48, 1280)}
    size = "base" if "base" in model else "xlarge" if "xlarge" in model else "large"
    assert (known.layers == 12) == (size == "base")
    assert (known.layers == 48) == (size == "xlarge")
    assert not (known.pre_norm and size == "base"), "base models are post-norm"


def test_there_is_a_tiny_model_of_each_family_and_norm(tiny_models: dict[str, Backbone]) -> None:
    assert {(b.family, b.pre_norm, b.config.feat_extract_norm) for b in tiny_models.values()} == {
        (family, norm == "layer", norm) for family in SUPPORTED_FAMILIES for norm in ("group", "layer")
    }
    assert set(TINY_CONFIGS) == {f"tiny-{family}-{size}" for family in SUPPORTED_FAMILIES for size in ("base", "large")}


def test_tiny_models_are_small_and_hear_as_the_published_ones_do(backbone: Backbone) -> None:
    assert sum(p.numel() for p in backbone.model.parameters()) < 1_000_000
    assert list(backbone.config.conv_kernel) == [10, 3, 3, 3, 3, 2, 2]
    assert list(backbone.config.conv_stride) == [5, 2, 2, 2, 2, 2, 2]
    assert backbone.min_samples == MIN_SAMPLES
    assert backbone.frame_counts([16_000]).tolist() == [49]


def test_known_names_hold_both_tables_once() -> None:
    assert sorted(known_names()) == sorted({*TINY_CONFIGS, *KNOWN_CHECKPOINTS})


def test_the_catalogue_loads_no_torch() -> None:
    check = "import sys, ser_probe.models.catalogue; print({'torch', 'transformers', 'numpy'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, timeout=300)
    assert ran.stdout.strip() == "set()"
