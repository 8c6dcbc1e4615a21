"""The record of a checkpoint's files, which tells whether one was changed since fine-tuning wrote it.

checkpoint.json holds the size and the SHA-256 of every file of the folder. Weights with a flipped bit load like the
right ones, so only such a record finds them. A folder without the record, such as a model of others, is not checked.
"""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ser_probe.errors import CheckpointError, DamagedFileError
from ser_probe.files import check_entries, file_sha256, read_json

CONTENTS = "checkpoint.json"
TRAINING_FILES = frozenset(("optimizer.pt", "scheduler.pt", "trainer_state.json", "adapters.safetensors"))
"""Files that only resuming reads."""

_THREADS = 4
_OF_A_CLASSIFIER = "head.json"


def describe_contents(folder: Path) -> dict[str, Any]:
    """Return `files`, the sizes of a folder's files in bytes, and `sha256`, 64 hex digits of each; by name."""
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    with ThreadPoolExecutor(_THREADS) as threads:  # hashlib releases the GIL
        digests = list(threads.map(file_sha256, paths))
    return {
        "files": {path.name: path.stat().st_size for path in paths},
        "sha256": {path.name: digest for path, digest in zip(paths, digests, strict=True)},
    }


def read_contents(folder: Path) -> tuple[dict[str, int], dict[str, str]]:
    """Return sizes and hashes of a checkpoint's files; the hashes are empty where an older release wrote it.

    Raises:
        DamagedFileError: If the record is damaged.
        OSError: If the file cannot be read, or is not there.
    """
    path = folder / CONTENTS
    contents = read_json(path, entries={"files": dict})
    check_entries(contents["files"], dict.fromkeys(contents["files"], int), where=path, inside="files")
    hashes = contents.get("sha256", {})
    check_entries(hashes, dict.fromkeys(contents["files"], str) if hashes else {}, where=path, inside="sha256")
    return contents["files"], hashes


def refuse_changed_files(folder: Path, *, but: Collection[str] = TRAINING_FILES) -> None:
    """Raise where a file of a checkpoint is not the one that fine-tuning wrote.

    Args:
        folder: A checkpoint, or any model's folder: without a record nothing is refused.
        but: Names of files that are not checked.

    Raises:
        CheckpointError: If a file was changed, cut or deleted, or the record of them is damaged.
    """
    if not (folder / CONTENTS).is_file():
        return
    try:
        sizes, hashes = read_contents(folder)
    except DamagedFileError as error:
        if not (folder / _OF_A_CLASSIFIER).exists():
            return  # somebody else's file of this name
        raise CheckpointError(
            error.what, where=error.where, expected=error.expected, found=error.found,
            fix="put the file back, or delete it to use the checkpoint unchecked",
        ) from error  # fmt: skip
    paths = [folder / name for name in sorted(sizes) if name not in but and Path(name).name == name]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise _changed(folder, expected=f"the files that {CONTENTS} lists", found=f"missing: {', '.join(missing)}")
    for path in paths:
        if path.stat().st_size != sizes[path.name]:
            found = f"{path.stat().st_size:,} bytes"
            raise _changed(path, expected=f"{sizes[path.name]:,} bytes", found=found)
    with ThreadPoolExecutor(_THREADS) as threads:
        digests = list(threads.map(file_sha256, [path for path in paths if path.name in hashes]))
    for path, digest in zip([path for path in paths if path.name in hashes], digests, strict=True):
        if digest != hashes[path.name]:
            raise _changed(
                path, expected=f"SHA-256 {hashes[path.name][:16]}, as {CONTENTS} says", found=f"{digest[:16]}"
            )


def _changed(where: Path, *, expected: str, found: str) -> CheckpointError:
    return CheckpointError(
        "The checkpoint is not as fine-tuning wrote it: its answers would be those of another model",
        where=where, expected=expected, found=found,
        fix=f"put the file back; if you changed it on purpose, delete {CONTENTS}, which makes it a model of its own",
    )  # fmt: skip
