"""The level at which samples go to opensmile, and features that are converted back to the clip's level.

opensmile's Python package turns samples into 16-bit integers by `(samples * 32768).astype(int16)`, which does not clip:
+1.0 becomes -32768, and a single such sample moves a third of eGeMAPS. So a clip that reaches full scale is scaled
down until it does not; any other one is left as it is, and gives the numbers that opensmile gives.

Of the GeMAPS sets, the features that follow the level by definition are then given for the clip's own level:

| feature | follows a gain g as | because |
|---|---|---|
| loudness, but its `stddevNorm` and its peaks per second | g^0.66 | the auditory spectrum's power, to the power 0.33 |
| spectral flux, but its `stddevNorm` | g | a difference of magnitudes |
| `equivalentSoundLevel_dBp` | + 20 log10 g | in dB |

The rest does not follow it, but for the six spectral slopes (some 0.0008 and 0.0005 a dB, see
`docs/analysis/acoustics.md`). The 6373 functionals of ComParE are those of the clip as scaled.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from ser_probe.errors import AudioError

_FULL_SCALE = 32768
# Cutting towards zero turns these into the largest and the smallest 16-bit number.
_TOO_HIGH, _TOO_LOW = 1.0, -(_FULL_SCALE + 1) / _FULL_SCALE
_HIGHEST = (_FULL_SCALE - 1) / _FULL_SCALE

# Eyben et al. (2016), section 3: the loudness of PLP, Hermansky's cubic root of intensity taken as a power of 0.33.
_LOUDNESS_EXPONENT = 2 * 0.33
_LOUDNESS = re.compile(r"Loudness_sma3|loudness_sma3_(?!stddevNorm).+")
_FLUX = re.compile(r"spectralFlux_sma3|spectralFlux(V|UV)?_sma3(nz)?_amean")
_LEVEL_DB = re.compile(r"equivalentSoundLevel_dBp")


def reduction_db(samples: np.ndarray) -> float:
    """Return by how many dB a clip must be scaled down so that none of its samples leaves the 16-bit range; mostly 0.

    Args:
        samples: The clip, float32 `[n]`, full scale at 1.

    Raises:
        AudioError: If a sample is no finite number.
    """
    highest, lowest = float(samples.max(initial=0)), float(samples.min(initial=0))
    if not (math.isfinite(highest) and math.isfinite(lowest)):
        raise AudioError(
            "The clip holds samples that are NaN or infinite",
            found=f"from {lowest:g} to {highest:g}",
            fix="export it again, as 16-bit or 24-bit PCM",
        )
    if lowest > _TOO_LOW and highest < _TOO_HIGH:
        return 0.0
    return 20 * math.log10(max(highest, -lowest) / _HIGHEST)


def restore_level(values: np.ndarray, names: Sequence[str], reduced_db: float) -> np.ndarray:
    """Return features of a scaled clip converted to its original level, as far as they follow the level exactly.

    Args:
        values: Features of the scaled clip, float32 `[T, D]`.
        names: Their names, [D].
        reduced_db: The result of `reduction_db` for the clip.

    Returns:
        float32 `[T, D]`.
    """
    gain = 10 ** (reduced_db / 20)
    factors = np.ones(len(names))
    for column, name in enumerate(names):
        if _LOUDNESS.fullmatch(name):
            factors[column] = gain**_LOUDNESS_EXPONENT
        elif _FLUX.fullmatch(name):
            factors[column] = gain
    added_db = np.array([reduced_db if _LEVEL_DB.fullmatch(name) else 0.0 for name in names])
    return (values * factors + added_db).astype(np.float32)
