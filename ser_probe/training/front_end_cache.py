"""The input of the part of a model that trains, kept on disk: outputs of the front end, or decoded audio.

While the front end is frozen and clips are not augmented anew, its output is the same in every epoch, for every head,
seed and encoder. On small models computing it takes most of a training step. Where it changes, the decoded, resampled
and levelled clip is still the same in every epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ser_probe.models.backbone import Backbone
from ser_probe.models.forward import run_front_end
from ser_probe.models.precision import products
from ser_probe.runtime import SILENT, Progress
from ser_probe.training.clip_cache import ClipCache, Content, open_clip_cache
from ser_probe.training.settings import SplitClips

_FORMAT = 2


def open_front_end(
    backbone: Backbone,
    splits: Sequence[SplitClips],
    folder: Path,
    *,
    recipe: Mapping[str, Any],
    progress: Progress = SILENT,
) -> ClipCache:
    """Return the front end's output of all clips, float32 [T, C] each.

    Args:
        backbone: The backbone; the front end runs on its device.
        splits: The clips.
        folder: Folder of all such caches; studies share it.
        recipe: How files became samples (rate, loudness, ...); part of the key.
        progress: Told of the work.

    Raises:
        CacheError: If the disk is full, or a finished cache is damaged.
    """
    n_channels = int(backbone.config.conv_dim[-1])
    n_frames = _seconds(splits) * backbone.input.sample_rate_hz / backbone.samples_per_frame
    content = Content(
        "cached front end", "cache_front_end", n_channels, _ingredients(backbone, recipe), n_frames * n_channels * 4
    )
    sources = {
        clip_id: partial(_run, backbone, clips, row) for clips in splits for row, clip_id in enumerate(clips.ids)
    }
    return open_clip_cache(sources, content, folder, progress=progress)


def open_audio(
    splits: Sequence[SplitClips],
    folder: Path,
    *,
    recipe: Mapping[str, Any],
    sample_rate_hz: int,
    progress: Progress = SILENT,
) -> ClipCache:
    """Return the samples of all clips, float32 [n, 1] each; arguments and errors as of `open_front_end`."""
    ingredients = {"format": _FORMAT, "audio": dict(recipe)}
    content = Content("decoded audio", "cache_audio", 1, ingredients, _seconds(splits) * sample_rate_hz * 4)
    sources = {clip_id: partial(_decode, clips, row) for clips in splits for row, clip_id in enumerate(clips.ids)}
    return open_clip_cache(sources, content, folder, progress=progress)


def _ingredients(backbone: Backbone, recipe: Mapping[str, Any]) -> dict[str, Any]:
    config = backbone.architecture()
    return {
        "format": _FORMAT,
        "front_end": backbone.front_end_hash(),
        "architecture": {name: config[name] for name in config if name.startswith(("conv_", "feat_extract_"))},
        "normalise": backbone.input.normalise,
        "sample_rate_hz": backbone.input.sample_rate_hz,
        "audio": dict(recipe),
        # A GPU's convolutions differ from a CPU's in the last bits.
        "device": backbone.device.type,
    }


def _seconds(splits: Sequence[SplitClips]) -> float:
    return float(sum(np.sum(clips.durations_s) for clips in splits))


def _run(backbone: Backbone, clips: SplitClips, row: int) -> np.ndarray:
    """Return one clip's frames [T, C]; alone and exact, so that its values depend on nothing else."""
    with torch.no_grad(), products("fp32"):
        return run_front_end(backbone, [clips.load(row)]).features[0].float().cpu().numpy()


def _decode(clips: SplitClips, row: int) -> np.ndarray:
    return np.asarray(clips.load(row), np.float32)[:, None]
