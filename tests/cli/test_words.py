"""Messages of commands name what was typed, flags; messages of a study name what stands in its file, keys."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer

import ser_probe
from ser_probe.cli.main import app
from ser_probe.cli.reference import own_parameters, walk_commands
from ser_probe.cli.words import _TYPED, InFlags, in_flags, typed_keys
from ser_probe.config import StudyConfig

from ..keys import walk_keys

SOURCES = Path(ser_probe.__file__).parent
SER_PROBE = typer.main.get_command(app)
COMMANDS = {name: command for name, command in walk_commands() if isinstance(command, InFlags)}
INVALID = ("-7", "nonsense", "0", "0,0", "99", "a=b", "99999999")
"""Values of which each flag that is checked refuses one."""
UNCHECKED = {
    # Any text is one, until the files are looked at.
    *(
        "data.options",
        "data.audio_root",
        "backbone.name",
        "data.target",
        "data.labels",
        "extract.device",
        "finetune.device",
        "device",
    ),
    *("label_map", "target_columns", "by", "analyze.drift.by", "analyze.geometry.by", "analyze.geometry.factors"),
    *("analyze.umap.color", "analyze.probe.targets", "analyze.probe.groups"),
    *(f"analyze.stats.{key}" for key in ("response", "factors", "where", "apart", "unit", "random", "contrasts")),
    "analyze.stats.equivalence",
    # Refused together with another; the clashes are tried below.
    *("backbone.revision", "finetune.target_columns", "analyze.similarity.egemaps"),
    # Flags of files, which stand for a key of a study.
    *("analyze.drift.weights", "analyze.drift.floor"),
}
"""Keys whose flags take any value of their type."""

Said = Callable[..., str]


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """Return what a command prints on stderr."""
    monkeypatch.chdir(tmp_path)
    Path("m.csv").write_text("path,label\na.wav,a\n")

    def run(*words: str) -> str:
        with pytest.raises(SystemExit):
            SER_PROBE(list(words))
        return capsys.readouterr().err

    return run


@pytest.fixture
def typed() -> Iterator[Callable[[str], None]]:
    """Return a function that lets a command have been typed."""
    before = _TYPED.get()

    def typed(name: str) -> None:
        _TYPED.set(dataclasses.replace(COMMANDS[f"ser-probe {name}"].keys, command=name.split()[-1]))
        typed_keys().check("", {})

    yield typed
    _TYPED.set(before)


def test_keys_become_flags(typed: Callable[[str], None]) -> None:
    typed("analyze umap")
    assert in_flags("set analyze.umap.neighbours lower") == "set --neighbours lower"
    assert in_flags("analyze.splits.") == "--splits."
    assert in_flags("analyse more, see out/analyze.splits.csv") == "analyse more, see out/analyze.splits.csv"
    typed("finetune")
    assert in_flags("a smaller finetune.batch_size") == "a smaller --batch-size"
    assert in_flags("take --scheme study_e (in a study: split.scheme)") == "take --scheme study_e"
    assert in_flags("seed (command line): expected 0 or more") == "--seed: expected 0 or more"
    # What has no flag of its own is set with --set, and what was typed as a key stays one.
    assert in_flags("turn finetune.lora off") == "turn finetune.lora (--set) off"
    assert in_flags("finetune.batch_size (--set): expected 1") == "finetune.batch_size (--set): expected 1"
    assert in_flags("--set finetune.batch_size=0") == "--set finetune.batch_size=0"
    assert in_flags("did you mean 'finetune.batch_size'?") == "did you mean 'finetune.batch_size'?"
    # `--seed` sets the study's seed; the split's own has no flag.
    assert in_flags("split.seed") == "split.seed (--set)"
    # The command does not take the key.
    assert in_flags("analyze.umap.layers") == "analyze.umap.layers"


def test_without_a_command_a_text_stays_as_it_is() -> None:
    assert in_flags("set analyze.splits to all") == "set analyze.splits to all"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_value_that_is_refused_is_refused_by_its_flag(name: str, said: Said) -> None:
    command = COMMANDS[name]
    words = name.split()[1:]
    # `prepare --list` does without what every other `prepare` needs.
    needed = ("corpus", "root", "output") if command.params[0].name == "corpus" else ()
    for each in (each for each in command.params if each.required or each.name in needed):
        value = {"manifest": "m.csv", "model": "tiny-wavlm-base", "corpus": "emodb"}.get(each.name, "given")
        words += [value] if each.param_type_name == "argument" else [each.opts[0], value]
    flags = command.keys.flags
    options = {each.opts[0]: each for each in own_parameters(command)}
    assert {flag for flag in flags.values() if flag.startswith("--")} <= {*options}
    unnamed: dict[str, str] = {}
    for key, flag in flags.items():
        if flag not in options or options[flag].is_flag or options[flag].param_type_name != "option":
            continue
        for value in INVALID if key not in UNCHECKED else ("nonsense",):
            message = said(*words, flag, value)
            named = {each for each in flags if re.search(rf"(?<![\w.]){re.escape(each)}(?![\w.])", message)}
            assert not {each for each in named if "." in each}, f"{name} {flag} names keys: {message}"
            assert "(command line)" not in message
            if f"- {flag}: " in message or f"'{flag}'" in message:
                break
        else:
            unnamed |= {flag: message} if key not in UNCHECKED else {}
    assert not unnamed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("extract m.csv -m tiny-wavlm-base -o x.h5 --max-duration-s 0.05",
         "--min-duration-s: must be below --max-duration-s (0.05)"),
        ("extract m.csv -m tiny-wavlm-base -o x.h5 --revision main",
         "--revision: 'tiny-wavlm-base' is built here and has no revision"),
        ("extract m.csv -m tiny-wavlm-base -o x.h5 --set extract.chunk_overlap_s=3",
         "extract.chunk_overlap_s (--set): would be ignored by --long-clips 'reject': set --long-clips to 'chunk'"),
        ("extract m.csv -m tiny-wavlm-base -o x.h5 --pooling mean --set extract.pooling=max",
         "--set extract.pooling=max: --pooling is also set by an option"),
        ("finetune m.csv -m tiny-wavlm-base -o x --folds 7 --scheme loso",
         "--folds: would be ignored by --scheme 'loso': set --scheme to 'kfold'"),
        ("finetune m.csv -m tiny-wavlm-base -o x --targets numeric", "--target-columns: name the columns"),
        ("finetune m.csv -m tiny-wavlm-base -o x --set finetune.lora.rank=2", "set --trained to 'lora'"),
        ("prepare emodb berlin -o x.csv --option lables=2", "--option lables: no option of the importer"),
        ("prepare table m.csv -o x.csv --option lables=2", "--option: belong to an importer; a manifest has none"),
        ("prepare emodb berlin -o x.csv --option lables", "expected KEY=VALUE, as labels=voice_vote"),
        ("prepare emodb berlin -o x.csv --option a={", "the value is not valid YAML"),
        ("analyze umap x.h5 -o x --embed-mb 3", "- --embed-mb would be ignored: --embed-audio is false"),
        ("analyze similarity x.h5 -o x --permutations 0 --permuted all", "--permuted would be ignored: --permutations"),
        ("evaluate run m.csv -o x --bins 0", "- --bins: expected 1 or more, found 0"),
        ("search study.yaml --trials 0", "'--trials'"),
    ],
)  # fmt: skip
def test_what_clashes_is_said_in_flags(words: str, message: str, said: Said) -> None:
    assert message in said(*words.split())


def test_a_study_is_told_of_its_keys(said: Said) -> None:
    Path("study.yaml").write_text(
        "name: x\ndata: {manifest: m.csv}\nbackbone: {name: tiny-wavlm-base}\nsplit: {scheme: loso, folds: 7}\n"
    )
    found = said("run", "study.yaml", "--set", "finetune.epochs=0")
    assert "finetune.epochs (--set): expected a number above 0" in found
    assert "split.folds (line 4): would be ignored by split.scheme 'loso'" in found


def test_every_key_of_an_analysis_that_a_message_names_is_one_of_its_flags() -> None:
    named = set()
    for room in ("steps", "analysis"):
        for source in (SOURCES / room).rglob("*.py"):
            if source.name not in ("run.py", "study_analyses.py"):
                named |= set(re.findall(r"analyze\.([a-z]+)\.([a-z_]+)", source.read_text(encoding="utf-8")))
    assert ("umap", "neighbours") in named
    for analysis, key in named:
        assert f"analyze.{analysis}.{key}" in COMMANDS[f"ser-probe analyze {analysis}"].keys.flags


def test_keys_are_those_of_a_study() -> None:
    sections = {key.partition(".")[0] for key in walk_keys() if "." in key}
    pattern = (SOURCES / "cli" / "words.py").read_text(encoding="utf-8")
    assert set(re.search(r'_SECTIONS = "([a-z|]+)"', pattern)[1].split("|")) == sections <= {*StudyConfig.model_fields}  # type: ignore[index]


def test_a_message_of_a_step_reaches_the_terminal_in_flags(said: Said) -> None:
    Path("cells.csv").write_text("step,mean,sd,n\n0,0.5,0.1,10\n50,0.6,0.1,1e18\n")
    words = "analyze stats cells.csv --response score --factors step --from-moments -o out"
    error = said(*words.split())
    assert "column n, row 2" in error
    assert "analyze." not in error
