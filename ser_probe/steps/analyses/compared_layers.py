"""What the analysis `similarity` compares: the layers of all files, acoustic features, and which pairs of them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ser_probe.analysis.acoustics.functional_groups import OTHER, group_columns
from ser_probe.analysis.inputs import RepresentationKey
from ser_probe.analysis.similarity.sources import Source, rows_of
from ser_probe.analysis.similarity.table import standardised
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.errors import AnalysisError
from ser_probe.runtime import logger
from ser_probe.steps.analyses.representations import FEATURE_LAYER, Joined, Representation

# Up to this many bytes, layers are read once and held; more are read whenever they are needed.
HELD_BYTES = 2 * 2**30
FEATURES = -1
"""The file number of acoustic features."""


@dataclass(frozen=True)
class ComparedLayers:
    """R representations of the same clips.

    Attributes:
        keys: Where each comes from.
        sources: Their features [N, D].
        files: The number of the file that each is a layer of, `FEATURES` for acoustic features [R].
        checkpoints: The files.
    """

    keys: list[RepresentationKey]
    sources: list[Source]
    files: np.ndarray
    checkpoints: tuple[Representation, ...]

    def pairs(self, kinds: Sequence[str]) -> np.ndarray:
        """Return which pairs are asked for [R, R]: `within`, `across`, `models`, `all`, and always with features."""
        asked = np.zeros((len(self.checkpoints),) * 2, bool)
        for i, one in enumerate(self.checkpoints):
            for j, other in enumerate(self.checkpoints):
                asked[i, j] = "all" in kinds or any(
                    kind in kinds
                    for kind, fits in (
                        ("within", i == j),
                        ("across", one.model == other.model and i == self._first(one.model) and i < j),
                        ("models", one.model != other.model and i < j and self._comparable(one, other)),
                    )
                    if fits
                )
        layers, acoustic = self.files != FEATURES, self.files == FEATURES
        wanted = np.zeros((len(self.files),) * 2, bool)
        wanted[np.ix_(layers, layers)] = asked[np.ix_(self.files[layers], self.files[layers])]
        wanted[np.ix_(layers, acoustic)] = True
        return wanted

    def of_clips(self, places: np.ndarray) -> ComparedLayers:
        """Return the layers of some clips; what is held is held once for all."""
        return replace(self, sources=[rows_of(source, places) for source in self.sources])

    def with_features(self, features: Representation, *, groups: bool) -> ComparedLayers:
        """Return the layers with acoustic features of the same clips, standardised over them.

        Args:
            features: The features.
            groups: Also take each group of functionals, as the layer `functionals:<group>`.
        """
        acoustic = dict(_acoustic(features, groups))
        return ComparedLayers(
            [*self.keys, *map(features.key, acoustic)],
            [*self.sources, *acoustic.values()],
            np.append(self.files, [FEATURES] * len(acoustic)),
            self.checkpoints,
        )

    def _first(self, model: str) -> int:
        return next(i for i, one in enumerate(self.checkpoints) if one.model == model)

    def _comparable(self, one: Representation, other: Representation) -> bool:
        """Say whether files of two models belong together: equal steps, or nothing better to compare with."""
        steps = [{each.step for each in self.checkpoints if each.model == model} for model in (one.model, other.model)]
        if len(steps[0]) == 1 or len(steps[1]) == 1:
            return True
        if shared := steps[0] & steps[1]:
            return one.step == other.step and one.step in shared
        firsts = [self.checkpoints[self._first(each.model)] for each in (one, other)]
        return one is firsts[0] and other is firsts[1]


def collect_layers(joined: Joined) -> ComparedLayers:
    """Return all layers of the joined files, without acoustic features.

    Args:
        joined: The files.

    Raises:
        AnalysisError: If two files are called the same.
    """
    checkpoints = _tell_apart(joined.checkpoints)
    keys: list[RepresentationKey] = []
    sources: list[Source] = []
    files: list[int] = []
    held = sum(_size(one) for one in checkpoints) <= HELD_BYTES
    for number, one in enumerate(checkpoints):
        keys += [one.key(name) for name in one.layer_names]
        files += [number] * len(one.layer_names)
        sources += one.layers() if held else _mapped(one)
    return ComparedLayers(keys, sources, np.array(files), checkpoints)


def _size(one: Representation) -> int:
    with EmbeddingCache.open(one.path) as cache:
        return len(one.layer_names) * len(one.rows) * cache.width * 4


def _mapped(one: Representation) -> list[Source]:
    """Return a function per layer that reads it through a memory map of the file."""
    with EmbeddingCache.open(one.path) as cache:
        for name in one.layer_names:
            cache.check_layer(name)  # once, since a map is read many times
        stored = cache.array

    def read(place: int) -> np.ndarray:
        return stored[place][one.rows].astype(np.float32, copy=False)

    return [functools.partial(read, place) for place in range(len(one.layer_names))]


def _tell_apart(checkpoints: tuple[Representation, ...]) -> tuple[Representation, ...]:
    """Return the files with names of their own: several poolings of one checkpoint are named by them."""

    def names(files: Sequence[Representation]) -> list[tuple[str, str, str]]:
        return [(one.model, one.checkpoint, str(one.step)) for one in files]

    def twice(files: Sequence[Representation]) -> list[Representation]:
        found = names(files)
        return [one for one, name in zip(files, found, strict=True) if found.count(name) > 1]

    if twice(checkpoints) and len({one.pooling for one in checkpoints}) > 1:
        checkpoints = tuple(replace(one, model=f"{one.model} ({one.pooling})") for one in checkpoints)
    if alike := twice(checkpoints):
        raise AnalysisError(
            "Two files hold the same checkpoint of the same model, so their rows could not be told apart",
            where=", ".join(str(one.path) for one in alike[:2]),
            found=" ".join(part for part in (alike[0].model, alike[0].checkpoint, alike[0].pooling) if part),
            fix="give each file once; extractions of one checkpoint are compared by analyze drift --floor",
        )
    return checkpoints


def _acoustic(features: Representation, groups: bool) -> list[tuple[str, np.ndarray]]:
    """Return the acoustic features, and their groups where all names are known, each standardised."""
    values = standardised(features.layer(FEATURE_LAYER))
    found = [(FEATURE_LAYER, values)]
    with EmbeddingCache.open(features.path) as cache:
        names = list(cache.attributes.get("feature_names") or [])
    columns = group_columns(names) if groups and len(names) == values.shape[1] else {}
    if OTHER in columns:
        return found
    for group, places in columns.items():
        if values[:, places].any():
            found.append((f"{FEATURE_LAYER}:{group}", values[:, places]))
        else:
            logger.warning("the %s functionals are the same for all clips and are left out", group)
    return found
