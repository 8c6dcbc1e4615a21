"""ser-probe cache: look into embedding files, check, finish, export, compare and clear them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ser_probe.cli import flags
from ser_probe.cli.terminal import EXIT_FAULT, print_json, print_note, print_result, print_table

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Look into embedding files, check, finish, export, compare and clear them.",
)

Files = Annotated[list[Path], typer.Argument(metavar="CACHE", help="Embedding files, or folders of them.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, for scripts.")]


@app.command("info")
def info(files: Files, as_json: flags.AsJson = False) -> None:
    """Show what embedding files hold: model, checkpoint, layers, clips, preprocessing, how they were made, key."""
    from ser_probe.steps.caches.info import describe_caches, fold_description

    descriptions = describe_caches(files)
    if as_json:
        print_json(descriptions)
        return
    for index, description in enumerate(descriptions):
        if index:
            print_result()
        lines = fold_description(description)
        width = max(len(name) for name, _ in lines)
        for name, text in lines:
            print_result(f"{name.ljust(width)}  {text}")


@app.command("ls")
def ls(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FOLDER|CACHE", help="Folders of embedding files, or files.", show_default="cache"),
    ] = None,
    as_json: flags.AsJson = False,
) -> None:
    """List embedding files, a line each, and unfinished extractions with what they have committed."""
    from ser_probe.steps.caches.files import format_size
    from ser_probe.steps.caches.ls import COLUMNS, list_caches

    rows = list_caches(files or [Path("cache")])
    if as_json:
        print_json(rows)
        return
    if not rows:
        print_note("There is no embedding file here")
        return
    shown = []
    for row in rows:
        of = f" of {row['wanted']}" if row.get("wanted") else ""
        more = {
            "state": f"{row['state']}: {row['error']}" if row.get("error") else row["state"],
            "clips": f"{row['clips']}{of}" if "clips" in row else "",
            "size": format_size(row["size_bytes"]),
            "created": str(row.get("created_utc") or "")[:16].replace("T", " "),
            "key": str(row.get("key") or "")[:12],
        }
        shown.append({name: "" if value is None else value for name, value in {**row, **more}.items()})
    print_table(shown, list(COLUMNS))


@app.command("verify")
def verify(
    files: Files,
    rerun: Annotated[
        int, typer.Option(metavar="K", min=0, help="Draw K clips of each file and compute them again with its model.")
    ] = 0,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", metavar="NAME_OR_DIR", help="The model, where it is not where the file says."),
    ] = None,
    audio_root: Annotated[
        Path | None, typer.Option(help="Folder of the audio, where it is not where the file says.")
    ] = None,
    as_json: flags.AsJson = False,
) -> None:
    """Check embedding files against their checksums, layer by layer and clip by clip. Exit code 1 if one is damaged.

    With --rerun some clips are computed again, each alone, and compared. Where the model or the audio is not on this
    machine that is said, and is a fault only if it was named.
    """
    from ser_probe.cli.progress import open_progress
    from ser_probe.steps.caches.verify import verify_caches

    with open_progress() as progress:
        checks = verify_caches(files, rerun=rerun, model=model, audio_root=audio_root, progress=progress)
    if as_json:
        print_json(checks)
    else:
        print_table(checks, ["file", "state", "detail", *(["rerun"] if rerun else [])])
    if any(check["state"] != "ok" for check in checks):
        raise typer.Exit(EXIT_FAULT)


@app.command("merge")
def merge(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="CACHE", help="Files that runs were to write, or folders of such."),
    ],
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Finish with the clips that there are; others can be added later.")
    ] = False,
    as_json: flags.AsJson = False,
) -> None:
    """Finish extractions that several processes left as shards. Exit code 1 if clips are missing."""
    from ser_probe.cli.progress import open_progress
    from ser_probe.steps.caches.merge import merge_caches

    with open_progress() as progress:
        rows = merge_caches(files, allow_missing=allow_missing, progress=progress)
    if as_json:
        print_json(rows)
    else:
        print_table(rows, ["file", "state", "clips", "new", "rejected", "unread", "detail"])
    if any(row["state"] == "incomplete" for row in rows):
        raise typer.Exit(EXIT_FAULT)


@app.command("export")
def export(
    cache: Annotated[Path, typer.Argument(metavar="CACHE", help="Embedding file.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT", help="Folder to write; of safetensors a file.")
    ],
    kind: Annotated[
        str, typer.Option("--format", metavar="npy|parquet|csv|safetensors", help="What to write.")
    ] = "npy",
    layers: Annotated[
        str | None,
        typer.Option("--layers", metavar="0,6,final|all", help="Layers to write.", show_default="all"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export of that name.")] = False,
    yes: Yes = False,
) -> None:
    """Write layers as files that other programs read: whole or not at all.

    npy: an array a layer in the type of storage, and clips.csv. parquet, csv: a table a layer with clip_id, the
    manifest's columns, and d0000, d0001, ... (features under their names). safetensors: a tensor a layer, the clip
    ids in the metadata. Frames are written one after another; clips.csv or a column says whose they are.
    """
    from ser_probe.cli.progress import open_progress
    from ser_probe.steps.caches.export import ASK_ABOVE_BYTES, plan_export, write_export
    from ser_probe.steps.caches.files import format_size

    chosen = None if layers == "all" else flags.names(layers)
    plan = plan_export(cache, output, kind, layers=chosen, force=force)
    if kind == "csv":
        print_note(f"The CSV files will take about {format_size(plan.size_bytes)}")
        if plan.size_bytes > ASK_ABOVE_BYTES and not yes:
            typer.confirm("Write them?", abort=True, err=True)
    with open_progress() as progress:
        print_result(f"wrote {write_export(plan, progress=progress)}")


@app.command("prune")
def prune(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of embedding files.")],
    older_than: Annotated[
        float | None,
        typer.Option("--older-than", metavar="DAYS", min=0, help="What is older, finished caches too."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Finished caches of this model.")] = None,
    checkpoint: Annotated[str | None, typer.Option(help="Finished caches of this checkpoint, as step-50.")] = None,
    yes: Yes = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go.")] = False,
) -> None:
    """Remove leftovers from a folder of caches, after showing them: unfinished extractions, partial files, files of
    schema versions that are not read. Finished caches go only where an option selects them.

    What a living process may still be writing, links, folders within, and what ser-probe did not write stay.
    """
    from ser_probe.steps.caches.files import format_size
    from ser_probe.steps.caches.prune import plan_prune, remove

    planned = plan_prune(folder, older_than_days=older_than, model=model, checkpoint=checkpoint)
    if not planned:
        print_note("There is nothing to remove")
        return
    rows: list[dict[str, object]] = [
        {"path": entry.path, "what": entry.what, "size": format_size(entry.size_bytes), "days": f"{entry.age_days:.1f}"}
        for entry in planned
    ]
    print_table(rows, ["path", "what", "size", "days"])
    total = format_size(sum(entry.size_bytes for entry in planned))
    if dry_run:
        print_result(f"{len(planned)} would go, {total}")
        return
    if not yes:
        typer.confirm(f"Remove these {len(planned)}, {total}?", abort=True, err=True)
    freed, left = remove(planned)
    for path in left:
        print_note(f"left: {path}, which changed meanwhile")
    print_result(f"removed {len(planned) - len(left)}, {format_size(freed)}")


@app.command("why")
def why(
    first: Annotated[Path, typer.Argument(metavar="A", help="Embedding file.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another embedding file.")],
    as_json: flags.AsJson = False,
) -> None:
    """Say in words why two files have different keys, how their clips differ, and how they were made otherwise."""
    from ser_probe.steps.caches.difference import compare_caches

    difference = compare_caches(first, second)
    if as_json:
        print_json(difference)
        return
    equal = "The keys are equal: both hold the same values for the same clip."
    print_result(equal if difference["same_key"] else "The keys differ (first against second):")
    for name, head in (("key", ""), ("clips", "Clips:"), ("made", "Made otherwise (the values do not depend on it):")):
        if difference[name] and head:
            print_result(head)
        for line in difference[name]:
            print_result(f"  - {line}")
