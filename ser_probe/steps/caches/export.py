"""The verb `cache export`: layers of a cache as npy, Parquet, CSV or safetensors, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open

from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.embeddings.store_file import disk_error
from ser_probe.embeddings.store_vectors import bytes_of
from ser_probe.errors import CacheError, DamagedFileError, did_you_mean
from ser_probe.files import fsync_path, read_json, slug, write_json
from ser_probe.runtime import SILENT, Progress

ASK_ABOVE_BYTES = 500_000_000
"""From this size on a CSV export asks first: it is some five times as large as the cache, and slow to read."""
MARKER = "export.json"
"""In an exported folder: where it is from, and which files it holds. A folder with any other file is not replaced."""

_ROWS_AT_A_TIME = 4096
_SAMPLED_ROWS = 64
_SAFETENSORS_TYPES = {"<f4": "F32", "<f2": "F16", "<i8": "I64"}


@dataclass(frozen=True)
class ExportPlan:
    """An export that may begin.

    Args:
        cache: The file to export.
        output: A folder; of safetensors a file.
        kind: A name of `FORMATS`.
        layers: Layers to write, under the names asked for.
        size_bytes: What it will take, of tables estimated from some rows.
    """

    cache: Path
    output: Path
    kind: str
    layers: tuple[str, ...]
    size_bytes: int


def plan_export(
    cache: Path, output: Path, kind: str, *, layers: Sequence[str] | None = None, force: bool = False
) -> ExportPlan:
    """Check what is asked for, and say how large it will be.

    Args:
        cache: A finished file.
        output: Folder to write, of safetensors the file.
        kind: A name of `FORMATS`.
        layers: Names or aliases of layers; None for all that are stored.
        force: Whether an earlier export of that name may be replaced.

    Raises:
        CacheError: If the format or a layer is not known, the file cannot be read, or something of that name is there;
            with `force`, something else than an earlier export.
    """
    if kind not in FORMATS:
        raise CacheError(
            "The format is not known", expected=", ".join(FORMATS), found=kind, fix=did_you_mean(kind, FORMATS)
        )
    _check_output(output, kind, force)
    with EmbeddingCache.open(cache) as opened:
        chosen = tuple(dict.fromkeys(layers)) if layers else tuple(opened.layer_names)
        for name in chosen:
            if name not in opened.layers():
                known = opened.layers()
                raise CacheError(
                    "The cache has no such layer", expected=", ".join(known), found=name, fix=did_you_mean(name, known)
                )
        _, n_vectors, width = opened.array.shape
        row_bytes = _row_bytes_of_csv(opened) if kind == "csv" else width * opened.key.dtype.itemsize
    return ExportPlan(cache, output, kind, chosen, int(len(chosen) * n_vectors * row_bytes))


def write_export(plan: ExportPlan, *, progress: Progress = SILENT) -> Path:
    """Write a planned export beside its place and then rename it: nothing is left of one that failed.

    Args:
        plan: What to write.
        progress: Told of layers.

    Returns:
        What was written.

    Raises:
        CacheError: If the file is damaged, or the disk is full or not writable.
    """
    temporary = plan.output.with_name(f".{plan.output.name}.{os.getpid()}.partial")
    progress.start("export", len(plan.layers), "layers")
    try:
        plan.output.parent.mkdir(parents=True, exist_ok=True)
        with EmbeddingCache.open(plan.cache) as cache:
            FORMATS[plan.kind](cache, plan, temporary, progress)
        if temporary.is_dir():
            names = sorted(path.name for path in temporary.iterdir() if path.name != MARKER)
            write_json(temporary / MARKER, {**read_json(temporary / MARKER), "files": names})
        _replace(temporary, plan.output)
    except OSError as error:
        if error.errno is None:
            raise
        raise disk_error(error, plan.output, "run the same command again: nothing was left behind") from error
    finally:
        _remove(temporary)
    progress.finish()
    return plan.output


def _check_output(output: Path, kind: str, force: bool) -> None:
    if not output.exists() and not output.is_symlink():
        return
    if not force:
        raise CacheError("Something of that name is there already", where=output, fix="name another, or add --force")
    foreign = _foreign_in_file(output) if kind == "safetensors" else _foreign_in_folder(output)
    if foreign is not None:
        raise CacheError(
            "What is there is not an earlier export alone, and is not replaced", where=output,
            expected="an exported file" if kind == "safetensors" else f"the files that {MARKER} lists, and no others",
            found=foreign, fix="name another output, or move it away",
        )  # fmt: skip


def _foreign_in_folder(output: Path) -> str | None:
    """Return what in a folder no export has written, None if there is nothing."""
    if output.is_symlink() or not output.is_dir():
        return "a link" if output.is_symlink() else "no folder"
    try:
        files = read_json(output / MARKER, entries={"files": list})["files"]
    except (OSError, DamagedFileError):
        return f"no {MARKER} that lists an export's files"
    names = sorted(path.name for path in output.iterdir() if path.is_dir() or path.name not in (*files, MARKER))
    return ", ".join(names[:3]) + (" and more" if len(names) > 3 else "") if names else None


def _foreign_in_file(output: Path) -> str | None:
    """Return why a file is no exported one, None if it is."""
    if output.is_symlink() or not output.is_file():
        return "a link" if output.is_symlink() else "no file"
    try:
        with safe_open(output, framework="np") as opened:
            known = opened.metadata() or {}
    except (OSError, SafetensorError):
        return "no file of safetensors"
    return None if {"clip_ids", "cache", "key"} <= known.keys() else "tensors of something else"


def _replace(temporary: Path, output: Path) -> None:
    inside = sorted(temporary.iterdir()) if temporary.is_dir() else []
    for path in [*inside, temporary]:
        fsync_path(path)
    if output.is_dir():
        # A folder cannot be renamed over a full one.
        old = output.with_name(f".{output.name}.{os.getpid()}.old.partial")
        output.rename(old)
        temporary.rename(output)
        _remove(old)
    else:
        os.replace(temporary, output)
    fsync_path(output.parent)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


# --------------------------------------------------------------------------------------------------- formats


def _write_npy(cache: EmbeddingCache, plan: ExportPlan, folder: Path, progress: Progress) -> None:
    """One array a layer in the type of storage, and the clips in their order."""
    _open_folder(cache, plan, folder)
    # Of a ragged cache with the place of each clip's first frame.
    clips = cache.clips.assign(first_frame=cache.offsets[:-1]) if cache.ragged else cache.clips
    clips.to_csv(folder / "clips.csv", index=False)
    for name in plan.layers:
        with (folder / f"layer-{slug(name)}.npy").open("wb") as stream:
            header = {"descr": cache.key.dtype.str, "fortran_order": False, "shape": cache.array.shape[1:]}
            np.lib.format.write_array_header_1_0(stream, header)
            for _, block in cache.blocks(name):
                stream.write(bytes_of(block))
        progress.advance()


def _write_parquet(cache: EmbeddingCache, plan: ExportPlan, folder: Path, progress: Progress) -> None:
    """A table a layer: clip, manifest's columns, a column a dimension."""
    import pyarrow
    import pyarrow.parquet

    _open_folder(cache, plan, folder)
    for name in plan.layers:
        writer = None
        path = folder / f"layer-{slug(name)}.parquet"
        try:
            for rows in _tables(cache, name):
                table = pyarrow.Table.from_pandas(rows, preserve_index=False)
                writer = writer or pyarrow.parquet.ParquetWriter(path, table.schema)
                writer.write_table(table.cast(writer.schema))
        finally:
            if writer is not None:
                writer.close()
        progress.advance()


