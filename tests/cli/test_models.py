"""ser-probe models: a table for people, JSON for scripts."""

from __future__ import annotations

import json

import pytest

from ser_probe.cli.main import app
from ser_probe.models.catalogue import known_names

Captured = pytest.CaptureFixture[str]


def printed(capsys: Captured, *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        app(["models", *words])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_the_table_names_every_model_and_what_else_works(capsys: Captured) -> None:
    table = printed(capsys)
    lines = table.splitlines()
    assert lines[0].split()[:4] == ["name", "family", "layers", "width"]
    assert {line.split()[0] for line in lines[1:] if line} >= set(known_names())
    assert lines[-1].startswith("Any other Hugging Face id or local folder of these families works too: wav2vec2,")


def test_a_family_as_json(capsys: Captured) -> None:
    rows = json.loads(printed(capsys, "--family", "whisper", "--json"))
    assert [row["layers"] for row in rows] == [4, 6, 12, 24, 32, 32, 2]
    assert {row["family"] for row in rows} == {"whisper"}
