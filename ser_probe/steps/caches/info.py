"""The verb `cache info`: what embedding files hold, for scripts and for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.steps.caches.files import find_caches, format_size

_NAMED = ("model", "checkpoint", "step", "revision", "pooling", "precision", "created_utc")
_NOT_SHOWN = ("feature_names", "packages", "unread")
_SHOWN_SETTINGS = ("model_type", "num_hidden_layers", "encoder_layers", "hidden_size", "d_model")
_LONG = 100


def describe_caches(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Return what each file holds; folders stand for the files in them.

    Raises:
        CacheError: If a file cannot be read, or a folder holds none.
    """
    return [_describe(path) for path in find_caches(paths)]


def _describe(path: Path) -> dict[str, Any]:
    with EmbeddingCache.open(path) as cache:
        record = cache.attributes
        return {
            "file": str(path),
            "size_bytes": path.stat().st_size,
            "kind": cache.key.kind,
            "model": record.get("model"),
            "checkpoint": record.get("checkpoint"),
            "step": record.get("step"),
            "pooling": cache.key.pooling,
            "ragged": cache.ragged,
            "layers": list(cache.layer_names),
            "aliases": cache.aliases,
            "width": cache.width,
            "clips": len(cache),
            "frames": int(cache.clips["n_frames"].sum()),
            "duration_s": float(cache.clips["duration_s"].sum()),
            "rejected": len(cache.rejects),
            "unread": len(record.get("unread", [])),
            "columns": [str(name) for name in cache.clips.columns],
            "storage": cache.key.storage,
            "precision": cache.key.precision,
            "created_utc": record.get("created_utc"),
            "record": {name: value for name, value in record.items() if name != "feature_names"},
            "key": cache.key.digest,
            "key_ingredients": cache.key.ingredients,
        }


def fold_description(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return a description as lines for people: a name and a text; nested settings in one line each."""
    ingredients, record = facts["key_ingredients"], facts["record"]
    model = ", ".join(str(facts[name]) for name in ("model", "checkpoint") if facts[name])
    aliases = "".join(f", {name} is {layer}" for name, layer in facts["aliases"].items())
    layers = facts["layers"]
    clips = [f"{facts['clips']}", f"{facts['duration_s'] / 60:.1f} min of audio"]
    clips += [f"{facts['frames']} frames"] if facts["frames"] else []
    left_out = [f"{facts[name]} {name}" for name in ("rejected", "unread") if facts[name]]
    what = "every frame" if facts["ragged"] else f"one vector a clip ({facts['pooling']})"
    lines = [
        ("file", f"{facts['file']} ({format_size(facts['size_bytes'])})"),
        ("model", model or "not recorded"),
        ("holds", f"{facts['kind']}, {what}, computed in {facts['precision']}, stored as {facts['storage']}"),
        ("layers", f"{len(layers)}: {_span(layers)}{aliases}; width {facts['width']}"),
        ("clips", ", ".join([*clips, *left_out])),
        ("columns", ", ".join(facts["columns"])),
        ("audio", fold_settings(ingredients["audio"])),
        ("model input", fold_settings(ingredients["model_input"])),
        ("architecture", _fold_architecture(ingredients["architecture"])),
        ("weights", str(ingredients["weights"])),
        ("further settings", fold_settings(ingredients.get("extra", {}))),
        ("created", str(facts["created_utc"] or "not recorded")),
        ("packages", fold_settings(record.get("packages", {}))),
    ]
    lines += [(name.replace("_", " "), _fold(value)) for name, value in record.items() if _shown(name)]
    lines.append(("key", facts["key"]))
    return [(name, text) for name, text in lines if text]


def fold_settings(settings: Mapping[str, Any], within: str = "") -> str:
    """Return nested settings in one line, as `sample_rate_hz 16000, loudness.target_lufs -23.0`."""
    parts = []
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            parts.append(fold_settings(value, f"{within}{name}."))
        elif not isinstance(value, Mapping):
            parts.append(f"{within}{name} {_fold(value)}")
    return ", ".join(parts)


def _shown(name: str) -> bool:
    return name not in _NAMED and name not in _NOT_SHOWN


def _span(layers: Sequence[str]) -> str:
    return " ".join(layers) if len(layers) <= 4 else f"{layers[0]} {layers[1]} ... {layers[-1]}"


def _fold_architecture(settings: Mapping[str, Any]) -> str:
    shown = {name: settings[name] for name in _SHOWN_SETTINGS if settings.get(name) is not None}
    shown = shown or dict(list(settings.items())[: len(_SHOWN_SETTINGS)])
    others = len(settings) - len(shown)
    more = f"{others} more settings, see --json" if others else ""
    return ", ".join(part for part in (fold_settings(shown), more) if part)


def _fold(value: Any) -> str:
    if isinstance(value, Mapping):
        text = fold_settings(value)
    elif isinstance(value, str | int | float):
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
    else:
        text = "none" if value is None else json.dumps(value, default=str)
    return text if len(text) <= _LONG else text[:_LONG] + "..."
