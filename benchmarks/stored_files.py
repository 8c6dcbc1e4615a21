"""What lies in the folder of an extraction, read by plain h5py and checked by checksums computed here.

For the benchmarks that break extraction in some way and look at what is left.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np


@dataclass
class Contents:
    """What lies in a folder under final names.

    Args:
        clips: Clips in the shards, or in the finished file.
        shards: Names of the shards.
        doubled: Clips in several shards.
        torn: Files that are not whole.
    """

    clips: set[str] = field(default_factory=set)
    shards: set[str] = field(default_factory=set)
    doubled: int = 0
    torn: list[str] = field(default_factory=list)


def read_folder(run: Path, file_name: str = "x.h5") -> Contents:
    """Read every byte of every file that has a final name; others may be at work meanwhile."""
    found, times = Contents(), Counter[str]()
    for path in sorted(run.glob(f"{file_name}.shards/*.*")):
        if path.name.startswith(".") or path.name == "seal.lock":
            continue
        try:
            if path.suffix == ".h5":
                times.update(read_clips(path))
                found.shards.add(path.name)
            elif path.suffix == ".json":
                json.loads(path.read_bytes())
            else:
                read_parquet(path)
        except FileNotFoundError:  # merged since it was listed
            continue
        except (OSError, ValueError) as error:
            found.torn.append(f"{path.name}: {error}")
    found.doubled = sum(count > 1 for count in times.values())
    found.clips = set(times)
    # After the shards: one that vanished meanwhile is in the finished file.
    if (run / file_name).exists():
        found.clips |= set(read_clips(run / file_name))
    return found


def read_parquet(path: Path) -> None:
    """Read a note."""
    import pyarrow.parquet

    pyarrow.parquet.ParquetFile(path).read()


def read_clips(path: Path) -> list[str]:
    """Return the clips of a file, after computing each one's checksum from its values.

    Raises:
        ValueError: If a clip's values are not those that were written.
    """
    with h5py.File(path, "r") as file:
        ids, values, sums = file["clip_id"].asstr()[...].tolist(), file["embeddings"][...], file["row_crc32"][...]
        ragged = "frame_offset" in file
        offsets = file["frame_offset"][...] if ragged else np.arange(len(ids) + 1)
    for row, clip_id in enumerate(ids):
        crc = zlib.crc32(clip_id.encode())
        for layer in values:
            crc = zlib.crc32(layer[offsets[row] : offsets[row + 1]].tobytes(), crc)
        if crc != sums[row]:
            raise ValueError(f"clip {clip_id} is torn")
    return ids


def compare(whole: Path, other: Path) -> str | None:
    """Return the first difference between the datasets or the keys of two files, None where all bits are equal."""

    def read(path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def take(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset):
                values = item[()]
                found[name] = (
                    item.shape,
                    str(item.dtype),
                    getattr(values, "tolist" if values.dtype == object else "tobytes")(),
                )

        with h5py.File(path, "r") as file:
            file.visititems(take)
            found |= {f"attribute {name}": str(value) for name, value in file.attrs.items()}
        return found

    ours, theirs = read(other), read(whole)
    if ours.keys() != theirs.keys():
        return f"others: {sorted(ours.keys() ^ theirs.keys())}"
    return next((f"{name} differs" for name in ours if ours[name] != theirs[name]), None)