def _write_csv(cache: EmbeddingCache, plan: ExportPlan, folder: Path, progress: Progress) -> None:
    """As Parquet, in text: nine digits give each float32 back exactly."""
    _open_folder(cache, plan, folder)
    for name in plan.layers:
        with (folder / f"layer-{slug(name)}.csv").open("w", encoding="utf-8", newline="") as stream:
            for number, rows in enumerate(_tables(cache, name)):
                rows.to_csv(stream, index=False, header=number == 0, float_format="%.9g")
        progress.advance()


def _write_safetensors(cache: EmbeddingCache, plan: ExportPlan, path: Path, progress: Progress) -> None:
    """A tensor a layer, named as the layer; the clips' ids are in the metadata.

    The library's writer wants all tensors in memory at once. The format is a length, a JSON header and the bytes, so
    that the layers are written here one after another, in blocks.
    """
    shape = list(cache.array.shape[1:])
    size = int(np.prod(shape)) * cache.key.dtype.itemsize
    kind = _SAFETENSORS_TYPES[cache.key.dtype.str]
    entries = {
        name: {"dtype": kind, "shape": shape, "data_offsets": [place * size, (place + 1) * size]}
        for place, name in enumerate(plan.layers)
    }
    offsets = cache.offsets.astype("<i8") if cache.ragged else np.empty(0, "<i8")
    if cache.ragged:
        start = len(plan.layers) * size
        place = [start, start + offsets.nbytes]
        entries["frame_offset"] = {"dtype": "I64", "shape": [len(offsets)], "data_offsets": place}
    metadata = {"clip_ids": json.dumps(cache.clip_ids), **{name: str(value) for name, value in _origin(cache).items()}}
    header = json.dumps({"__metadata__": metadata, **entries}).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        for name in plan.layers:
            for _, block in cache.blocks(name):
                stream.write(bytes_of(block))
            progress.advance()
        stream.write(offsets.tobytes())


