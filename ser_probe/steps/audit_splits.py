"""A split that was made elsewhere, put beside the clips of a manifest, so that it can be judged."""

from __future__ import annotations

import dataclasses
from pathlib import Path, PurePosixPath

import pandas as pd

from ser_probe.data.columns import SPLIT_ALIASES
from ser_probe.data.manifest import Manifest, read_manifest
from ser_probe.errors import ManifestError, did_you_mean, shorten

_NAMED = 3


def with_splits(manifest: Manifest, splits: str) -> tuple[Manifest, str]:
    """Return a manifest with another split, and a remark on where it is from.

    Args:
        manifest: The clips.
        splits: The name of one of its columns; or a file with columns path and split, whose paths are those of the
            manifest, or end as these do where that is unambiguous.

    Raises:
        ManifestError: If there is neither such a column nor such a file, or the file is about other clips.
    """
    table = manifest.table
    if splits in table:
        values = table[splits].fillna("").astype(str).map(_plain)
        return _replaced(manifest, values), f"the splits are those of the column {splits!r}"
    path = Path(splits).expanduser()
    if not path.is_file():
        raise ManifestError(
            "The splits are neither a column of the manifest nor a file",
            where=splits,
            found=f"columns {shorten(map(repr, map(str, table.columns)), 12)}",
            fix=did_you_mean(splits, map(str, table.columns)),
        )
    given = read_manifest(path).table
    if "split" not in given:
        raise ManifestError("The file of splits has no column 'split'", where=path, fix="columns path and split")
    values, missing = _matched(table["path"], given["path"], given["split"])
    if (values == "").all():
        raise ManifestError(
            "The file of splits names none of the manifest's clips",
            where=path,
            expected=f"paths such as {table['path'].iloc[0]!r}",
            found=f"paths such as {given['path'].iloc[0]!r}" if len(given) else "no rows",
        )
    remark = f"the splits are those of {path}"
    if lacking := int((values == "").sum()):
        remark += f"; it has none for {lacking} clips"
    if missing:
        remark += f"; {len(missing)} of its clips are not in the manifest ({shorten(missing, _NAMED)})"
    return _replaced(manifest, values), remark


def _replaced(manifest: Manifest, values: pd.Series) -> Manifest:
    return dataclasses.replace(manifest, table=manifest.table.assign(split=values.to_numpy()))


def _plain(split: str) -> str:
    return SPLIT_ALIASES.get(split.strip().lower(), split.strip().lower())


def _matched(paths: pd.Series, given: pd.Series, splits: pd.Series) -> tuple[pd.Series, list[str]]:
    """Return the split of each clip, empty where there is none, and the given paths that belong to no clip."""
    exact = dict(zip(given.map(_slashes), splits.map(_plain), strict=True))
    plain = paths.map(_slashes)
    if not set(plain) & set(exact):
        # Another root: what both lists end with. A name that stands for two files stands for none.
        plain, tails = plain.map(_tail), given.map(_slashes).map(_tail)
        unique = ~tails.duplicated(keep=False).to_numpy()
        exact = dict(zip(tails[unique], splits[unique].map(_plain), strict=True))
        plain = plain.where(~plain.duplicated(keep=False), "")
    known = set(plain)
    return plain.map(exact).fillna(""), [path for path in exact if path not in known]


def _slashes(path: object) -> str:
    return str(path).replace("\\", "/").removeprefix("./")


def _tail(path: str) -> str:
    return PurePosixPath(path).name
