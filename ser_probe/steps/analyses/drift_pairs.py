"""Which states of a model drift is measured between: caches joined on the same clips, and the pairs among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ser_probe.analysis.drift.floor import REPEAT, SEED
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.errors import AnalysisError
from ser_probe.steps.analyses.representations import CacheFile, Joined, NamedCache, Representation, join_caches, path_of


@dataclass(frozen=True)
class Pair:
    """Two states, by their positions, and what they are compared for: `first`, `previous`, `repeat` or `seed`."""

    before: int
    after: int
    kind: str


@dataclass(frozen=True)
class DriftStates:
    """States of a model on the same clips.

    Args:
        joined: The clips.
        all: The checkpoints by step, the repeats of the reference, the checkpoints of other seeds.
        n_checkpoints: How many of them are checkpoints.
        reference: The checkpoint that drift is measured from.
        pairs: What is compared with what.
        speakers: Each clip's speaker [N], None where the clips do not name them.
    """

    joined: Joined
    all: tuple[Representation, ...]
    n_checkpoints: int
    reference: Representation
    pairs: tuple[Pair, ...]
    speakers: np.ndarray | None


def join_states(
    reference: CacheFile,
    caches: Sequence[CacheFile],
    repeats: Sequence[CacheFile],
    seeds: Sequence[CacheFile],
    *,
    clips: pd.DataFrame | None = None,
    splits: Sequence[str] | None = None,
) -> DriftStates:
    """Join caches on clip id and say which of them are compared.

    Every checkpoint is compared with the reference (`first`; the reference with itself) and with the one before it of
    the same model (`previous`; the first of a model with the reference, if that is an earlier one); the reference with
    its repeats; and every checkpoint of another seed with the one of the same step.

    Raises:
        AnalysisError: If layers differ, a repeat is of other weights, or a seed's step is not among the checkpoints.
    """
    # The reference may be listed among the caches, also under another spelling of its path; it counts once.
    checkpoints = [reference, *(cache for cache in caches if not _same(cache, reference))]
    joined = join_caches([*checkpoints, *repeats, *seeds], clips=clips, splits=splits)
    of_file = [_find(joined, cache) for cache in (*checkpoints, *repeats, *seeds)]
    origin, (first_repeat, first_seed) = of_file[0], (len(checkpoints), len(checkpoints) + len(repeats))
    for state in of_file:
        _refuse_other_layers(origin, state)
    for state in of_file[first_repeat:first_seed]:
        _refuse_other_weights(origin, state)
    ordered = sorted(of_file[:first_repeat], key=lambda state: (state.model, state.step))
    states = (*ordered, *of_file[first_repeat:])
    start = next(place for place, state in enumerate(ordered) if state is origin)
    pairs = [*_over_time(ordered, start)]
    pairs += [Pair(start, place, REPEAT) for place in range(first_repeat, first_seed)]
    for place in range(first_seed, len(states)):
        pairs.append(Pair(_same_step(ordered, states[place]), place, SEED))
    speakers = joined.column("speaker") if "speaker" in joined.clips else None
    return DriftStates(joined, states, len(ordered), origin, tuple(pairs), speakers)


def _over_time(ordered: Sequence[Representation], start: int) -> list[Pair]:
    pairs = []
    for place, state in enumerate(ordered):
        pairs.append(Pair(start, place, "first"))
        if place > 0 and ordered[place - 1].model == state.model:
            pairs.append(Pair(place - 1, place, "previous"))
        elif place != start and not state.step <= ordered[start].step:
            pairs.append(Pair(start, place, "previous"))
    return pairs


def _same_step(ordered: Sequence[Representation], state: Representation) -> int:
    places = [place for place, other in enumerate(ordered) if other.step == state.step and other.path != state.path]
    if not places:
        raise AnalysisError(
            "A checkpoint of another seed has none of the same step to be compared with",
            where=state.path,
            expected=f"one of the steps {', '.join(f'{other.step:g}' for other in ordered)}, in another file",
            found=f"step {state.step:g}",
            fix="give the caches of that step of both seeds",
        )
    return places[0]


def _find(joined: Joined, cache: CacheFile) -> Representation:
    name = cache.checkpoint if isinstance(cache, NamedCache) else None
    path = path_of(cache)
    return next(state for state in joined.checkpoints if state.path == path and name in (None, state.checkpoint))


def _same(state: CacheFile, other: CacheFile) -> bool:
    """Tell whether two caches are one file under one name."""
    named = (cache.checkpoint if isinstance(cache, NamedCache) else None for cache in (state, other))
    return path_of(state).resolve() == path_of(other).resolve() and len(set(named)) == 1


def _refuse_other_layers(origin: Representation, state: Representation) -> None:
    if state.layer_names != origin.layer_names:
        raise AnalysisError(
            "Drift needs the same layers in both files",
            where=state.path,
            expected=f"{', '.join(origin.layer_names)} (as in {origin.path})",
            found=", ".join(state.layer_names),
        )


def _refuse_other_weights(origin: Representation, state: Representation) -> None:
    """Raise where what should be a repeat of the reference is of another model: no floor, but drift."""
    keys = []
    for compared in (origin, state):
        with EmbeddingCache.open(compared.path) as cache:
            keys.append(cache.key)
    if keys[0].weights != keys[1].weights:
        raise AnalysisError(
            "A repeat of the reference is of other weights, so their difference is no floor",
            where=state.path,
            expected=f"the weights of {origin.path}: {keys[0].weights[:12]}",
            found=keys[1].weights[:12],
            fix="extract the reference again, with another precision or batch size",
        )
