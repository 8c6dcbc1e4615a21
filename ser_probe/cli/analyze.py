"""ser-probe analyze: tables and figures from embedding files, joined on clip. A command for each entry of `ANALYSES`.

An entry says what its analysis is given: that decides the command's arguments. Its section makes the other options.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ser_probe.cli import flags
from ser_probe.cli.command_table import CommandTable, LazyGroup
from ser_probe.cli.options import Flag, Offer, offer, offers
from ser_probe.cli.terminal import finish
from ser_probe.cli.words import checked

if TYPE_CHECKING:
    from ser_probe.config.analysis import Analysis


def _commands() -> Mapping[str, Callable[[], Callable[..., None]]]:
    from ser_probe.config.analyses import ANALYSES

    return {name: functools.partial(analysis_command, analysis) for name, analysis in ANALYSES.items()}


class Analyses(LazyGroup):
    """A command for each analysis, known when they are asked for."""

    table = CommandTable(_commands)


app = typer.Typer(
    cls=Analyses,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Analyse embedding files; seconds, on a laptop.",
)


@app.callback()
def _analyze() -> None:
    """Make a group of the analyses, which typer does not know."""


def _option(kind: Any, flag: str, metavar: str | None, text: str, **settings: Any) -> Any:
    """Return a type as typer reads it: with the option that gives it."""
    names = (flag, "-o") if flag == "--output" else (flag,)
    return Annotated[kind, typer.Option(*names, metavar=metavar, help=text, **settings)]


_REPEATED = "May be repeated."
_OUTPUT = _option(Path, "--output", "DIR", "Folder to write the tables to.", callback=flags.new_folder)
_OF_CACHES = {
    "clips": _option(
        Path | None,
        "--clips",
        "MANIFEST",
        "Prepared manifest, as runs/<study>/manifest.csv, to take labels, speakers and splits from.",
    ),
    "names": _option(
        list[str] | None,
        "--name",
        "NAME=FILE",
        "What tables and figures call a model: NAME=FILE, NAME=MODEL for all files of it, or a NAME alone for each "
        f"file, in their order. {_REPEATED}",
    ),
}
"""Parameters of every command that reads embedding files."""

_CACHE = typer.Argument(metavar="CACHE", help="Embedding files, one per checkpoint.")
_TABLE = typer.Argument(metavar="TABLE", help="Results, a row each (or means, with --from-moments): CSV, TSV, Parquet.")
_FLOOR = "The reference extracted again, with another precision or batch size: what drift has to exceed."
_SEED_CACHES = "A checkpoint of the same step of another fine-tuning seed, for a floor between seeds."
_WEIGHTS = "Checkpoint, or folder of them such as runs/<study>/checkpoints, for the drift of weights."
_PREDICTIONS = "Predictions as `evaluate` writes them: colours clips by right and wrong."
_SEED = "Random seed, of permutations, folds and layouts."
_FEATURES = "File of acoustic functionals (eGeMAPS), set beside the layers or predicted from them."

PARAMETERS: Mapping[str, tuple[str, Any, Any]] = {
    "caches": ("caches", Annotated[list[Path], _CACHE], ...),
    "table": ("table", Annotated[Path, _TABLE], ...),
    "reference": (
        "reference",
        _option(Path | None, "--reference", "CACHE", "File to measure from, usually step 0."),
        None,
    ),
    "features": ("features", _option(Path | None, "--features", "FEATURES.h5", _FEATURES), None),
    "control": (
        "control",
        _option(Path | None, "--random", "CACHE", "The same architecture with random weights, as a control."),
        None,
    ),
    "repeats": ("repeats", _option(list[Path] | None, "--floor", "CACHE", f"{_FLOOR} {_REPEATED}"), None),
    "seed_caches": (
        "seed_caches",
        _option(list[Path] | None, "--seed-caches", "CACHE", f"{_SEED_CACHES} {_REPEATED}"),
        None,
    ),
    "checkpoints": ("weights", _option(list[Path] | None, "--weights", "DIR", f"{_WEIGHTS} {_REPEATED}"), None),
    "predictions": ("predictions", _option(Path | None, "--predictions", "FILE", _PREDICTIONS), None),
    "audio_root": (
        "audio_root",
        _option(
            Path | None,
            "--audio-root",
            None,
            "Folder that the clips' paths start from.",
            show_default="that of --clips",
        ),
        None,
    ),
    "seed": ("seed", _option(int, "--seed", None, _SEED, min=0, max=flags.LARGEST_SEED), 0),
    "from_moments": (
        "from_moments",
        _option(bool, "--from-moments", None, "The table has a row a cell, with columns mean, sd and n."),
        False,
    ),
}
"""What an analysis is given: the command's parameter, its type and its default."""


