"""ser-probe prepare: a corpus folder, or a table of one's own, becomes a checked manifest with splits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from ser_probe.cli import flags
from ser_probe.cli.options import Flag, Offer, offer, offers
from ser_probe.cli.terminal import finish, print_result
from ser_probe.cli.words import checked, typed_keys


def _offers() -> Iterator[Offer]:
    from ser_probe.config.sections import AudioConfig, DataConfig, SplitConfig

    seed = Flag(help="Random seed of the draw of speakers.")
    yield offer(SplitConfig, "split", "scheme fold folds seed", flags={"seed": seed})
    yield offer(DataConfig, "data", "labels strict")
    yield offer(AudioConfig, "audio", "min_duration_s max_duration_s")


_WIDE = len("licence") + 2
_SPELLED = {"data.corpus": "CORPUS", "data.root": "ROOT", "data.manifest": "FILE", "data.options": "--option"}


@offers(_offers, spelled=_SPELLED, former={"--split": "--scheme"})
def prepare(
    corpus: Annotated[
        str | None,
        typer.Argument(
            metavar="CORPUS|table",
            help="Importer, one of those that --list names; or table, for a file of one's own.",
            show_default="required",
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Argument(
            metavar="ROOT|FILE",
            help="Folder of the corpus (for `sample`, where to synthesise it); for `table`, a CSV, TSV, Parquet or "
            "Excel file with a row a clip.",
            show_default="required",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Manifest to write: CSV, TSV or Parquet.",
            callback=flags.new_file,
            show_default="required",
        ),
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="List the corpora, or show what is known of CORPUS, and stop.")
    ] = False,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Option of the importer, as labels=voice_vote. May be repeated."),
    ] = None,
    path_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="table: its column of the clips' paths, if not path.")
    ] = None,
    label_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="table: its column of labels, if not label.")
    ] = None,
    speaker_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="table: its column of speakers, if not speaker.")
    ] = None,
    renamed: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="OLD=NEW",
            help="table: new name of a column, as sex=gender or fold=split. May be repeated.",
        ),
    ] = None,
    audio_root: Annotated[
        Path | None,
        typer.Option(help="table: folder that its paths start from, if not the file's own."),
    ] = None,
    overrides: flags.Overrides = None,
) -> None:
    """Import a corpus or a table, check every clip, split the speakers, and write a manifest.

    All faults are reported at once. Unusable clips are listed beside the manifest with the reason; the others
    go into it, and the exit code is 1. `prepare table FILE` takes a table under any names of columns: those without a
    name here travel along, and without labels or speakers the clips are checked for extraction alone. A split
    column of the table is kept unless --scheme says how to split anew, and a corpus's official splits are where its
    option asks for them. `prepare join A.csv B.csv` makes one manifest of several.
    """
    if listed:
        _print_corpora(corpus)
        return
    if corpus is None or root is None or output is None:
        needed = {"CORPUS|table": corpus, "ROOT|FILE": root, "--output": output}
        name = next(name for name, value in needed.items() if value is None)
        raise typer.BadParameter("missing (`ser-probe prepare --list` names the corpora)", param_hint=name)
    from ser_probe.cli.progress import open_progress
    from ser_probe.config import StudyConfig
    from ser_probe.config.evaluation import parse_pairs
    from ser_probe.steps.prepare import TABLE, prepare_corpus, prepare_table

    is_table = corpus == TABLE
    columns = {"--path-column": path_column, "--label-column": label_column, "--speaker-column": speaker_column}
    table_options = {**columns, "--map": renamed, "--audio-root": audio_root}
    if not is_table and (given := [name for name, value in table_options.items() if value is not None]):
        raise typer.BadParameter(f"belongs to `prepare {TABLE} FILE`, not to a corpus", param_hint=", ".join(given))
    place = {"manifest": str(root), "audio_root": audio_root} if is_table else {"corpus": corpus, "root": str(root)}
    options = {
        **{f"data.{key}": value for key, value in place.items()},
        **_importer_options(option or []),
    }
    # A manifest serves any backbone, but the schema of a study asks for one.
    defaults = flags.study_defaults(output, backbone__name="none")
    study = checked(StudyConfig, options, overrides or [], defaults=defaults)
    with open_progress() as progress:
        if is_table:
            typed = [key for key, value in typed_keys().values.items() if value is not None and key != "split.seed"]
            asked = any(key.startswith("split.") for key in (*typed, *(overrides or [])))
            rename = {old: name[2:].removesuffix("-column") for name, old in columns.items() if old is not None}
            rename |= parse_pairs(renamed or [], "--map", "sex=gender")
            outcome = prepare_table(
                study.data, study.audio, study.split, output, rename=rename, keep_splits=not asked, progress=progress
            )
        else:
            outcome = prepare_corpus(study.data, study.audio, study.split, output, progress=progress)
    finish(outcome)


def _print_corpora(name: str | None) -> None:
    """Print what is known of all corpora, or of one."""
    from ser_probe.steps.corpora import describe_corpus, list_corpora

    entries = list_corpora() if name is None else [describe_corpus(name)]
    for number, entry in enumerate(entries):
        if number:
            print_result()
        print_result(f"{entry['name']}: {entry['title']}")
        for key in ("holds", "paper", "licence", "home", "layout"):
            if entry.get(key):
                print_result(f"  {key.ljust(_WIDE)}{entry[key]}")
        options = entry["options"]
        assert isinstance(options, dict)
        if name is None and options:
            print_result(f"  {'options'.ljust(_WIDE)}{', '.join(f'{key}={value}' for key, value in options.items())}")
        elif options:
            print_result("  options, as --option KEY=VALUE (default):")
            for key, text in options.items():
                print_result(f"    {key}: {text}")


def _importer_options(pairs: list[str]) -> dict[str, object]:
    """Return `labels=voice_vote` and the like as keys of a study, the values read as those of `--set`.

    Raises:
        typer.BadParameter: If one is no such pair.
    """
    from ser_probe.config import NULL
    from ser_probe.config.document import UnreadableYamlError, parse_yaml

    found: dict[str, object] = {}
    for pair in pairs:
        name, equals, text = (part.strip() for part in pair.partition("="))
        if not (equals and name and "." not in name):
            raise typer.BadParameter(f"expected KEY=VALUE, as labels=voice_vote, found {pair!r}", param_hint="--option")
        try:
            value = parse_yaml(text)
        except UnreadableYamlError as error:
            message = f"{pair}: the value is not valid YAML ({error}); put it in quotes"
            raise typer.BadParameter(message, param_hint="--option") from error
        found[f"data.options.{name}"] = NULL if value is None else value
    return found
