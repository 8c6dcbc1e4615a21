"""The verb `cache why`: in words, why two files have different keys, or what differs although they have one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ser_probe.embeddings.key import explain_difference
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.steps.caches.info import fold_settings

_LISTED_CLIPS = 3
_NOT_COMPARED = (
    "feature_names", "unread", "clips_per_s", "audio_s_per_s", "wait_share", "peak_memory_mib", "device_memory_mib",
)  # fmt: skip
"""What is content, or differs between any two runs."""


def compare_caches(first: Path, second: Path) -> dict[str, Any]:
    """Say how two files differ.

    Args:
        first: A file.
        second: Another.

    Returns:
        `same_key`; `key`, in words the ingredients that differ; `clips`, how their clips differ; `made`, what differs
        in how they were made: versions, device, batches.

    Raises:
        CacheError: If one cannot be read.
    """
    with EmbeddingCache.open(first) as first_cache, EmbeddingCache.open(second) as second_cache:
        return {
            "first": str(first),
            "second": str(second),
            "same_key": first_cache.key == second_cache.key,
            "key": explain_difference(first_cache.key, second_cache.key),
            "clips": _compare_clips(first_cache, second_cache),
            "made": _compare_records(first_cache.attributes, second_cache.attributes),
        }


def _compare_clips(first_cache: EmbeddingCache, second_cache: EmbeddingCache) -> list[str]:
    ours, theirs = set(first_cache.clip_ids), set(second_cache.clip_ids)
    lines = []
    for name, cache, only in (("first", first_cache, ours - theirs), ("second", second_cache, theirs - ours)):
        if only:
            named = cache.clips.loc[cache.clips["clip_id"].isin(only), "path"].head(_LISTED_CLIPS).tolist()
            more = ", ..." if len(only) > _LISTED_CLIPS else ""
            lines.append(f"{len(only)} clips only in the {name}: {', '.join(map(str, named))}{more}")
    if not lines:
        same = first_cache.clip_ids == second_cache.clip_ids
        lines.append(f"both hold the same {len(ours)} clips" + ("" if same else ", in another order"))
    else:
        lines.append(f"{len(ours & theirs)} clips in both")
    return lines


def _compare_records(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    ours, theirs = _flatten(first), _flatten(second)
    return [
        f"{name}: {ours.get(name, 'not recorded')} against {theirs.get(name, 'not recorded')}"
        for name in dict.fromkeys([*ours, *theirs])
        if ours.get(name) != theirs.get(name)
    ]


def _flatten(record: dict[str, Any]) -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in record.items():
        if name == "packages":
            flat |= {f"{package} version": str(version) for package, version in value.items()}
        elif name not in _NOT_COMPARED:
            flat[name.replace("_", " ")] = fold_settings({"": value}).strip()
    return flat
