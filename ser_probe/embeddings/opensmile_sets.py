"""Acoustic features by opensmile, to compare embeddings with. The only door to opensmile.

| set | functionals | descriptors | source |
|---|---|---|---|
| eGeMAPSv02 | 88 | 25 | Eyben et al. (2016), IEEE Transactions on Affective Computing 7(2), the extended set |
| GeMAPSv01b | 62 | 18 | the same, the minimalistic set |
| ComParE_2016 | 6373 | 65 | Schuller et al. (2016), The Interspeech 2016 Computational Paralinguistics Challenge |

Functionals are one vector a clip. Low-level descriptors have a frame every 10 ms, the first at the clip's beginning;
opensmile reports each frame as 20 ms long (GeMAPS) or 60 ms (ComParE, whose last frame it reports with the time of the
one before), smooths over three frames, and ends some 50 ms before the clip does, where its longest window no longer
fits.

A clip that reaches full scale is scaled down first: see `opensmile_level`. The features depend on the sampling rate too
(at 48 kHz the same sound is 1.8 times as loud as at 16 kHz), so callers resample to the study's.

The functions take arrays and keep no state, so that worker processes can run them.
"""

from __future__ import annotations

import functools
import importlib.metadata
import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from ser_probe.embeddings.opensmile_level import reduction_db, restore_level
from ser_probe.errors import AudioError, ConfigError, did_you_mean, shorten
from ser_probe.packages import require

FEATURE_CONTRACT_VERSION = 2
"""Raise it when the meaning or a value of a layer of features changes. 2: no sample leaves opensmile's 16 bits."""

EGEMAPS = "eGeMAPSv02"
FUNCTIONALS, DESCRIPTORS = "functionals", "lld"
DESCRIPTOR_HOP_S = 0.01

FEATURE_SETS: dict[str, dict[str, int]] = {
    EGEMAPS: {FUNCTIONALS: 88, DESCRIPTORS: 25},
    "GeMAPSv01b": {FUNCTIONALS: 62, DESCRIPTORS: 18},
    "ComParE_2016": {FUNCTIONALS: 6373, DESCRIPTORS: 65},
}
"""Sets, and how many features each has at each level."""

_OPENSMILE_LEVELS = {FUNCTIONALS: "Functionals", DESCRIPTORS: "LowLevelDescriptors"}


def find_set(name: str) -> str | None:
    """Return the feature set that a model's name means, in any case; None if it names no set.

    Raises:
        ConfigError: If the name is that of a set which is not offered here.
    """
    sets = {"egemaps": EGEMAPS, **{feature_set.lower(): feature_set for feature_set in FEATURE_SETS}}
    if name.lower() in sets:
        return sets[name.lower()]
    if re.fullmatch(r"e?gemaps\w*|compare_?\d*", name.lower()):
        fix = did_you_mean(name, FEATURE_SETS)
        raise ConfigError(
            "There is no such set of acoustic features", expected=", ".join(FEATURE_SETS), found=name, fix=fix
        )
    return None


def find_level(poolings: Sequence[str]) -> str:
    """Return the feature level for poolings: opensmile pools the descriptors' frames into functionals.

    Raises:
        ConfigError: If they are neither `mean`, the default, nor `frames` alone.
    """
    levels: dict[tuple[str, ...], str] = {("mean",): FUNCTIONALS, ("frames",): DESCRIPTORS}
    level = levels.get(tuple(poolings))
    if level is None:
        raise ConfigError(
            "Acoustic features know no such pooling",
            where="extract.pooling",
            expected="mean, the default, for functionals, or frames for low-level descriptors",
            found=", ".join(poolings),
        )
    return level


