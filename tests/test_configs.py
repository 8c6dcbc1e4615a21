"""Every shipped study: it loads, and the comment it starts with holds the command that runs it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from ser_probe.cli.main import app
from ser_probe.config import StudyConfig, load_study

ROOT = Path(__file__).resolve().parents[1]
STUDIES = sorted([*(ROOT / "configs").rglob("*.yaml"), *(ROOT / "configs").rglob("*.yml")])


def name_of(path: Path) -> str:
    return path.stem


def command_of(path: Path) -> list[str]:
    """Return the words of the first `ser-probe run ...` in the comment that a study starts with."""
    comment = path.read_text(encoding="utf-8").partition("\nname:")[0]
    found = re.search(r"ser-probe (run .*)$", comment, flags=re.MULTILINE)
    assert found is not None, f"{path}: no command in the first comment"
    return shlex.split(found.group(1))


def resolved(path: Path) -> StudyConfig:
    words = command_of(path)
    return load_study(path, [words[index + 1] for index, word in enumerate(words) if word == "--set"])


def test_the_promised_studies_are_shipped() -> None:
    assert {"quickstart", "emovo_tiny", "study_e_crema_d_wavlm_large"} <= {path.stem for path in STUDIES}


@pytest.mark.parametrize("path", STUDIES, ids=name_of)
def test_its_own_command_resolves_it(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as ended:
        app([*command_of(path), "--print-config"])
    assert ended.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert StudyConfig.model_validate(printed) == resolved(path)


@pytest.mark.parametrize("path", STUDIES, ids=name_of)
def test_it_starts_with_a_command_and_bears_its_files_name(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("# ")
    assert command_of(path)[1] == path.relative_to(ROOT).as_posix()
    assert resolved(path).name == path.stem


@pytest.mark.parametrize("path", STUDIES, ids=name_of)
def test_it_names_no_folder_of_somebody(path: Path) -> None:
    study = resolved(path)
    written = [study.data.root, study.data.manifest, study.output.runs, study.output.cache]
    assert not any(each.is_absolute() for each in written if each is not None)


def test_study_e_is_study_e() -> None:
    study = resolved(ROOT / "configs" / "study_e_crema_d_wavlm_large.yaml")
    assert (study.data.corpus, study.backbone.name) == ("crema_d", "microsoft/wavlm-large")
    assert (study.audio.loudness_lufs, study.split.scheme) == (-23, "study_e")
    tuning, probe = study.finetune, study.analyze.probe
    assert (tuning.checkpoint_every, tuning.batch_size, tuning.learning_rate) == (50, 16, 1e-5)
    assert tuning.early_stopping is not None
    assert (tuning.early_stopping.threshold, tuning.early_stopping.patience) == (0.025, 5)
    assert probe is not None
    assert (probe.initialisations, probe.division) == (10, "heldout")
    assert (study.extract.layers, study.extract.checkpoints, study.extract.egemaps) == ("all", "all", True)
