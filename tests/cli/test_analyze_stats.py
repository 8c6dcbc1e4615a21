"""`analyze stats` as a command."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from ser_probe.cli.main import app

ROOT = Path(__file__).resolve().parents[2]


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        app(["analyze", "stats", *map(str, words)])
    return int(ended.value.code or 0)


def test_study_b_in_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("statsmodels")
    page = (ROOT / "docs" / "analysis" / "stats.md").read_text(encoding="utf-8")
    command = next(
        line.split() for line in page.splitlines() if "analyze stats docs/analysis/study_b_cells.csv" in line
    )
    assert command[:3] == ["ser-probe", "analyze", "stats"]
    assert command[-2:] == ["-o", "out"]
    assert run(ROOT / command[3], *command[4:-1], tmp_path) == 0
    printed = capsys.readouterr().out
    assert "architecture: F(1, 872) = 432.09, p < .001, partial η² = .331 [.282, .375]" in printed
    contrasts = pd.read_csv(tmp_path / "contrasts.csv").set_index("factor")["statistic"]
    assert contrasts.round(2).to_dict() == {"architecture": -4.87, "pre_fine_tuning": -0.64, "test_set": 96.45}
    assert (tmp_path / "summary.md").is_file()
    assert {path.stem for path in (tmp_path / "figures").glob("*.png")} == {
        "stats_cells",
        "stats_effects",
        "stats_power",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--where", "measure"], "--where: expected keys and values, found 'measure'"),
        (["--effects", "big"], "--effects: expected a number, found 'big'"),
        (["--test", "student"], "--test: expected 'auto', 'welch'"),
        (["--type", "1"], "--type: expected"),
        (["--alpha", "1.5"], "--alpha: expected"),
    ],
)
def test_options_are_checked_before_anything_is_read(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(tmp_path / "none.csv", "--response", "x", "--factors", "a", "-o", tmp_path / "out", *options) == 1
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not (tmp_path / "out").exists()
