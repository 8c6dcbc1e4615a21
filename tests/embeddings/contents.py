"""What a file holds, read by plain h5py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py


def datasets(path: Path) -> dict[str, tuple[Any, ...]]:
    """Return all datasets of a file by plain h5py: shape, type and bytes."""
    found = {}

    def take(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            values = item[()]
            found[name] = (item.shape, str(item.dtype), values.tolist() if values.dtype == object else values.tobytes())

    with h5py.File(path, "r") as file:
        file.visititems(take)
    return found
