"""report: drawn again from tables alone; a folder that is no study's is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ser_probe.errors import AnalysisError
from ser_probe.steps.report import write_report

FOLDER = Path("runs/small")


def test_tables_are_enough(finished: Path) -> None:
    """Neither embeddings nor weights are needed: the folder can be sent to someone."""
    shutil.rmtree("cache")
    shutil.rmtree(FOLDER / "checkpoints")
    (FOLDER / "report.html").unlink()
    outcome = write_report(FOLDER)
    assert outcome.files[-1] == FOLDER / "report.html"
    assert all(path.is_file() and path.stat().st_size for path in outcome.files)
    text = (FOLDER / "report.html").read_text(encoding="utf-8")
    for expected in ("small", "tiny-wavlm-base", "72", "best step"):
        assert expected in text


def test_another_folder(tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match="The folder is not a study's") as raised:
        write_report(tmp_path)
    assert raised.value.fix == "give runs/<study>"
    assert not list(tmp_path.iterdir())
