"""`report` of a folder that is no study's."""

from __future__ import annotations

from pathlib import Path

import pytest

from ser_probe.errors import AnalysisError
from ser_probe.steps.report import write_report


def test_another_folder(tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match="The folder is not a study's") as raised:
        write_report(tmp_path)
    assert raised.value.fix == "give runs/<study>"
    assert not list(tmp_path.iterdir())
