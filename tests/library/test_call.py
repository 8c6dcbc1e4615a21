"""Options of a section as keyword arguments: shown, checked, and named by what is said of them."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ser_probe.config import ProbeConfig, SplitConfig
from ser_probe.errors import AnalysisError, ConfigError, SerProbeError
from ser_probe.library.call import TEMPORARY, Call, Options

CALL = Call(
    (
        Options("analyze.probe", ProbeConfig, without=("groups",)),
        Options("split", SplitConfig, only=("scheme", "seed")),
    ),
    {"--random": "control"},
)


@CALL
def act(caches: object, *, output: object = None, **options: Any) -> object:
    """Act.

    Args:
        caches: What on.
    """
    if isinstance(caches, Exception):
        raise caches
    return CALL.check(options, ProbeConfig)


def test_the_signature_holds_the_options_with_the_defaults_of_the_section() -> None:
    parameters = inspect.signature(act).parameters
    assert list(parameters)[:3] == ["caches", "output", "families"]
    assert parameters["folds"].default == ProbeConfig().folds
    assert parameters["scheme"].default == SplitConfig().scheme
    assert {"groups", "options", "fraction"}.isdisjoint(parameters)


def test_the_documentation_has_the_description_of_each_option() -> None:
    text = inspect.getdoc(act) or ""
    described = " ".join(text.split())
    assert "Act. Args: caches: What on." in described
    for name in ("families", "patience"):
        assert f"{name}: {' '.join(str(ProbeConfig.model_fields[name].description).split())}" in described


def test_the_section_has_what_was_given_and_numbers_of_numpy_count() -> None:
    probe = act(None, folds=np.int64(4), families=["linear"], seed=3)
    assert probe == ProbeConfig(folds=4, families=("linear",))


def test_all_faults_are_said_at_once_by_argument() -> None:
    with pytest.raises(ConfigError) as caught:
        act(None, folds=2, division="kfolds")
    text = str(caught.value)
    assert "division: expected" in text
    assert "did you mean 'kfold'?" in text
    assert "folds: expected 3 or more, found 2" in text


def test_an_argument_that_is_not_there_is_told_the_near_ones() -> None:
    with pytest.raises(ConfigError, match=r"act\(\) has no argument 'famlies'(.|\n)*did you mean 'families'"):
        act(None, famlies=("linear",))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("set analyze.probe.division to study", "set division to study"),
        ("take fewer (analyze.probe.folds), or more", "take fewer (folds), or more"),
        ("set split.scheme", "set scheme"),
        ("the only file (--random FILE.h5)", "the only file (control FILE.h5)"),
        ("one seed, --split-seed 1 (in a study: split.seed)", "one seed, split_seed 1"),
        ("write one with `ser-probe prepare --output`", "write one with `ser-probe prepare --output`"),
        ("pip install --upgrade torch", "pip install --upgrade torch"),
        ("data.labels are of another section", "data.labels are of another section"),
        ("analyze.probe.groups is not offered", "analyze.probe.groups is not offered"),
        ("the file runs/split.seed.csv", "the file runs/split.seed.csv"),
    ],
)
def test_messages_name_arguments(said: str, expected: str) -> None:
    assert CALL.say(said) == expected


def test_every_detail_of_a_fault_names_arguments_and_no_temporary_file(tmp_path: Path) -> None:
    import tempfile

    hidden = Path(tempfile.gettempdir()) / f"{TEMPORARY}x1" / "clips.parquet"
    fault = AnalysisError("analyze.probe.folds is wrong", where=hidden, expected=3, found="--random", fix=None)
    with pytest.raises(SerProbeError) as caught:
        act(fault)
    error = caught.value
    assert (error.what, error.where, error.expected, error.found) == ("folds is wrong", "clips.parquet", 3, "control")
    assert error.args == ("folds is wrong",)
