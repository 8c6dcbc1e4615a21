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


def test_a_torchaudio_that_cannot_be_loaded_is_found_without_an_end_to_the_rest(tmp_path: Path) -> None:
    """As beside a torch that lacks what it was built with: torch itself can be used, and is."""
    (tmp_path / "torchaudio.py").write_text("raise OSError('libtorchaudio.so: undefined symbol: torch_x')")
    done = subprocess.run(
        [sys.executable, "-c", f"from ser_probe.steps.doctor import *; print(check_torch(try_code({TORCH_TRIAL!r})))"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    pair, device, threads = eval(done.stdout)
    assert (pair.what, pair.state) == ("torch pair", "broken")
    assert "cannot be loaded, they do not fit: OSError: libtorchaudio.so: undefined symbol: torch_x" in pair.found
    assert "pip install --upgrade torch torchaudio" in pair.fix
    assert (device.what, threads.state) == ("device", "ok")


def test_the_known_bad_pair_is_named_with_the_command_that_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"torch": "2.11.0", "torchaudio": "2.11.1"}
    monkeypatch.setattr(importlib.metadata, "version", versions.__getitem__)
    pair = doctor.check_pair("OSError: undefined symbol: torch_x")
    assert pair.state == "broken"
    assert pair.found.startswith("torchaudio 2.11.1 beside torch 2.11.0 cannot be loaded, a pair that is known not to")
    assert pair.fix == "pip install torchaudio==2.11.0"
    assert doctor.check_pair(None) == Finding("torch pair", "ok", "torch 2.11.0, torchaudio 2.11.1")
    versions["torchaudio"] = "absent"
    assert "no torchaudio" in doctor.check_pair(None).found


def test_a_torch_that_cannot_be_loaded_is_a_fault() -> None:
    (finding,) = doctor.check_torch({"error": "OSError: libcudart.so.13: cannot open shared object file"})
    assert (finding.what, finding.state) == ("torch", "fault")
    assert "libcudart.so.13" in finding.found


def test_devices_are_named() -> None:
    trial = {"torch": "2", "torchaudio": None, "threads": 4, "devices": ["A GPU, 80 GB"]}
    assert doctor.check_torch(trial)[1] == Finding("device", "ok", "A GPU, 80 GB")
    assert doctor.check_torch({**trial, "devices": []})[1].state == "note"


def test_packages_are_tried_and_each_broken_one_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "brush.py").write_text("raise OSError('libbrush.so: undefined symbol: x')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    trial = try_code(doctor.PACKAGES_TRIAL % (("json", "brush", "no_such_package"),))
    assert set(trial["faults"]) == {"brush"}
    finding = doctor.check_requirements(["numpy"], trial)
    assert finding.state == "fault"
    assert "cannot be loaded: OSError: libbrush.so: undefined symbol: x" in finding.found
    assert "--force-reinstall brush" in str(finding.fix)
    assert doctor.check_requirements(["numpy"], {"error": "no answer within 1 s"}).state == "fault"


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
    finding = doctor.check_requirements(REQUIREMENTS, {})
    assert (finding.state, finding.found) == ("fault", "not installed: no-such-package")
    assert doctor.check_requirements(["numpy"], {"faults": {}}).state == "ok"


def test_extras() -> None:
    egemaps, search = doctor.check_extras(REQUIREMENTS, {})
    assert egemaps.state == "ok"
    assert (search.state, search.fix) == ("missing", "pip install 'ser-probe[search]'")
    fault = {"found": "OSError: libSMILEapi.so", "fix": "pip install opensmile"}
    broken = doctor.check_extras(REQUIREMENTS, {"opensmile": fault})[0]
    assert (broken.state, broken.found) == ("broken", "opensmile cannot be loaded: OSError: libSMILEapi.so")
    assert broken.fix == "pip install opensmile"


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
