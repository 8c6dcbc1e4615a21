"""Options that several commands share.

An option that was not given is None and leaves the study's default in force. The defaults that help texts
show are written here by hand, because reading them from the schema would slow every `--help` down; a test
compares the two.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

OFF = "off"
_MOST_NUMBERS = 100_000

CacheFiles = Annotated[list[Path], typer.Argument(metavar="CACHE", help="Embedding files, one per checkpoint.")]


def new_file(path: Path | None) -> Path | None:
    """Return where a file is to be written, after seeing, before any work, that it can be one."""
    from ser_probe.output_paths import check_output_file

    if path is not None:
        check_output_file(path)
    return path


def new_folder(path: Path | None) -> Path | None:
    """Return the folder that files are to be written to; as `new_file`."""
    from ser_probe.output_paths import check_output_folder

    if path is not None:
        check_output_folder(path)
    return path


def new_cache(path: Path | None) -> Path | None:
    """Return where embedding files are to be written: a file `*.h5`, or a folder for several."""
    return new_file(path) if path is not None and path.suffix == ".h5" else new_folder(path)


TableFolder = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="DIR", help="Folder to write the tables to.", callback=new_folder),
]
ModelNames = Annotated[
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
Features = Annotated[
    Path | None, typer.Option("--with", metavar="FEATURES.h5", help="Features to set beside the layers (eGeMAPS).")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set any key of a study, as in a YAML file. May be repeated."),
]
AudioRoot = Annotated[
    Path | None,
    typer.Option(help="Folder that the manifest's paths start from.", show_default="the manifest's folder"),
]
Model = Annotated[
    str,
    typer.Option("--model", "-m", metavar="NAME_OR_DIR", help="Hugging Face id, local folder, checkpoint or tiny-*."),
]
Revision = Annotated[str | None, typer.Option(help="Commit, tag or branch of the Hugging Face repository.")]
RandomWeights = Annotated[
    int | None,
    typer.Option("--random-weights", metavar="SEED", help="Draw the weights from a seed: the architecture, untrained."),
]
Labels = Annotated[str | None, typer.Option(metavar="A,B,...", help="Labels to keep; clips with others are left out.")]
Loudness = Annotated[
    str | None,
    typer.Option(metavar="LUFS|off", help="Loudness to normalise clips to, or off.", show_default="-23.0"),
]
Peak = Annotated[
    str | None,
    typer.Option(metavar="DBFS|off", help="Highest sample allowed, in dB of full scale.", show_default=OFF),
]
MinDuration = Annotated[float | None, typer.Option(help="Reject clips shorter than this, in s.", show_default="0.1")]
MaxDuration = Annotated[float | None, typer.Option(help="Reject clips longer than this, in s.", show_default="30.0")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Stop at the first unusable clip instead of listing it and going on.")
]
Scheme = Annotated[
    str | None,
    typer.Option(
        "--scheme",
        "--split",
        help="How speakers are split: study_e, study_b, loso, kfold or manifest.",
        show_default="study_e",
    ),
]
Fold = Annotated[int | None, typer.Option(help="Which group or speaker tests, from 0.", show_default="0")]
Folds = Annotated[int | None, typer.Option(help="Groups of speakers for kfold.", show_default="5")]
LARGEST_SEED = 2**32 - 1  # numpy's older generators, which other packages use, take no larger one
Seed = Annotated[int | None, typer.Option(help="Seed of everything that draws lots.", show_default="0")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.", show_default="auto")]
ClipSplits = Annotated[
    str | None,
    typer.Option(
        "--splits", metavar="A,B,...", help="Clips to look at: all, or some of train,validation,test.",
        show_default="all",
    ),
]  # fmt: skip
ByCorpus = Annotated[
    bool,
    typer.Option(
        "--by-corpus/--no-by-corpus", help="Where clips are of several corpora, also each corpus as if it were alone."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def listed(text: str | None) -> list[Any] | str | None:
    """Return the entries of `0,6,final`, numbers as numbers; the word `all` stays a word, None stays None."""
    if text is None or text == "all":
        return text
    entries = [entry.strip() for entry in text.split(",")]
    return [int(entry) if entry.isdecimal() else entry for entry in entries if entry]


def names(text: str | None) -> list[str] | None:
    """Return the entries of `anger,joy`, all of them text."""
    return None if text is None else [entry.strip() for entry in text.split(",") if entry.strip()]


def whole_numbers(text: str | None, option: str) -> list[int] | None:
    """Return the numbers of `0-9`, `256,128` or `0,2-4`, from 0 on; a range counts its end too.

    Raises:
        typer.BadParameter: If it is none of these, or a range of more than 100,000.
    """
    if text is None:
        return None
    found: list[int] = []
    for entry in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", entry)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if not 0 <= last - first < _MOST_NUMBERS:
            raise typer.BadParameter(f"expected whole numbers such as 0-9 or 0,3,5, found {text!r}", param_hint=option)
        found += range(first, last + 1)
    return list(dict.fromkeys(found))


def switched(key: str, text: str | None) -> dict[str, object]:
    """Return an option that takes a number or `off`, which is null, as a key of a study."""
    from ser_probe.config import NULL

    if text == OFF:
        return {key: NULL}
    try:
        return {key: None if text is None else float(text)}
    except ValueError:
        return {key: text}


def entries(pairs: list[str], key: str, option: str, example: str) -> dict[str, object]:
    """Return `labels=voice_vote` and the like as keys below a key of a study, the values read as those of `--set`.

    Raises:
        typer.BadParameter: If one is no such pair.
    """
    from ser_probe.config import NULL
    from ser_probe.config.document import UnreadableYamlError, parse_yaml

    found: dict[str, object] = {}
    for pair in pairs:
        name, equals, text = (part.strip() for part in pair.partition("="))
        if not (equals and name and "." not in name):
            raise typer.BadParameter(f"expected KEY=VALUE, as {example}, found {pair!r}", param_hint=option)
        try:
            value = parse_yaml(text)
        except UnreadableYamlError as error:
            message = f"{pair}: the value is not valid YAML ({error}); put it in quotes"
            raise typer.BadParameter(message, param_hint=option) from error
        found[f"{key}.{name}"] = NULL if value is None else value
    return found


def clip_options(
    loudness_lufs: str | None,
    peak_dbfs: str | None,
    min_duration_s: float | None,
    max_duration_s: float | None,
    strict: bool,
) -> dict[str, object]:
    """Return the options of reading clips as keys of a study."""
    return {
        **switched("audio.loudness_lufs", loudness_lufs),
        **switched("audio.peak_dbfs", peak_dbfs),
        "audio.min_duration_s": min_duration_s,
        "audio.max_duration_s": max_duration_s,
        "data.strict": strict or None,
    }


def study_defaults(path: Path, **chosen: object) -> dict[str, object]:
    """Return what a command that is one verb of a study has in place of a study's defaults.

    The study is called after the path that it writes to, and has no analyses: nobody asked for them, and what is set
    must not clash with them.

    Args:
        path: What the command writes.
        chosen: Further values by key, with `__` for the dot.
    """
    from ser_probe.config import NULL
    from ser_probe.config.analyses import ANALYSES
    from ser_probe.files import slug

    analyses = {f"analyze.{name}": NULL for name in ANALYSES}
    return {"name": slug(path.stem), **analyses, **{key.replace("__", "."): value for key, value in chosen.items()}}
