"""Checks whether a finished file was modified since it was made, and then compares its values with their checksums.

Reading a layer always compares it; this is for runs that find nothing left to do. Reading a large file would take
minutes, so the time of modification decides, and a copied file is read unnecessarily.
"""

from __future__ import annotations

import datetime
from pathlib import Path

from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.embeddings.store_header import Header
from ser_probe.embeddings.store_stamp import DamagedCacheError

# A file states when it was made, and is written after that, which may take so long.
_WRITING_S, _SLOWEST_DISK_BYTES_PER_S = 60.0, 20e6


def check_unaltered(path: Path, header: Header) -> None:
    """Refuse a finished file whose values were changed after it was made.

    Raises:
        DamagedCacheError: If its values do not have their checksums.
    """
    if not _written_since(path, header):
        return
    with EmbeddingCache.open(path) as cache:
        faults = cache.verify()
    if faults:
        raise DamagedCacheError(
            "Embeddings on disk are not what was written",
            where=path,
            found=faults[0] + (f", and {len(faults) - 1} more" if faults[1:] else ""),
            fix="see with `ser-probe cache verify` which clips are damaged; delete the file and extract again",
        )


def _written_since(path: Path, header: Header) -> bool:
    status = path.stat()
    try:
        made_s = datetime.datetime.fromisoformat(str(header.attributes["created_utc"])).timestamp()
    except (KeyError, ValueError):
        return True
    return status.st_mtime - made_s > _WRITING_S + status.st_size / _SLOWEST_DISK_BYTES_PER_S
