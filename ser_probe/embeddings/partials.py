"""The folder of a cache's shards and notes, and the removal of unfinished files that dead processes left in it."""

from __future__ import annotations

import os
import re
import socket
import time
from hashlib import blake2b
from pathlib import Path

_STALE_AFTER_S = 24 * 3600.0
_PARTIAL = re.compile(r"\.(shard|clips|unread)-.*?(?P<node>[0-9a-f]{8})-\d+-[0-9a-f]{12}\.(?P<pid>\d+)\.partial\.\w+")


def shards_folder(path: Path) -> Path:
    """Return the folder that holds the shards of a cache, beside it."""
    return path.with_name(path.name + ".shards")


def remove_stale_partials(path: Path) -> None:
    """Remove unfinished shards and notes of dead processes of this machine, and of any machine after a day."""
    for partial in shards_folder(path).glob(".*.partial.*"):
        match = _PARTIAL.fullmatch(partial.name)
        if not match:
            continue
        try:
            old = time.time() - partial.stat().st_mtime > _STALE_AFTER_S
        except FileNotFoundError:
            continue
        if old or (match["node"] == name_node() and not is_alive(int(match["pid"]))):
            partial.unlink(missing_ok=True)


def is_alive(pid: int) -> bool:
    """Tell whether a process of this machine is running."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def name_node() -> str:
    """Return a short hash of this machine's name: process ids of other machines mean nothing here."""
    return blake2b(socket.gethostname().encode(), digest_size=4).hexdigest()
