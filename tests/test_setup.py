"""The Makefile on a machine where nothing is installed yet, and what packaging promises."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STAMP = ".venv/.installed"

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with what the Makefile needs to install."""
    for name in ("Makefile", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "ser_probe").mkdir()
    shutil.copy(ROOT / "ser_probe" / "__init__.py", tmp_path / "ser_probe" / "__init__.py")
    return tmp_path


def run(folder: Path, *words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    # The tests themselves run under make, which hands its options down.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        words, cwd=folder, env={**inherited, **environment}, capture_output=True, text=True, check=False
    )


def make(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run(folder, "make", *words, **environment)


def stamp(folder: Path, *, seconds_after_pyproject: float) -> None:
    path = folder / STAMP
    path.parent.mkdir(exist_ok=True)
    path.touch()
    changed = (folder / "pyproject.toml").stat().st_mtime + seconds_after_pyproject
    os.utime(path, (changed, changed))


@pytest.mark.parametrize("target", ["demo", "test", "lint"])
def test_installs_on_a_fresh_machine_and_when_pyproject_changed_only(checkout: Path, target: str) -> None:
    assert "pip install" in make(checkout, "-n", target).stdout
    stamp(checkout, seconds_after_pyproject=10)
    assert "pip install" not in make(checkout, "-n", target).stdout
    stamp(checkout, seconds_after_pyproject=-10)
    assert "pip install" in make(checkout, "-n", target).stdout


def test_an_unsuitable_python_is_named(checkout: Path) -> None:
    done = make(checkout, "test", "PYTHON=no-such-python")
    assert done.returncode != 0
    assert "ser-probe needs Python 3.11 or newer; 'no-such-python' is not one" in done.stderr
    assert not (checkout / ".venv").exists()


def test_an_installation_that_breaks_off_is_tried_again(checkout: Path) -> None:
    """pip is kept from every index, so that it fails half-way."""
    words = ["test", f"PYTHON={sys.executable}"]
    for _ in range(2):
        done = make(checkout, *words, PIP_NO_INDEX="1", PIP_CONFIG_FILE=os.devnull)
        assert done.returncode != 0
        assert "pip install" in done.stdout
        assert (checkout / ".venv" / "bin" / "python").exists()
        assert not (checkout / STAMP).exists()


def test_clean_keeps_results(checkout: Path) -> None:
    kept = [checkout / name / "file" for name in ("runs", "cache", ".venv")]
    gone = [checkout / name / "file" for name in ("build", ".pytest_cache", "ser_probe/__pycache__")]
    for path in [*kept, *gone]:
        path.parent.mkdir(parents=True)
        path.touch()
    assert make(checkout, "clean").returncode == 0
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in gone)


def test_ci_runs_lint_and_tests_and_stops_at_the_first_fault(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    script = shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    assert os.access(script, os.X_OK)
    (tmp_path / "Makefile").write_text("lint:\n\t@echo linted\ntest:\n\t@echo tested; false\n")
    done = run(Path("/"), script)
    assert done.stdout.split() == ["linted", "tested"]
    assert done.returncode != 0
    (tmp_path / "Makefile").write_text("lint:\n\t@false\ntest:\n\t@echo tested\n")
    assert run(Path("/"), script).stdout == ""


def test_packaging_promises() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"ser-probe": "ser_probe.cli.main:main"}
    assert project["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert (ROOT / "ser_probe" / "py.typed").is_file()
    versions = {each.partition("==")[0]: each.partition("==")[2] for each in project["dependencies"] if "==" in each}
    assert versions["torch"] == versions["torchaudio"], "torch and torchaudio must be a matching pair"
    everything = set(re.findall(r"\w+", project["optional-dependencies"]["all"][0].partition("[")[2]))
    assert everything == set(project["optional-dependencies"]) - {"all", "dev"}
