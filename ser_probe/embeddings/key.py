"""The cache key: what an embedding depends on besides the clip. Equal keys mean equal values, on any machine.

Names of files and folders never enter a key: a renamed file or a moved folder is the same content.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ser_probe import files
from ser_probe.errors import CacheError, did_you_mean

STORAGES: dict[str, np.dtype] = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2")}

_LABELS = {
    "kind": "the kind of content",
    "weights": "the model's weights",
    "architecture": "the architecture",
    "layer_contract": "the layer contract's version",
    "model_input": "the model's input",
    "audio": "the audio preprocessing",
    "pooling": "the pooling",
    "precision": "the precision of the computation",
    "storage": "the precision of storage",
    "extra": "the further settings",
}
_SHOWN_CHARACTERS = 24


@dataclass(frozen=True, eq=False)
class CacheKey:
    """The ingredients of a key, all JSON-like.

    Args:
        kind: `embeddings` of a backbone, or acoustic `features`.
        weights: Hash of the weights' bytes, or the feature set's name and version.
        architecture: The architecture's configuration.
        model_input: The model's input: sampling rate, normalisation.
        audio: The audio preprocessing.
        pooling: Name of the pooling over frames.
        precision: Precision of the computation, such as `fp32`.
        layer_contract: Version of the meaning of layer names; 0 if there is one layer only.
        storage: Precision of the stored values, `float32` or `float16`.
        extra: Anything else that changes a value; left out of the digest while empty.

    Raises:
        CacheError: If the storage is not known.
    """

    kind: str
    weights: str
    architecture: Mapping[str, Any]
    model_input: Mapping[str, Any]
    audio: Mapping[str, Any]
    pooling: str
    precision: str
    layer_contract: int = 0
    storage: str = "float32"
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.storage not in STORAGES:
            raise CacheError(
                "The storage of a cache is not known",
                expected=" or ".join(STORAGES),
                found=self.storage,
                fix=did_you_mean(self.storage, STORAGES),
            )

    @property
    def ingredients(self) -> dict[str, Any]:
        """The ingredients as they read back from JSON (a tuple is a list).

        Values that JSON cannot hold raise `TypeError`: written as text they would differ between versions of the
        package that prints them.
        """
        named = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        if not named["extra"]:
            del named["extra"]
        plain = {name: dict(value) if isinstance(value, Mapping) else value for name, value in named.items()}
        return json.loads(json.dumps(plain, allow_nan=False))

    @functools.cached_property
    def digest(self) -> str:
        """64 hex digits that identify the ingredients."""
        return files.fingerprint(self.ingredients)

    @property
    def short(self) -> str:
        """The digest's first 12 digits, for file names and messages."""
        return self.digest[:12]

    @property
    def dtype(self) -> np.dtype:
        """The stored values' type."""
        return STORAGES[self.storage]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CacheKey) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


def explain_difference(first: CacheKey, second: CacheKey) -> list[str]:
    """Say in words in which ingredients two keys differ; an empty list means equal keys."""
    left, right = (dict(files.flatten(key.ingredients)) for key in (first, second))
    differences = []
    for path in sorted(left.keys() | right.keys(), key=lambda path: (list(_LABELS).index(path[0]), path)):
        values = left.get(path, "not set"), right.get(path, "not set")
        if values[0] != values[1]:
            detail = f" ({'.'.join(path[1:])})" if len(path) > 1 else ""
            differences.append(f"{_LABELS[path[0]]}{detail}: {_shown(values[0])} against {_shown(values[1])}")
    return differences


def check_key(found: CacheKey, expected: CacheKey, *, where: object) -> None:
    """Refuse a file that holds something else than what is asked for.

    Raises:
        CacheError: If the keys differ; the message holds both and says what differs.
    """
    if found == expected:
        return
    differences = "\n".join(f"  - {difference}" for difference in explain_difference(found, expected))
    raise CacheError(
        f"This cache was made from something else (the file's value against the one asked for):\n{differences}",
        where=where,
        expected=f"key {expected.digest}",
        found=f"key {found.digest}",
        fix="name another output file, or move this one away",
    )


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else "none" if value is None else json.dumps(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
