"""The examples of a page of docs run in their order, as its reader would run them."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from ser_probe.cli.main import app

PAGES = Path(__file__).resolve().parents[1] / "docs"
EXAMPLE = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(importlib.util.find_spec("espeakng_loader") is None, reason="the sample needs espeakng-loader")
@pytest.mark.skipif(importlib.util.find_spec("opensmile") is None, reason="the features need opensmile")
def test_the_examples_of_extraction_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    examples = EXAMPLE.findall((PAGES / "extraction.md").read_text(encoding="utf-8"))
    assert len(examples) >= 8
    for language, text in examples:
        if language == "python":
            exec(compile(text, "docs/extraction.md", "exec"), names)
            continue
        for command in text.splitlines():
            program, *words = shlex.split(command, comments=True)
            assert program == "ser-probe"
            with pytest.raises(SystemExit) as ended:
                app(words)
            assert ended.value.code in (0, None), command
    assert {"x", "rows", "table", "parts", "frames"} <= names.keys()
    # The second worker finished the file, and nothing is left beside the caches.
    assert (tmp_path / "cache" / "large.h5").is_file()
    assert not list(tmp_path.glob("cache/*.shards"))
