"""What lies in memory as the embedding files that analyses read: arrays, tables, and the clips that they are of.

An array becomes a file for as long as the call takes. So there is one way through an analysis, and an array gives the
tables that its file would give. Files hold float32.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ser_probe.analysis.inputs import check_features
from ser_probe.data.manifest import Manifest
from ser_probe.embeddings.key import CacheKey
from ser_probe.embeddings.opensmile_sets import FEATURE_CONTRACT_VERSION
from ser_probe.embeddings.seal import seal
from ser_probe.embeddings.shards import Rows, ShardWriter
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.embeddings.store_header import Layout
from ser_probe.errors import AnalysisError
from ser_probe.files import fingerprint
from ser_probe.steps.analyses.representations import FEATURE_LAYER, clips_of, read_clips

File = str | os.PathLike[str] | EmbeddingCache
Representation = File | np.ndarray | pd.DataFrame | Mapping[str, np.ndarray]
"""An embedding file, or in memory one layer [N, D], layers [L, N, D], or layers [N, D] by name."""
Representations = Representation | Sequence[Representation]
Column = Sequence[object] | pd.Series | np.ndarray | None
ClipTable = str | os.PathLike[str] | Manifest | pd.DataFrame


@dataclass(frozen=True)
class InMemory:
    """A representation to be written as a file.

    Args:
        values: Its layers.
        model: What tables call its model.
        step: What they call its checkpoint.
        argument: What messages call it.
    """

    values: np.ndarray | pd.DataFrame | Mapping[str, np.ndarray]
    model: str = "array"
    step: int = 0
    argument: str = "caches"

    @property
    def is_features(self) -> bool:
        """Whether it stands beside the layers of models, as acoustic features do."""
        return self.argument == "features"

    def layers(self) -> dict[str, np.ndarray]:
        """Return the layers by name, [N, D] each and all of one width, float32.

        Raises:
            AnalysisError: If they are not, or hold values that are not finite.
        """
        values = self.values
        if isinstance(values, Mapping):
            layers = {str(name): np.asarray(layer) for name, layer in values.items()}
        else:
            array = np.asarray(values)
            layers = {str(place): layer for place, layer in enumerate(array)} if array.ndim == 3 else {"0": array}
        if self.is_features and len(layers) == 1:
            layers = {FEATURE_LAYER: next(iter(layers.values()))}
        checked = {
            name: check_features(layer, f"The values of {self.argument} (layer {name})")
            for name, layer in layers.items()
        }
        if len({layer.shape for layer in checked.values()}) != 1:
            raise AnalysisError(
                "The layers of a representation are of the same clips and have one width",
                where=self.argument,
                found=", ".join(f"{name}: {list(layer.shape)}" for name, layer in checked.items()) or "no layers",
            )
        return {name: layer.astype(np.float32) for name, layer in checked.items()}

    def write(self, path: Path, clip_ids: Sequence[str]) -> Path:
        """Write the file; the rows are these clips.

        Raises:
            AnalysisError: If there are more or fewer clips than rows.
        """
        layers = self.layers()
        names, stacked = tuple(layers), np.stack(list(layers.values()))
        _, n_clips, width = stacked.shape
        if n_clips != len(clip_ids):
            raise AnalysisError(
                "The inputs do not describe the same clips", where=self.argument,
                expected=f"{len(clip_ids)} rows, one for each clip", found=f"{n_clips} rows",
            )  # fmt: skip
        pooling = FEATURE_LAYER if self.is_features else "mean"
        kind = "features" if self.is_features else "embeddings"
        key = CacheKey(kind, fingerprint([str(path), self.model]), {}, {}, {}, pooling, "fp32",
                       FEATURE_CONTRACT_VERSION)  # fmt: skip
        aliases = {} if len(names) == 1 or "final" in names else {"final": names[-1]}
        with ShardWriter(path, key, Layout(names, width, aliases)) as writer:
            ones = np.ones(n_clips)
            writer.add(Rows(clip_ids, stacked, ones.astype(int), ones))
        said: dict[str, Any] = {"model": self.model, "pooling": pooling}
        if self.is_features:
            columns = self.values.columns if isinstance(self.values, pd.DataFrame) else range(width)
            said["feature_names"] = [str(name) for name in columns]
        else:
            said |= {"checkpoint": f"step-{self.step}", "step": self.step}
        seal(path, key, pd.DataFrame({"clip_id": clip_ids, "path": ""}), said)
        return path


@dataclass
class Files:
    """The embedding files of a call, and its clips.

    Args:
        folder: Where what lies in memory is written.
        clips: The clips' table as it was given.
        columns: Columns of the clips that were given one by one, by argument: `labels` is the column `label`.
        roles: What was given, by the name that `Inputs` has for it; one or several files each.
    """

    folder: Path
    clips: ClipTable | None
    columns: Mapping[str, Any]
    roles: Mapping[str, Any] = field(default_factory=dict)

    def inputs(self) -> dict[str, Any]:
        """Return the files and the clips as `Inputs` takes them.

        Raises:
            AnalysisError: If arrays, columns and clips are not of the same length.
        """
        given = [item for role in self.roles.values() for item in _listed(role)]
        clips = self._clips(given)
        ids = [] if clips is None else clips["clip_id"].astype(str).tolist()
        files: dict[str, Any] = {}
        for name, role in self.roles.items():
            paths = [self._path(item, place, name, ids) for place, item in enumerate(_listed(role))]
            files[name] = paths if isinstance(role, list) else paths[0] if paths else None
        return {**files, "clips": clips}

    def _path(self, given: File | InMemory, place: int, role: str, ids: Sequence[str]) -> Path:
        if isinstance(given, InMemory):
            return given.write(self.folder / f"{role}-{place}.h5", ids)
        return given.path if isinstance(given, EmbeddingCache) else Path(os.fspath(given)).expanduser()

    def _clips(self, given: Iterable[File | InMemory]) -> pd.DataFrame | None:
        """Return the clips with all columns; None where the files alone say them."""
        columns = {argument: values for argument, values in self.columns.items() if values is not None}
        in_memory = [item for item in given if isinstance(item, InMemory)]
        on_disk = [item for item in given if not isinstance(item, InMemory)]
        if self.clips is None and not columns and not in_memory:
            return None
        stored = _stored_clips(on_disk[0]) if on_disk else None
        table = self._table() if self.clips is not None else stored
        if table is None:
            table = pd.DataFrame(index=range(len(next(iter(in_memory[0].layers().values())))))
        for argument, values in columns.items():
            if len(values) != len(table):
                raise AnalysisError(
                    "The inputs do not describe the same clips", where=argument,
                    expected=f"{len(table)} entries, one for each clip", found=f"{len(values)} entries",
                )  # fmt: skip
            table = table.assign(**{argument.removesuffix("s"): np.asarray(values)})
        if "clip_id" not in table:
            numbers = [f"{number:032x}" for number in range(len(table))]
            same = stored is not None and len(stored) == len(table)
            table = table.assign(clip_id=stored["clip_id"].tolist() if stored is not None and same else numbers)
        return table.reset_index(drop=True)

    def _table(self) -> pd.DataFrame | None:
        """Return the clips' table as it was given."""
        if isinstance(self.clips, Manifest):
            return self.clips.table
        return self.clips if isinstance(self.clips, pd.DataFrame | None) else read_clips(Path(self.clips).expanduser())


def listed(given: Representations, argument: str = "caches", *, model: str = "array", first: int = 0) -> list[Any]:
    """Return one or several representations as a list; those in memory are checkpoints in their order.

    Args:
        given: One or several.
        argument: What messages call them.
        model: What tables call the model of those in memory.
        first: The step of the first of them.
    """
    several = isinstance(given, Sequence) and not isinstance(given, str)
    return [
        InMemory(item, model, first + place, argument)  # type: ignore[arg-type]
        if isinstance(item, np.ndarray | pd.DataFrame | Mapping)
        else item
        for place, item in enumerate(given if several else [given])  # type: ignore[arg-type]
    ]


def single(given: Representation | None, argument: str, *, model: str = "array") -> Any:
    """Return a representation that there is one of, or None."""
    return None if given is None else listed([given], argument, model=model)[0]


def _listed(role: Any) -> list[Any]:
    return role if isinstance(role, list) else [] if role is None else [role]


def _stored_clips(file: File) -> pd.DataFrame:
    if isinstance(file, EmbeddingCache):
        return clips_of(file)
    with EmbeddingCache.open(os.fspath(file)) as cache:
        return clips_of(cache)
