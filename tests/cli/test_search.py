"""ser-probe search: its options arrive, and faults are said before anything is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ser_probe.cli.main import app
from ser_probe.steps import search as step
from ser_probe.steps.outcome import Outcome

STUDY = "name: s\ndata: {manifest: none.csv}\nbackbone: {name: tiny-wavlm-base}\nsearch: {trials: 5}\n"


@pytest.fixture
def study_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path / "study.yaml"


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        app(["search", *map(str, words)])
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("words", "trials", "then_train"),
    [([], 5, False), (["--trials", 9, "--then-train"], 9, True), (["--set", "search.trials=3"], 3, False)],
)
def test_options_arrive(
    study_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[object],
    trials: int,
    then_train: bool,
) -> None:
    called: dict[str, Any] = {}

    def listen(study: Any, **options: Any) -> Outcome:
        called.update(options, study=study)
        return Outcome((Path("best.yaml"),), {"best": "trial 2"})

    monkeypatch.setattr(step, "search_study", listen)
    assert run(study_file, *words) == 0
    assert called["study"].search.trials == trials
    assert called["then_train"] is then_train
    assert capsys.readouterr().out == "best: trial 2\nwrote best.yaml\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--trials", 0], "--trials"),
        (["--set", "search.space={finetune.learning_rte: {low: 1.0, high: 2.0}}"], "did you mean 'learning_rate'"),
        (["--set", "finetune.enabled=false"], "--set finetune.enabled: `search` does not use this key; `run` does"),
    ],
)
def test_faults_are_said_before_anything_is_read(
    study_file: Path, capsys: pytest.CaptureFixture[str], words: list[object], message: str
) -> None:
    assert run(study_file, *words) == (2 if message == "--trials" else 1)
    assert message in capsys.readouterr().err
    assert not (study_file.parent / "runs").exists()