def functionals(clips: Sequence[np.ndarray], sample_rate_hz: int, feature_set: str = EGEMAPS) -> np.ndarray:
    """Return the functionals of clips, each clip for itself.

    Args:
        clips: N clips, each float32 `[n]`, full scale at 1.
        sample_rate_hz: Sampling rate in Hz.
        feature_set: A name of `FEATURE_SETS`.

    Returns:
        float32 `[N, D]`, in the order of `feature_names`.

    Raises:
        AudioError: If a clip has a sample or a feature that is no finite number; the features are named.
        MissingExtraError: If opensmile is not installed.
    """
    values = np.empty((len(clips), FEATURE_SETS[feature_set][FUNCTIONALS]), dtype=np.float32)
    for row, samples in enumerate(clips):
        values[row] = _compute(samples, sample_rate_hz, feature_set, FUNCTIONALS)[0]
    return values


def descriptors(samples: np.ndarray, sample_rate_hz: int, feature_set: str = EGEMAPS) -> np.ndarray:
    """Return the low-level descriptors of a clip, frame t beginning at `t * DESCRIPTOR_HOP_S`.

    Args:
        samples: The clip, float32 `[n]`, full scale at 1.
        sample_rate_hz: Sampling rate in Hz.
        feature_set: A name of `FEATURE_SETS`.

    Returns:
        float32 `[T, D]`, in the order of `feature_names`.

    Raises: as `functionals`.
    """
    return _compute(samples, sample_rate_hz, feature_set, DESCRIPTORS)


def feature_names(feature_set: str = EGEMAPS, level: str = FUNCTIONALS) -> list[str]:
    """Return the names of the D features of a set at a level, in the order of the columns.

    Raises:
        MissingExtraError: If opensmile is not installed.
    """
    return list(_extractor(feature_set, level).feature_names)


def ingredients(feature_set: str = EGEMAPS, level: str = FUNCTIONALS) -> dict[str, Any]:
    """Return what identifies the features; a part of the cache key.

    Raises:
        MissingExtraError: If opensmile is not installed.
    """
    _opensmile(feature_set)
    return {
        "feature_set": feature_set,
        "feature_level": level,
        "n_features": FEATURE_SETS[feature_set][level],
        "opensmile": importlib.metadata.version("opensmile"),
    }


def _compute(samples: np.ndarray, sample_rate_hz: int, feature_set: str, level: str) -> np.ndarray:
    """Return a clip's features, float32 `[T, D]`; T is 1 for functionals."""
    samples = np.asarray(samples, dtype=np.float32)
    reduced_db = reduction_db(samples)
    if reduced_db:
        samples = samples * np.float32(10 ** (-reduced_db / 20))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Segment too short")  # it becomes the error below
        table = _extractor(feature_set, level).process_signal(samples, sample_rate_hz)
    values = table.to_numpy(dtype=np.float32)
    if reduced_db:
        values = restore_level(values, list(table.columns), reduced_db)
    if not np.isfinite(values).all():
        raise _not_finite(len(samples) / sample_rate_hz, values, feature_set, level)
    return values


@functools.cache
def _extractor(feature_set: str, level: str) -> Any:
    """Return this process's extractor; made once, because reading its configuration costs more than a clip."""
    opensmile = _opensmile(feature_set)
    return opensmile.Smile(
        feature_set=opensmile.FeatureSet[feature_set], feature_level=opensmile.FeatureLevel[_OPENSMILE_LEVELS[level]]
    )


def _opensmile(feature_set: str) -> Any:
    return require("opensmile", extra="egemaps", purpose=f"extracting {feature_set}")


def _not_finite(duration_s: float, values: np.ndarray, feature_set: str, level: str) -> AudioError:
    bad = ~np.isfinite(values).all(axis=0)
    names = [name for name, is_bad in zip(feature_names(feature_set, level), bad, strict=True) if is_bad]
    return AudioError(
        f"{feature_set} gives no finite number for {len(names)} of {len(bad)} features",
        where=f"a clip of {1000 * duration_s:.0f} ms",
        found=shorten(names, 3),
        fix="leave the clip out; clips under about 60 ms are too short for its pitch analysis",
    )
