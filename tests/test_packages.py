"""Packages that are absent or broken: the message names the installation, and a broken one takes no other with it."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ser_probe import packages
from ser_probe.errors import AudioError, MissingExtraError, PackageError
from ser_probe.packages import BAD_PAIRS, import_fault, mending, require, set_aside_broken

UNDEFINED = "raise OSError('libfoo.so: undefined symbol: foo_v2')"


@pytest.fixture
def write_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Write a module that can be imported while the test runs."""
    monkeypatch.syspath_prepend(tmp_path)
    written = []

    def write(name: str, code: str) -> None:
        (tmp_path / f"{name}.py").write_text(code)
        written.append(name)

    yield write
    for name in written:
        sys.modules.pop(name, None)
        packages._set_aside.pop(name, None)


def fault_of(code: str) -> PackageError | None:
    try:
        exec(compile(code, "user.py", "exec"), {"__name__": "ser_probe.test"})
    except Exception as error:
        return import_fault(error)
    raise AssertionError("nothing was raised")


def test_an_installed_dependency_is_returned() -> None:
    assert require("json", extra="x", purpose="reading").loads("1") == 1


def test_a_missing_dependency_names_the_extra() -> None:
    with pytest.raises(MissingExtraError, match="drawing needs the package 'no_such_package', which is not installed"
                       ) as caught:  # fmt: skip
        require("no_such_package", extra="paint", purpose="drawing")
    assert caught.value.fix == "pip install 'ser-probe[paint]'"


def test_a_broken_dependency_is_not_called_missing(write_package: Callable[[str, str], None]) -> None:
    write_package("brush", UNDEFINED)
    with pytest.raises(MissingExtraError, match="needs the package 'brush', which cannot be loaded") as caught:
        require("brush", extra="paint", purpose="drawing")
    assert caught.value.found == "OSError: libfoo.so: undefined symbol: foo_v2"
    assert "--force-reinstall brush" in str(caught.value.fix)
    write_package("pot", "import no_such_colour")
    with pytest.raises(MissingExtraError, match="needs the package 'pot', which cannot be loaded") as caught:
        require("pot", extra="paint", purpose="drawing")
    assert caught.value.fix == "pip install --upgrade 'ser-probe[paint]'"


@pytest.mark.parametrize("code", [UNDEFINED, "raise RuntimeError('built for CUDA 12')", "1 / 0"])
def test_whatever_a_package_raises_when_it_is_loaded_is_a_fault_of_the_installation(
    code: str, write_package: Callable[[str, str], None]
) -> None:
    write_package("brush", code)
    write_package("easel", "try:\n    import brush\nexcept Exception as error:\n    raise KeyError('brush') from error")
    for name in ("brush", "easel"):
        fault = fault_of(f"import {name}")
        assert fault is not None
        assert fault.what == "The package 'brush' is installed, but cannot be loaded"
        assert fault.where == "brush absent", "it has no release: it was never installed by pip"
        assert str(pickle.loads(pickle.dumps(fault))) == str(fault)
        sys.modules.pop(name, None)


def test_an_absent_package_is_named_with_what_to_install(write_package: Callable[[str, str], None]) -> None:
    fault = fault_of("import no_such_package")
    assert fault is not None
    assert (fault.what, fault.fix) == ("The package 'no_such_package' is not installed", "pip install no-such-package")
    write_package("easel", "import no_such_package")
    fault = fault_of("import easel")
    assert fault is not None
    assert fault.what == "The package 'no_such_package', which 'easel' needs is not installed"


def test_what_ser_probe_asks_for_is_installed_in_its_range(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["umap-learn>=0.5.6", "opensmile>=2.5; extra == 'egemaps'"]
    monkeypatch.setattr(packages.importlib.metadata, "requires", lambda name: asked)
    for package, fix in {"umap": "'umap-learn>=0.5.6'", "opensmile": "'ser-probe[egemaps]'", "brush": "brush"}.items():
        monkeypatch.setitem(sys.modules, package, None)
        fault = fault_of(f"import {package}")
        assert fault is not None
        assert fault.fix == f"pip install {fix}"


def test_a_python_without_a_part_of_its_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlite3", None)
    fault = fault_of("import sqlite3")
    assert fault is not None
    assert fault.what == "This Python lacks its module 'sqlite3'"
    assert "install Python with all of its standard library" in str(fault.fix)


@pytest.mark.parametrize("code", ["open('/no/such/file')", "from ser_probe.files import no_such_name", "1 / 0",
                                  "import ser_probe.no_such_module"])  # fmt: skip
def test_other_errors_are_no_fault_of_the_installation(code: str) -> None:
    assert fault_of(code) is None
    assert import_fault(AudioError("The clip is silent")) is None


def test_a_broken_package_is_kept_out_and_its_reason_is_kept(write_package: Callable[[str, str], None]) -> None:
    write_package("brush", UNDEFINED)
    assert set_aside_broken("brush") == "OSError: libfoo.so: undefined symbol: foo_v2"
    assert set_aside_broken("brush") == "OSError: libfoo.so: undefined symbol: foo_v2"
    # What asks whether it is there is told no; what needs it is told why.
    assert packages.importlib.util.find_spec("brush") is None
    with pytest.raises(MissingExtraError, match="needs the package 'brush', which cannot be loaded") as caught:
        require("brush", extra="paint", purpose="drawing")
    assert caught.value.found == "OSError: libfoo.so: undefined symbol: foo_v2"
    assert set_aside_broken("json") is None
    assert set_aside_broken("no_such_package") is None


def test_the_bad_pair_is_mended_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"torch": "2.11.0+cu130", "torchaudio": "2.11.1"}
    monkeypatch.setattr(packages.importlib.metadata, "version", versions.__getitem__)
    assert mending("torchaudio") == "pip install torchaudio==2.11.0" == BAD_PAIRS["2.11.0", "2.11.1"]
    assert packages.installed_as("torchaudio") == "torchaudio 2.11.1 beside torch 2.11.0"
    versions["torch"] = "2.99.0"
    assert "pip install --upgrade torch torchaudio" in mending("torchaudio")


def test_models_load_beside_a_torchaudio_that_cannot_be_loaded(tmp_path: Path) -> None:
    """transformers imports it wherever it is there, and would fail as a whole."""
    (tmp_path / "torchaudio.py").write_text("raise OSError('libtorchaudio.so: undefined symbol: torch_x')")
    code = (
        "from ser_probe.models.loading import load_backbone\n"
        "print(load_backbone('tiny-wavlm-base').name)\n"
        "from ser_probe.models.frame_pooling import EcapaPooling\n"
        "try: EcapaPooling(8)\nexcept Exception as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("tiny-wavlm-base\n")
    assert done.stderr.count("cannot be loaded and is left out") == 1
    assert "the pooling 'ecapa' needs the package 'speechbrain'" in done.stdout
    assert "undefined symbol: torch_x" in done.stdout or "not installed" in done.stdout
