"""UMAP's compiled code is kept in a folder of its versions, and is the same code."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

MAPS = """
import hashlib, sys
from pathlib import Path
import numpy as np
from ser_probe.analysis import projection

if sys.argv[1] == "without":
    projection.keep_compiled = lambda: None
rng = np.random.default_rng(0)
panels = [rng.standard_normal((60, 12)) for _ in range(2)]
maps = projection.umap_panels(panels[0], panels[1:], n_neighbors=8, seed=3).coordinates
print(hashlib.sha256(np.stack(maps).tobytes()).hexdigest())
"""


def maps(how: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(folder))
    done = subprocess.run([sys.executable, "-c", MAPS, how], check=True, capture_output=True, text=True)
    return done.stdout


@pytest.mark.slow
def test_maps_of_kept_code_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = maps("keep", tmp_path / "a", monkeypatch)
    (own,) = [path for path in (tmp_path / "a").iterdir() if path.name.startswith("umap-learn-")]
    assert f"-numba-{version('numba')}-" in own.name
    before = {path: path.stat().st_mtime_ns for path in own.rglob("*.nbc")}
    assert before
    assert maps("keep", tmp_path / "a", monkeypatch) == compiled
    assert {path: path.stat().st_mtime_ns for path in own.rglob("*.nbc")} == before, "loaded, not compiled again"
    assert maps("without", tmp_path / "b", monkeypatch) == compiled


@pytest.mark.slow  # umap and pynndescent are compiled when they are first loaded
def test_a_folder_that_cannot_be_written_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    from ser_probe.analysis.compiled_umap import keep_compiled

    (tmp_path / "file").write_text("")
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "file"))
    keep_compiled()
    assert str(tmp_path / "file") == numba.config.CACHE_DIR
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
