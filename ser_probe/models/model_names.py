"""The names of models in titles, tables and legends: a folder's name, with parent folders where two names are equal.

Full paths are of one machine only; they stay in the caches (`model_path`, `source`). Loads no torch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePath

from ser_probe.files import distinct_names
from ser_probe.models.checkpoint_folders import CHECKPOINTS, checkpoint_step
from ser_probe.models.model_folder import is_path

_NOTE = re.compile(r"(?P<name>.*?)(?P<note> \((?:random weights).*\))?", re.DOTALL)
_HUB_COPY = re.compile(r"models--(?P<owner>[^/]+?)--(?P<name>[^/]+)")


def shown_model(name: str) -> str:
    """Return what to call a single model: a folder by its last part, any other name unchanged."""
    return shown_models([name])[0]


def is_folder_name(name: str) -> bool:
    """Tell whether a model's name is a folder's path, also one that is no longer there."""
    base = _split(name)[0]
    return is_path(base) or (bool(base) and Path(base).expanduser().is_dir())


def shown_models(names: Sequence[str]) -> list[str]:
    """Return what to call models side by side.

    Args:
        names: Their names, which are paths for those that are folders, each with or without a note of random weights.

    Returns:
        A name without its path for each, in their order. Names that would be equal keep as many parent folders as tell
        them apart; equal inputs stay equal.
    """
    folders = {name: _parts(*_split(name)) for name in dict.fromkeys(names) if is_folder_name(name)}
    hub_names = [name for name in dict.fromkeys(names) if name not in folders]
    shown = dict(zip(folders, distinct_names(list(folders.values()), hub_names), strict=True))
    return [shown.get(name, name) for name in names]


def _split(name: str) -> tuple[str, str]:
    """Return a name and the note of random weights behind it, if any."""
    match = _NOTE.fullmatch(name)
    assert match is not None, "the pattern takes any text"
    return match["name"], match["note"] or ""


def _parts(path: str, note: str) -> tuple[str, ...]:
    """Return a path's folders, the last with a note behind."""
    *above, last = _folders(path)
    return (*above, last + note)


def _folders(path: str) -> tuple[str, ...]:
    """Return a path's folders. A copy of a hub model is called as on the hub; its checkpoints by its run."""
    parts = [part for part in PurePath(Path(path).expanduser()).parts if part != "."]
    if not parts or parts[-1] in ("..", "/"):
        parts = list(Path(path).expanduser().resolve().parts)
    if len(parts) >= 3 and parts[-2] == "snapshots" and (match := _HUB_COPY.fullmatch(parts[-3])):
        return (*parts[:-3], f"{match['owner']}/{match['name']}")
    if len(parts) >= 2 and checkpoint_step(parts[-1]) is not None:
        run = parts[:-2] if parts[-2] == CHECKPOINTS and len(parts) > 2 else parts[:-1]
        return (*run[:-1], f"{run[-1]}/{parts[-1]}")
    return tuple(parts) or (path,)
