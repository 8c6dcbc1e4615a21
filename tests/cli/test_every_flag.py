"""No flag does nothing: with each of them a command calls other steps, or the same with other arguments, or refuses it.

What the keys do that flags set is tried in `test_every_key`. Values are tried from a pool until one makes a difference;
a flag that the command drops makes none, whatever its value.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ser_probe.cli.reference import own_parameters, walk_commands
from ser_probe.cli.words import InFlags, Keys
from ser_probe.steps.outcome import Outcome

COMMANDS = {name: command for name, command in walk_commands() if not hasattr(command, "commands")}
POOL = (
    "7", "0.07", "other", "other.csv", "max", "bf16", "chunk", "float16", "kfold", "loso", "head", "cosine", "balanced",
    "numeric", "mse", "a,b", "a=b", "1/2", "0-1", "test", "procrustes", "cosine_centred", "euclidean", "within", "none",
    "speakers", "x=1", "-30", "distribution", "numbers", "gender_only", "data.strict=true", "shuffled_labels",
    "map.yaml", "all", "rank", "reference", "first", "welch", "bh", "population", "2", "csv", "npy", "logistic",
    "off", "pooled", "500", "energy", "leaks", "drop", "44100", "pcm16",
)  # fmt: skip
SHOWN_ONLY = {"as_json", "yes", "dry_run", "listed"}
"""Flags that change what is printed of a result or asked before it is written; the commands' own tests try them."""

REFUSALS = ("would be ignored", "belongs to", "is not for", "are for", "name the columns", "no option of the importer")
"""How a flag is refused that makes no difference beside the others."""


def steps_of(command: Callable[..., Any]) -> Iterator[tuple[Any, str]]:
    """Yield module and name of every step that a command's file imports."""
    for node in ast.walk(ast.parse(inspect.getsource(inspect.getmodule(command) or command))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ser_probe.steps."):
            for name in node.names:
                yield importlib.import_module(node.module or ""), name.name


@pytest.fixture
def tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[str, bool]]:
    """Return what a command does with words: what it calls its steps with, or its message; and whether it refuses."""
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"path": ["a.wav"], "label": ["a"]}).to_csv("m.csv", index=False)
    Path("study.yaml").write_text("name: x\ndata: {manifest: m.csv}\nbackbone: {name: tiny-wavlm-base}\n")
    Path("map.yaml").write_text("rage: anger\n")
    calls: list[str] = []

    def record(name: str) -> Callable[..., Outcome]:
        def step(*given: Any, **named: Any) -> Outcome:
            named = {key: value for key, value in named.items() if key != "progress"}
            # Where an object lies in memory says nothing of what it is.
            calls.append(re.sub(r" at 0x[0-9a-f]+", "", f"{name}({given!r}, {sorted(named.items())!r})"))
            return Outcome()

        return step

    def run(command: Any, words: list[str]) -> tuple[str, bool]:
        calls.clear()
        for module, name in steps_of(command.callback):
            if inspect.isfunction(getattr(module, name)):
                monkeypatch.setattr(module, name, record(name))
        said = ""
        try:
            command.main(words, standalone_mode=False)
        except SystemExit as ended:
            said = f"exit {ended.code}"
        except Exception as error:
            said = "" if calls else f"{type(error).__name__}: {getattr(error, 'param_hint', '')} {error}"
        captured = capsys.readouterr()
        return "\n".join([*calls, said, captured.out, captured.err]), bool(said)

    return run


def is_refused(parameter: Any, message: str) -> bool:
    """Tell whether a message says that a flag makes no difference here, and names it."""
    named = parameter.name in message or parameter.opts[0] in message
    return named and any(words in message for words in REFUSALS)


def arguments(command: Any) -> list[str]:
    """Return the words that a command cannot do without."""
    words: list[str] = []
    for parameter in own_parameters(command):
        named = parameter.param_type_name == "option"
        # `prepare --list` can do without what `prepare` cannot.
        needed = parameter.required or parameter.show_default == "required"
        if needed or (not named and parameter.name == "study_file"):
            value = {"study_file": "study.yaml", "manifest": "m.csv", "corpus": "emodb"}.get(parameter.name, "given")
            words += [parameter.opts[0], value] if named else [value]
    return words


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_makes_a_difference(name: str, tried: Callable[..., tuple[str, bool]]) -> None:
    command = COMMANDS[name]
    words = arguments(command)
    without, refused = tried(command, words)
    assert not refused, f"{name} {' '.join(words)}: {without}"
    for parameter in own_parameters(command):
        if parameter.param_type_name != "option" or parameter.name in SHOWN_ONLY:
            continue
        flags = [parameter.opts[0], *parameter.secondary_opts]
        values: tuple[str, ...] = ("",) if parameter.is_flag else POOL
        for flag, value in ((flag, value) for value in values for flag in flags):
            found, refused = tried(command, [*words, flag, *([value] if value else [])])
            if found != without and (not refused or is_refused(parameter, found)):
                break
        else:
            pytest.fail(f"`{name} {parameter.opts[0]}` does nothing; the last value tried gave\n{found}")


NOT_TYPED = {"--where", "--contrasts", "--labels", "--revision", "--audio-root"}
"""Flags whose default cannot be typed: it says what becomes of clips without them."""


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if isinstance(command, InFlags)])
def test_a_default_that_is_typed_makes_no_difference(name: str, tried: Callable[..., tuple[str, bool]]) -> None:
    """What a help page shows as a key's default is what the command does without the flag."""
    command = COMMANDS[name]
    words = arguments(command)
    without, refused = tried(command, words)
    assert not refused
    options = {parameter.opts[0]: parameter for parameter in own_parameters(command)}
    typed = 0
    for flag in set(command.keys.flags.values()) & {*options} - NOT_TYPED:
        shown = options[flag].show_default
        if not isinstance(shown, str):
            continue
        shown = shown.split(":")[0]
        given = (
            [options[flag].secondary_opts[0] if shown == "off" else flag] if options[flag].is_flag else [flag, shown]
        )
        found, _ = tried(command, [*words, *given])
        assert found == without, f"{name} {' '.join(given)}"
        typed += 1
    assert typed


FORMER = [
    (name, *pair) for name, command in COMMANDS.items() for pair in getattr(command, "keys", Keys()).former.items()
]


@pytest.mark.parametrize(("name", "former", "now"), FORMER)
def test_a_former_flag_does_what_the_one_of_now_does(
    name: str, former: str, now: str, tried: Callable[..., tuple[str, bool]]
) -> None:
    command = COMMANDS[name]
    words = arguments(command)
    without, _ = tried(command, words)
    compared = 0
    for value in POOL:
        expected, refused = tried(command, [*words, now, value])
        if refused or expected == without:
            continue
        for given in ([former, value], [f"{former}={value}"]):
            found, _ = tried(command, [*words, *given])
            warning = f"warning: {former} is called {now} now; the former name goes with the next release\n"
            assert warning in found
            assert found.replace(warning, "") == expected
        compared += 1
    assert compared


def test_which_flags_were_renamed() -> None:
    assert {(name.removeprefix("ser-probe "), former, now) for name, former, now in FORMER} == {
        ("prepare", "--split", "--scheme"), ("finetune", "--split", "--scheme"), ("evaluate", "--split", "--splits"),
        ("analyze probe", "--split", "--scheme"), ("analyze probe", "--splits", "--division"),
        ("analyze probe", "--seeds", "--initialisations"), ("analyze umap", "--n-neighbors", "--neighbours"),
        *((f"analyze {name}", "--with", "--features") for name in ("probe", "similarity", "geometry")),
    }  # fmt: skip
