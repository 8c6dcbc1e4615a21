"""The 88 eGeMAPS functionals of a clip: the acoustic yardstick beside the embeddings. The only door to opensmile.

Source: Eyben et al. (2016), The Geneva Minimalistic Acoustic Parameter Set (GeMAPS) for voice research and affective
computing, IEEE Transactions on Affective Computing 7(2). The functions take arrays and hold no state that would
have to travel, so that worker processes can run them.
"""

from __future__ import annotations

import functools
import importlib.metadata
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from ser_probe.errors import AudioError, require

FEATURE_SET = "eGeMAPSv02"
N_FEATURES = 88


def functionals(clips: Sequence[np.ndarray], sample_rate_hz: int) -> np.ndarray:
    """Return the eGeMAPS functionals of clips, each clip for itself.

    Args:
        clips: N clips, each float32 `[n]`, full scale at 1.
        sample_rate_hz: Sampling rate in Hz.

    Returns:
        float32 `[N, 88]`, in the order of `feature_names`.

    Raises:
        AudioError: If a clip has a feature that is no finite number; the features are named.
        MissingExtraError: If opensmile is not installed.
    """
    smile = _extractor()
    values = np.empty((len(clips), N_FEATURES), dtype=np.float32)
    for row, samples in enumerate(clips):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Segment too short")  # it becomes the error below
            table = smile.process_signal(np.asarray(samples, dtype=np.float32), sample_rate_hz)
        values[row] = table.to_numpy()[0]
        if not np.isfinite(values[row]).all():
            raise _not_finite(row, len(samples) / sample_rate_hz, values[row])
    return values


def feature_names() -> list[str]:
    """Return the names of the 88 functionals, in the order of the columns.

    Raises:
        MissingExtraError: If opensmile is not installed.
    """
    return list(_extractor().feature_names)


def ingredients() -> dict[str, Any]:
    """Return what identifies the features; a part of the cache key.

    Raises:
        MissingExtraError: If opensmile is not installed.
    """
    require("opensmile", extra="egemaps", purpose="extracting eGeMAPS")
    return {
        "feature_set": FEATURE_SET,
        "feature_level": "functionals",
        "n_features": N_FEATURES,
        "opensmile": importlib.metadata.version("opensmile"),
    }


@functools.lru_cache(maxsize=1)
def _extractor() -> Any:
    """Return this process's extractor; made once, because reading its configuration costs more than a clip."""
    opensmile = require("opensmile", extra="egemaps", purpose="extracting eGeMAPS")
    return opensmile.Smile(
        feature_set=opensmile.FeatureSet.eGeMAPSv02, feature_level=opensmile.FeatureLevel.Functionals
    )


def _not_finite(row: int, duration_s: float, values: np.ndarray) -> AudioError:
    names = [name for name, value in zip(feature_names(), values, strict=True) if not np.isfinite(value)]
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return AudioError(
        f"eGeMAPS gives no finite number for {len(names)} of {N_FEATURES} features",
        where=f"clip {row} of the batch, {1000 * duration_s:.0f} ms long",
        found=shown,
        fix="leave the clip out; clips under about 60 ms are too short for its pitch analysis",
    )
