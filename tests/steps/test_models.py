"""models: every name that the catalogue knows, and nothing heavy for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ser_probe.errors import ConfigError
from ser_probe.models.catalogue import KNOWN_CHECKPOINTS, SUPPORTED_FAMILIES, known_names
from ser_probe.steps.models import OTHERS, list_models


def test_every_known_name_is_listed_once_with_its_facts() -> None:
    rows = {row["name"]: row for row in list_models()}
    assert sorted(map(str, rows)) == sorted(known_names())
    row = rows["microsoft/wavlm-large"]
    assert (row["layers"], row["width"], row["parameters_m"]) == (24, 1024, 315.5)
    assert row["norms"] == "layer, pre"
    for name, known in KNOWN_CHECKPOINTS.items():
        assert rows[name]["licence"] == known.licence
        assert rows[name]["input"]
    assert rows["openai/whisper-tiny"]["input"] == "log-mel, 30 s"
    assert rows["facebook/w2v-bert-2.0"]["input"] == "log-mel, normalised"


@pytest.mark.parametrize("family", SUPPORTED_FAMILIES)
def test_a_family_has_published_and_tiny_models(family: str) -> None:
    rows = list_models(family)
    assert {row["family"] for row in rows} == {family}
    assert any(str(row["name"]).startswith("tiny-") for row in rows)
    assert any("/" in str(row["name"]) for row in rows)
    assert family in OTHERS


def test_an_unknown_family_gets_near_matches() -> None:
    with pytest.raises(ConfigError, match="There is no family 'wavml'") as caught:
        list_models("wavml")
    assert "wavlm" in str(caught.value.fix)


def test_listing_loads_no_torch() -> None:
    code = "import sys; from ser_probe.steps.models import list_models; list_models(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
