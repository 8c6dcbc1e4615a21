"""The Makefile on a machine where nothing is installed yet, and what packaging promises."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
STAMP = ".venv/.installed"

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with what the Makefile needs to install."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
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


def stamp(folder: Path, **seconds_after: float) -> None:
    """Make the stamp of an installation, and let each file be written so many seconds before it."""
    path = folder / STAMP
    path.parent.mkdir(exist_ok=True)
    path.touch()
    now = path.stat().st_mtime
    for name, seconds in {"pyproject.toml": 10.0, "constraints.txt": 10.0, **seconds_after}.items():
        os.utime(folder / name, (now - seconds, now - seconds))


@pytest.mark.parametrize("target", ["demo", "test", "lint"])
def test_installs_on_a_fresh_machine_and_when_its_versions_changed_only(checkout: Path, target: str) -> None:
    assert "pip install" in make(checkout, "-n", target).stdout
    stamp(checkout)
    assert "pip install" not in make(checkout, "-n", target).stdout
    for changed in ("pyproject.toml", "constraints.txt"):
        stamp(checkout, **{changed: -10})
        assert "pip install" in make(checkout, "-n", target).stdout


@pytest.mark.parametrize("target", ["demo", "test", "lint", "coverage"])
def test_what_is_locked_is_what_is_installed(checkout: Path, target: str) -> None:
    (installing,) = [line for line in make(checkout, "-n", target).stdout.splitlines() if "pip install" in line]
    assert "--constraint constraints.txt" in installing
    (newest,) = [line for line in make(checkout, "-n", "newest").stdout.splitlines() if "pip install" in line]
    assert "--constraint" not in newest
    assert ".venv-newest/bin/python" in newest


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


def locked() -> dict[str, Requirement]:
    """Return what is locked, by name."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    return {str(canonicalize_name(pin.name)): pin for pin in pins}


def version_of(pin: Requirement) -> str:
    (specifier,) = pin.specifier
    assert specifier.operator == "==", pin
    return specifier.version


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def installed_extras() -> list[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return re.findall(r"^EXTRAS := (.+)$", makefile, re.MULTILINE)[0].split(",")


def test_the_lock_names_versions_and_no_place() -> None:
    for pin in locked().values():
        assert pin.url is None, f"{pin}: a lock holds on any machine, whatever index it takes packages from"
        assert version_of(pin)
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert "://" not in text
    assert "index" not in text


def test_the_lock_is_what_pyproject_asks_for() -> None:
    """`make lock` after each change of a range."""
    ranges = project()["dependencies"]
    for extra in installed_extras():
        ranges = ranges + project()["optional-dependencies"][extra]
    pins = locked()
    for wanted in map(Requirement, ranges):
        pin = pins.get(str(canonicalize_name(wanted.name)))
        assert pin is not None, f"{wanted} is not locked: run `make lock`"
        assert version_of(pin) in wanted.specifier, f"{pin} is not {wanted}: run `make lock`"


def test_the_lock_holds_all_that_is_installed() -> None:
    """The walk from what ser-probe needs to what that needs, in the environment that the tests run in."""
    pins, seen = locked(), set()
    tested = Path(sys.prefix) == ROOT / ".venv" and (ROOT / STAMP).exists()
    waiting = [(Requirement(f"ser-probe[{','.join(installed_extras())}]"), "")]
    while waiting:
        wanted, by = waiting.pop()
        name = str(canonicalize_name(wanted.name))
        if (name, *sorted(wanted.extras)) in seen:
            continue
        seen.add((name, *sorted(wanted.extras)))
        if by:
            assert name in pins, f"{name}, which {by} needs, is not locked: run `make lock`"
            if tested:
                assert importlib.metadata.version(name) == version_of(pins[name])
        for each in map(Requirement, importlib.metadata.requires(name) or []):
            extras = wanted.extras or {""}
            if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append((each, name))
    assert len(seen) > 100


def test_packaging_promises() -> None:
    found = project()
    assert found["scripts"] == {"ser-probe": "ser_probe.cli.main:main"}
    assert found["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert (ROOT / "ser_probe" / "py.typed").is_file()
    everything = set(re.findall(r"\w+", found["optional-dependencies"]["all"][0].partition("[")[2]))
    assert everything == set(found["optional-dependencies"]) - {"all", "dev"}


def test_ranges_are_open_upwards() -> None:
    """A release that comes out tomorrow may be taken: two exceptions, each with its reason in pyproject.toml."""
    capped = {"transformers", "silero-vad", "ser-probe"}
    extras = [each for listed in project()["optional-dependencies"].values() for each in listed]
    for wanted in map(Requirement, [*project()["dependencies"], *extras]):
        closed = [each for each in wanted.specifier if each.operator in ("<", "<=", "==", "~=", "===")]
        assert not closed or wanted.name in capped, wanted
