"""The examples of the library in README and docs that need no study of their own run on small caches."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from .conftest import tuned

ROOT = Path(__file__).resolve().parents[2]
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUN_WHOLE = {"extraction.md", "finetuning.md", "jobs.md", "library.md"}
"""Pages all of whose examples are run by tests/test_docs.py."""
HERE = {"README.md", "cache-format.md", "similarity.md"}


def run_python(page: Path, names: dict[str, Any]) -> dict[str, Any]:
    """Run the Python of a page, block after block; return all names that there are then."""
    for text in PYTHON.findall(page.read_text(encoding="utf-8")):
        exec(compile(text, page.name, "exec"), names)
    return names


def test_every_page_with_python_is_run_by_a_test() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    assert {page.name for page in pages if PYTHON.search(page.read_text(encoding="utf-8"))} == RUN_WHOLE | HERE


def test_the_example_of_the_readme_runs(
    write_cache: Callable[..., Path], clips: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cache").mkdir()
    write_cache("cache/step50", clips, tuned(50))
    names = run_python(ROOT / "README.md", {})
    assert names["labels"].tolist() == clips["label"].tolist()
    np.testing.assert_array_equal(names["five"], names["x"][:5])


def test_the_examples_of_the_file_format_run(
    write_cache: Callable[..., Path], clips: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_cache("x", clips, tuned(50))
    write_cache("frames", clips, tuned(50), frames=3)
    names = run_python(ROOT / "docs" / "cache-format.md", {})
    np.testing.assert_array_equal(names["mapped"][names["layers"].index("1")], names["final"])
    assert names["frames"].shape == (3, 8)


def test_the_examples_of_similarity_run(rng: np.random.Generator) -> None:
    x = rng.standard_normal((40, 6))
    run_python(ROOT / "docs" / "analysis" / "similarity.md", {"x": x, "y": x @ rng.standard_normal((6, 6))})