FORMATS: dict[str, Callable[[EmbeddingCache, ExportPlan, Path, Progress], None]] = {
    "npy": _write_npy,
    "parquet": _write_parquet,
    "csv": _write_csv,
    "safetensors": _write_safetensors,
}


def _open_folder(cache: EmbeddingCache, plan: ExportPlan, folder: Path) -> None:
    folder.mkdir()
    write_json(folder / MARKER, {**_origin(cache), "format": plan.kind, "layers": plan.layers})


def _origin(cache: EmbeddingCache) -> dict[str, object]:
    origin: dict[str, object] = {"cache": cache.path.name, "key": cache.key.digest, "pooling": cache.key.pooling}
    return origin | {name: cache.attributes[name] for name in ("model", "checkpoint") if name in cache.attributes}


def _tables(cache: EmbeddingCache, name: str, most: int | None = None) -> Iterator[pd.DataFrame]:
    """Yield a layer as tables of some thousand rows: clip_id, frame of ragged caches, the clips' columns, values."""
    clips = cache.clips.drop(columns="clip_id")
    columns = _value_columns(cache)
    for start, block in cache.blocks(name):
        for low in range(0, min(len(block), most or len(block)), _ROWS_AT_A_TIME):
            values = block[low : low + min(_ROWS_AT_A_TIME, most or _ROWS_AT_A_TIME)].astype(np.float32)
            place = start + low
            index = cache.vector_index(place, place + len(values)).to_frame(index=False)
            index.columns = pd.Index(["clip_id", "frame"] if cache.ragged else ["clip_id"])
            rows = np.searchsorted(cache.offsets, np.arange(place, place + len(values)), side="right") - 1
            described = clips.iloc[rows].reset_index(drop=True)
            yield pd.concat([index, described, pd.DataFrame(values, columns=columns)], axis=1)
        if most is not None:
            return


def _value_columns(cache: EmbeddingCache) -> list[str]:
    """Return the features' names where there are some that are no columns of the clips, else d0000, d0001, ..."""
    names = cache.attributes.get("feature_names") or []
    if names and not set(names) & {*cache.clips.columns, "frame"}:
        return list(names)
    return [f"d{place:04d}" for place in range(cache.width)]


def _row_bytes_of_csv(cache: EmbeddingCache) -> float:
    """Return the mean length of a line, by the lines of the first clips."""
    for rows in _tables(cache, cache.layer_names[0], _SAMPLED_ROWS):
        return len(rows.to_csv(index=False, header=False, float_format="%.9g").encode()) / len(rows)
    return 0.0