def analysis_command(analysis: Analysis) -> Callable[..., None]:
    """Return the command of an analysis."""

    def command(output: Path, **given: Any) -> None:
        _run(analysis, output, given)

    command.__doc__ = inspect.getdoc(analysis.section)
    command.__signature__ = inspect.Signature(list(_parameters(analysis)))  # type: ignore[attr-defined]
    # The command of acoustics, which needs them, has always called them so.
    renamed = {"--with": "--features"} if "features" in _given(analysis) - analysis.requires else {}
    command_offers = offers(
        functools.partial(_offers, analysis),
        spelled={f"analyze.{analysis.name}.{key}": flag for key, flag in analysis.command.instead.items()},
        former={**renamed, **analysis.command.former},
    )
    return command_offers(command)


def _given(analysis: Analysis) -> frozenset[str]:
    return analysis.needs | analysis.accepts


def _parameters(analysis: Analysis) -> Iterator[inspect.Parameter]:
    """Yield what the command of an analysis is given: what it cannot do without first."""
    keyword = functools.partial(inspect.Parameter, kind=inspect.Parameter.KEYWORD_ONLY)
    required, optional = [keyword("output", annotation=_OUTPUT)], []
    if "caches" in _given(analysis):
        optional += [keyword(name, default=None, annotation=kind) for name, kind in _OF_CACHES.items()]
    for given, (name, kind, default) in PARAMETERS.items():
        if given in _given(analysis):
            if default is ... or given in analysis.requires:
                required.append(keyword(name, annotation=kind))
            else:
                optional.append(keyword(name, default=default, annotation=kind))
    yield from (*required, *optional)


def _offers(analysis: Analysis) -> Iterator[Offer]:
    """Yield the keys of an analysis, and those of what it is given that are options too."""
    from ser_probe.config.analyze import AnalyzeSection
    from ser_probe.config.sections import SplitConfig

    command = analysis.command
    flagged = {
        key: Flag(command.spelled.get(key, ()), default=default, shown=shown)
        for key, (default, shown) in {**dict.fromkeys(command.spelled, (..., None)), **command.defaults}.items()
    }
    flagged |= {key: Flag(required=True) for key in command.required}
    yield offer(analysis.section, f"analyze.{analysis.name}", but=" ".join(command.instead), flags=flagged)
    if "split" in _given(analysis):
        yield offer(
            SplitConfig, "split", "scheme seed", flags={"seed": Flag(("--split-seed",), help="Seed of the new split.")}
        )
    shared = [key for key in AnalyzeSection.model_fields if key in _given(analysis)]
    if shared:
        clips = Flag(help="Clips to look at: all, or some of train,validation,test.", default="all")
        yield offer(AnalyzeSection, "analyze", " ".join(shared), flags={"splits": clips})


def _run(analysis: Analysis, output: Path, given: dict[str, Any]) -> None:
    """Run an analysis on what its command was given, draw its figures and print its answers."""
    from ser_probe.cli.progress import open_progress
    from ser_probe.config import AnalyzeConfig, SplitConfig
    from ser_probe.steps.analyses.entries import run_analysis
    from ser_probe.steps.analyses.figures import draw_analysis
    from ser_probe.steps.analyses.inputs import Inputs

    split = checked(SplitConfig, section="split")
    analyze = checked(AnalyzeConfig, section="analyze")
    options = analyze.options_of(analysis.name)
    assert options is not None
    chosen: dict[str, Any] = {"split": split, "splits": analyze.splits, "by_corpus": analyze.by_corpus}
    inputs = Inputs(
        output, **_files(given), **{name: value for name, value in chosen.items() if name in _given(analysis)}
    )
    with open_progress() as progress:
        outcome = run_analysis(analysis.name, replace(inputs, progress=progress), options)
        outcome = draw_analysis(outcome, output, progress=progress)
    finish(outcome)


def _files(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a command was given as `Inputs` has it."""
    from ser_probe.steps.analyses.cache_names import name_caches, named_like
    from ser_probe.steps.analyses.checkpoint_weights import find_checkpoints
    from ser_probe.steps.analyses.representations import read_clips

    files = {name: value for name, value in given.items() if value is not None}
    names, clips = files.pop("names", None), files.pop("clips", None)
    if "caches" in files:
        files |= {"caches": name_caches(files["caches"], names), "clips": read_clips(clips)}
    if "reference" in files:
        files["reference"] = named_like(files["reference"], files["caches"])
    if "weights" in files:
        files["checkpoints"] = find_checkpoints(files.pop("weights"))
    if "audio_root" in given and clips is not None:
        files.setdefault("audio_root", clips.expanduser().parent)
    return files
