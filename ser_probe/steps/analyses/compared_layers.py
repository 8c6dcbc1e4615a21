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
        for i, state in enumerate(self.checkpoints):
            for j, other in enumerate(self.checkpoints):
                asked[i, j] = "all" in kinds or any(
                    kind in kinds
                    for kind, fits in (
                        ("within", i == j),
                        ("across", state.model == other.model and i == self._first(state.model) and i < j),
                        ("models", state.model != other.model and i < j and self._comparable(state, other)),
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
        return next(i for i, state in enumerate(self.checkpoints) if state.model == model)

    def _comparable(self, state: Representation, other: Representation) -> bool:
        """Say whether files of two models belong together: equal steps, or nothing better to compare with."""
        steps = [
            {checkpoint.step for checkpoint in self.checkpoints if checkpoint.model == model}
            for model in (state.model, other.model)
        ]
        if len(steps[0]) == 1 or len(steps[1]) == 1:
            return True
        if shared := steps[0] & steps[1]:
            return state.step == other.step and state.step in shared
        firsts = [self.checkpoints[self._first(checkpoint.model)] for checkpoint in (state, other)]
        return state is firsts[0] and other is firsts[1]


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
    held = sum(_size(state) for state in checkpoints) <= HELD_BYTES
    for number, state in enumerate(checkpoints):
        keys += [state.key(name) for name in state.layer_names]
        files += [number] * len(state.layer_names)
        sources += state.layers() if held else _mapped(state)
    return ComparedLayers(keys, sources, np.array(files), checkpoints)


def _size(state: Representation) -> int:
    with EmbeddingCache.open(state.path) as cache:
        return len(state.layer_names) * len(state.rows) * cache.width * 4


def _mapped(state: Representation) -> list[Source]:
    """Return a function per layer that reads it through a memory map of the file."""
    with EmbeddingCache.open(state.path) as cache:
        for name in state.layer_names:
            cache.check_layer(name)  # once, since a map is read many times
        stored = cache.array

    def read(place: int) -> np.ndarray:
        return stored[place][state.rows].astype(np.float32, copy=False)

    return [functools.partial(read, place) for place in range(len(state.layer_names))]


def _tell_apart(checkpoints: tuple[Representation, ...]) -> tuple[Representation, ...]:
    """Return the files with names of their own: several poolings of one checkpoint are named by them."""

    def names(files: Sequence[Representation]) -> list[tuple[str, str, str]]:
        return [(state.model, state.checkpoint, str(state.step)) for state in files]

    def twice(files: Sequence[Representation]) -> list[Representation]:
        named = names(files)
        return [state for state, name in zip(files, named, strict=True) if named.count(name) > 1]

    if twice(checkpoints) and len({state.pooling for state in checkpoints}) > 1:
        checkpoints = tuple(replace(state, model=f"{state.model} ({state.pooling})") for state in checkpoints)
    if alike := twice(checkpoints):
        raise AnalysisError(
            "Two files hold the same checkpoint of the same model, so their rows could not be told apart",
            where=", ".join(str(state.path) for state in alike[:2]),
            found=" ".join(part for part in (alike[0].model, alike[0].checkpoint, alike[0].pooling) if part),
            fix="give each file once; extractions of one checkpoint are compared by analyze drift --floor",
        )
    return checkpoints


def _acoustic(features: Representation, groups: bool) -> list[tuple[str, np.ndarray]]:
    """Return the acoustic features, and their groups where all names are known, each standardised."""
    values = standardised(features.layer(FEATURE_LAYER))
    layers = [(FEATURE_LAYER, values)]
    with EmbeddingCache.open(features.path) as cache:
        names = list(cache.attributes.get("feature_names") or [])
    columns = group_columns(names) if groups and len(names) == values.shape[1] else {}
    if OTHER in columns:
        return layers
    for group, places in columns.items():
        if values[:, places].any():
            layers.append((f"{FEATURE_LAYER}:{group}", values[:, places]))
        else:
            logger.warning("the %s functionals are the same for all clips and are left out", group)
    return layers
