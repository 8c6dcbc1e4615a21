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


Files = list[Path] | None
Names = Annotated[
    list[str] | None,
    typer.Option(
        "--name",
        metavar="NAME=FILE",
        help="What tables and figures call a model: NAME=FILE, NAME=MODEL for all files of it, or a NAME alone for "
        "each file, in their order. May be repeated.",
    ),
]
Clips = Annotated[
    Path | None,
    typer.Option(
        "--clips",
        metavar="MANIFEST",
        help="Prepared manifest, as runs/<study>/manifest.csv, to take labels, speakers and splits from.",
    ),
]
Caches = Annotated[list[Path], typer.Argument(metavar="CACHE", help="Embedding files, one per checkpoint.")]
TableFile = Annotated[
    Path,
    typer.Argument(metavar="TABLE", help="Results, a row each (or means, with --from-moments): CSV, TSV, Parquet."),
]
Output = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="DIR", help="Folder to write the tables to.", callback=flags.new_folder),
]
Features = Annotated[
    Path | None,
    typer.Option("--features", metavar="FEATURES.h5", help="Acoustic functionals (eGeMAPS) to set beside the layers."),
]
Control = Annotated[
    Path | None,
    typer.Option("--random", metavar="CACHE", help="The same architecture with random weights, as a control."),
]
Reference = Annotated[
    Path | None, typer.Option("--reference", metavar="CACHE", help="File to measure from, usually step 0.")
]
Repeats = Annotated[
    Files,
    typer.Option(
        "--floor",
        metavar="CACHE",
        help="The reference extracted again, with another precision or batch size: what drift has to exceed. May be "
        "repeated.",
    ),
]
SeedCaches = Annotated[
    Files,
    typer.Option(
        "--seed-caches",
        metavar="CACHE",
        help="A checkpoint of the same step of another fine-tuning seed, for a floor between seeds. May be repeated.",
    ),
]
Weights = Annotated[
    Files,
    typer.Option(
        "--weights",
        metavar="DIR",
        help="Checkpoint, or folder of them such as runs/<study>/checkpoints, for the drift of weights. May be "
        "repeated.",
    ),
]
Predictions = Annotated[
    Path | None,
    typer.Option(
        "--predictions",
        metavar="FILE",
        help="Predictions as `evaluate` writes them: colours clips by right and wrong.",
    ),
]
AudioRoot = Annotated[
    Path | None,
    typer.Option("--audio-root", help="Folder that the clips' paths start from.", show_default="that of --clips"),
]
Seed = Annotated[
    int,
    typer.Option("--seed", min=0, max=flags.LARGEST_SEED, help="Random seed, of permutations, folds and layouts."),
]
FromMoments = Annotated[
    bool, typer.Option("--from-moments", help="The table has a row a cell, with columns mean, sd and n.")
]

PARAMETERS: Mapping[str, Mapping[str, tuple[Any, Any]]] = {
    "caches": {"caches": (Caches, ...)},
    "table": {"table": (TableFile, ...)},
    "reference": {"reference": (Reference, None)},
    "features": {"features": (Features, None)},
    "control": {"control": (Control, None)},
    "repeats": {"repeats": (Repeats, None)},
    "seed_caches": {"seed_caches": (SeedCaches, None)},
    "checkpoints": {"weights": (Weights, None)},
    "predictions": {"predictions": (Predictions, None)},
    "audio_root": {"audio_root": (AudioRoot, None)},
    "seed": {"seed": (Seed, 0)},
    "from_moments": {"from_moments": (FromMoments, False)},
}
"""Parameters of a command by what its analysis is given, in their order; with their types and defaults."""


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
    required, optional = [], []
    for name, parameters in PARAMETERS.items():
        for parameter, (kind, default) in parameters.items() if name in _given(analysis) else ():
            is_required = default is ... or name in analysis.requires
            made = inspect.Parameter(
                parameter,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if is_required else default,
                annotation=kind,
            )
            (required if is_required else optional).append(made)
    yield from required
    yield inspect.Parameter("output", inspect.Parameter.KEYWORD_ONLY, annotation=Output)
    if "caches" in _given(analysis):
        yield inspect.Parameter("clips", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Clips)
        yield inspect.Parameter("names", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Names)
    yield from optional


def _offers(analysis: Analysis) -> Iterator[Offer]:
    """Yield the keys of an analysis, and those of what it is given that are options too."""
    from ser_probe.config.analyze import AnalyzeSection
    from ser_probe.config.sections import SplitConfig

    own = analysis.command
    flagged = {
        key: Flag(own.spelled.get(key, ()), default=default, shown=shown)
        for key, (default, shown) in {**dict.fromkeys(own.spelled, (..., None)), **own.defaults}.items()
    }
    flagged |= {key: Flag(required=True) for key in own.required}
    yield offer(analysis.section, f"analyze.{analysis.name}", but=" ".join(own.instead), **flagged)
    if "split" in _given(analysis):
        yield offer(SplitConfig, "split", "scheme seed", seed=Flag(("--split-seed",), help="Seed of the new split."))
    shared = [key for key in AnalyzeSection.model_fields if key in _given(analysis)]
    if shared:
        clips = Flag(help="Clips to look at: all, or some of train,validation,test.", default="all")
        yield offer(AnalyzeSection, "analyze", " ".join(shared), splits=clips)


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
    chosen = {"split": split, "splits": analyze.splits, "by_corpus": analyze.by_corpus}
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

    found = {name: value for name, value in given.items() if value is not None}
    names, clips = found.pop("names", None), found.pop("clips", None)
    if "caches" in found:
        found |= {"caches": name_caches(found["caches"], names), "clips": read_clips(clips)}
    if "reference" in found:
        found["reference"] = named_like(found["reference"], found["caches"])
    if "weights" in found:
        found["checkpoints"] = find_checkpoints(found.pop("weights"))
    if "audio_root" in given and clips is not None:
        found.setdefault("audio_root", clips.expanduser().parent)
    return found
