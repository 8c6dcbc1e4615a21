"""Parameters that several commands share, and how the keys of a whole study are set by one command."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ser_probe.cli.options import Offer, offer

_MOST_NUMBERS = 100_000
LARGEST_SEED = 2**32 - 1  # numpy's older generators, which other packages use, take no larger one
OF_A_MANIFEST = {"data.manifest": "MANIFEST", "backbone.name": "--model"}
"""Flag or argument by key, of commands that take a manifest to a model."""


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


def output(metavar: str, text: str, callback: Callable[[Path | None], Path | None] = new_folder) -> Any:
    """Return the option `--output` of a command, which says what it writes."""
    return typer.Option("--output", "-o", metavar=metavar, help=text, callback=callback)


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
Seed = Annotated[int | None, typer.Option(help="Random seed.", show_default="0")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def names(text: str | None) -> list[str] | None:
    """Return the entries of `anger,joy`."""
    return None if text is None else [entry.strip() for entry in text.split(",") if entry.strip()]


def whole_numbers(text: str | None, option: str) -> list[int] | None:
    """Return the numbers of `0-9` or `0,2-4`, from 0 on; a range counts its end too.

    Raises:
        typer.BadParameter: If it is none of these, or a range of more than 100,000.
    """
    if text is None:
        return None
    numbers: list[int] = []
    for entry in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", entry)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if not 0 <= last - first < _MOST_NUMBERS:
            raise typer.BadParameter(f"expected whole numbers such as 0-9 or 0,3,5, found {text!r}", param_hint=option)
        numbers += range(first, last + 1)
    return list(dict.fromkeys(numbers))


def clip_offers() -> Iterator[Offer]:
    """Yield the keys that say how clips are read."""
    from ser_probe.config.sections import AudioConfig, DataConfig

    yield offer(AudioConfig, "audio", but="sample_rate_hz")
    yield offer(DataConfig, "data", "strict")


def study_defaults(path: Path, **chosen: object) -> dict[str, object]:
    """Return what a command that is one verb of a study has in place of a study's defaults.

    The study is called after the path that it writes to, and has no analyses: nobody asked for them, and what is set
    must not clash with them.

    Args:
        path: What the command writes.
        chosen: Further values by key, with `__` for the dot.
    """
    from ser_probe.config.analyses import ANALYSES
    from ser_probe.config.sections import NULL
    from ser_probe.files import slug

    analyses = {f"analyze.{name}": NULL for name in ANALYSES}
    return {"name": slug(path.stem), **analyses, **{key.replace("__", "."): value for key, value in chosen.items()}}
