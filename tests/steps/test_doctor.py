"""The doctor: this machine passes, and each thing that can be wrong is named with its cure."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ser_probe.cli.main import app
from ser_probe.steps import doctor
from ser_probe.steps.doctor import SOUNDFILE_TRIAL, TORCH_TRIAL, Finding, try_code

REQUIREMENTS = ["numpy>=1.26", "no-such-package>=2", "opensmile>=2.5; extra == 'egemaps'", 'x-y; extra == "search"']


def test_this_machine_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        app(["doctor", "--json", "--runs", str(tmp_path / "runs"), "--cache", str(tmp_path / "cache")])
    report = json.loads(capsys.readouterr().out)
    assert ended.value.code == 0
    assert report["usable"] is True
    found = {finding["what"]: finding for finding in report["findings"]}
    assert importlib.metadata.version("torch") in found["torch pair"]["found"]
    assert "WAV" in found["audio reading"]["found"]
    assert set(found) >= {"python", "packages", "device", "threads", "memory", "disk for runs", "disk for cache",
                          "extra egemaps", "extra sample", "extra stats", "git lfs", "model downloads"}  # fmt: skip
    assert not {"extra all", "extra dev"} & set(found)
    assert list(tmp_path.iterdir()) == [], "looking creates nothing"


def test_a_fault_shows_in_table_and_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(SystemExit) as ended:
        app(["doctor", "--runs", str(blocked / "runs"), "--cache", str(tmp_path)])
    assert ended.value.code == 1
    shown = capsys.readouterr().out
    assert "fault    disk for runs" in shown
    assert "disk for runs: choose another folder with output.runs and output.cache" in shown


def test_an_unusable_torch_pair_names_the_pair_to_install(tmp_path: Path) -> None:
    """A torchaudio that refuses its torch, as the released one does beside another CUDA build."""
    (tmp_path / "torchaudio.py").write_text("raise RuntimeError('built for CUDA 12.6, torch for 13.0')")
    done = subprocess.run(
        [sys.executable, "-c", f"from ser_probe.steps.doctor import *; print(check_torch(try_code({TORCH_TRIAL!r})))"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    (finding,) = eval(done.stdout)
    assert finding.state == "fault"
    assert "cannot be used together: RuntimeError: built for CUDA 12.6, torch for 13.0" in finding.found
    assert "pip install --force-reinstall 'torch==2.11.*' 'torchaudio==2.11.*'" in finding.fix


def test_devices_are_named() -> None:
    trial = {"torch": "2", "torchaudio": "2", "threads": 4, "devices": ["A GPU, 80 GB"]}
    assert doctor.check_torch(trial)[1] == Finding("device", "ok", "A GPU, 80 GB")
    assert doctor.check_torch({**trial, "devices": []})[1].state == "note"


def test_trials() -> None:
    assert try_code("print('{\"a\": 1}')") == {"a": 1}
    assert try_code("raise OSError('no libsndfile')") == {"error": "OSError: no libsndfile"}
    assert try_code("import os; os._exit(7)") == {"error": "the process ended with code 7"}
    assert doctor.check_soundfile(try_code(SOUNDFILE_TRIAL)).state == "ok"
    finding = doctor.check_soundfile({"error": "OSError: no libsndfile"})
    assert (finding.state, finding.found) == ("fault", "soundfile cannot be used: OSError: no libsndfile")


def test_a_trial_that_hangs_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "TRIAL_SECONDS", 0.2)
    assert try_code("import time; time.sleep(60)") == {"error": "no answer within 0.2 s"}


def test_versions_and_requirements() -> None:
    assert doctor.check_python((3, 10, 2)).fix == "make the environment with Python 3.11 or newer"
    assert doctor.check_python((3, 11, 0)).state == "ok"
    finding = doctor.check_requirements(REQUIREMENTS)
    assert (finding.state, finding.found) == ("fault", "not installed: no-such-package")
    assert doctor.check_requirements(["numpy"]).state == "ok"


def test_extras() -> None:
    egemaps, search = doctor.check_extras(REQUIREMENTS, None)
    assert egemaps.state == "ok"
    assert (search.state, search.fix) == ("missing", "pip install 'ser-probe[search]'")
    broken = doctor.check_extras(REQUIREMENTS, {"error": "OSError: libSMILEapi.so"})[0]
    assert (broken.state, broken.found) == ("note", "cannot be used: OSError: libSMILEapi.so")


def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / "not" / "there" / "yet"
    assert doctor.check_disk("disk", deep).state == "ok"
    monkeypatch.setattr(doctor, "LOW_DISK_GB", 1e9)
    assert doctor.check_disk("disk", deep).state == "note"


def test_git_lfs_and_hub(tmp_path: Path) -> None:
    assert doctor.check_git_lfs("/usr/bin/git-lfs").state == "ok"
    assert doctor.check_git_lfs(None).state == "missing"
    (tmp_path / "hub" / "models--a--b").mkdir(parents=True)
    online = doctor.check_hub({"HF_HOME": str(tmp_path)})
    assert (online.state, online.found) == ("ok", f"1 models in {tmp_path / 'hub'}")
    assert doctor.check_hub({"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "0"}).found.startswith("0 models")
    offline = doctor.check_hub({"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"})
    assert offline.found.startswith("turned off by HF_HUB_OFFLINE; 1 models")
