"""The package as its users import it: what it shows, and that showing it loads nothing."""

from __future__ import annotations

import importlib.metadata
import pydoc
import rlcompleter
import subprocess
import sys

import pytest

import ser_probe


def test_dir_and_completion_show_what_there_is() -> None:
    assert set(ser_probe.__all__) <= set(dir(ser_probe))
    assert not {"Any", "TYPE_CHECKING", "importlib"} & set(dir(ser_probe))
    complete = rlcompleter.Completer({"ser_probe": ser_probe}).attr_matches
    assert [match.rstrip("()") for match in complete("ser_probe.load_")] == [
        "ser_probe.load_classifier",
        "ser_probe.load_study",
    ]


def test_every_name_can_be_used_and_has_help() -> None:
    for name in ser_probe.__all__:
        assert getattr(ser_probe, name) is not None
    page = pydoc.plain(pydoc.render_doc(ser_probe))
    for name in set(ser_probe.__all__) - {"__version__"}:
        assert f"ser_probe.{name}" in page or f" {name}(" in page, name
    for words in ("Load a fine-tuned classifier", "A finished file of embeddings", f"VERSION\n    {version()}"):
        assert words in page


def version() -> str:
    return importlib.metadata.version("ser-probe")


def test_the_version_is_that_of_the_installation() -> None:
    assert ser_probe.__version__ == version()


def test_looking_at_the_package_loads_nothing() -> None:
    script = "import sys, ser_probe; dir(ser_probe); ser_probe.__version__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"numpy", "torch", "transformers", "pandas"} & set(done.stdout.split())


def test_an_unknown_name_is_said() -> None:
    with pytest.raises(AttributeError, match="module 'ser_probe' has no attribute 'load_clasifier'"):
        _ = ser_probe.load_clasifier
