#!/usr/bin/env bash
# Surprise 1: opensmile's Python package turns samples into 16-bit integers without clipping, so a clip whose one highest
#   sample is +1.0, as any peak-normalised float clip has it, is heard with that sample at -1.0. A third of the eGeMAPS
#   functionals move by more than 1 %. A clip at 0.999 of the same level is heard as it is.
# Surprise 2: the spectral slopes of eGeMAPS change with the level of a recording, by a constant a decibel, though
#   a gain leaves the slope of a spectrum as it is.
# Surprise 3: the same sound at 48 kHz is heard as nearly twice as loud as at 16 kHz.
# Run: bash findings/opensmile_full_scale_and_slopes.sh   (needs Python 3.10 or later and the network; 2 minutes)
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q opensmile==2.6.0 audinterface==1.4.0 numpy==2.4.6 pandas==3.1.1 scipy==1.17.1
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import opensmile
from scipy.signal import resample_poly

print("opensmile", opensmile.__version__, "numpy", np.__version__)
rate = 16_000
time = np.arange(int(0.8 * rate)) / rate
phase = 2 * np.pi * 110 * (time + 0.002 * np.sin(2 * np.pi * 5 * time))
rng = np.random.default_rng(1)
clip = sum(np.sin(k * phase) / k for k in range(1, 12)) + 0.02 * rng.standard_normal(len(time))
clip *= np.sign(clip[np.abs(clip).argmax()])
clip = (clip / clip.max()).astype(np.float32)  # one sample is +1.0, the rest lies below

functionals = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
descriptors = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.LowLevelDescriptors)


def moved(first, second):
    a, b = (functionals.process_signal(each, rate).to_numpy()[0] for each in (first, second))
    return int((np.abs(a - b) > 0.01 * np.abs(b)).sum())


at_full_scale = moved(clip, np.float32(0.999) * clip)
below = moved(np.float32(0.998) * clip, np.float32(0.999) * clip)
print(f"1. of 88 functionals move by more than 1 %: {at_full_scale} from 1.0 to 0.999, {below} from 0.998 to 0.999")

loud, quiet = (descriptors.process_signal(np.float32(gain) * clip, rate) for gain in (0.8, 0.2))
shifts = {
    name: float(np.median(loud[name].to_numpy() - quiet[name].to_numpy()) / (20 * np.log10(4)))
    for name in ("slope0-500_sma3", "slope500-1500_sma3")
}
print("2. shift of a slope a decibel of gain:", {name: round(value, 6) for name, value in shifts.items()})

half = (0.5 * clip).astype(np.float32)
fast = resample_poly(half, 3, 1).astype(np.float32)
louder = (
    functionals.process_signal(fast, 3 * rate)["loudness_sma3_amean"].iloc[0]
    / functionals.process_signal(half, rate)["loudness_sma3_amean"].iloc[0]
)
print(f"3. mean loudness of the clip at 48 kHz against the same at 16 kHz: {louder:.2f}")

as_found = (
    at_full_scale >= 20
    and below <= 2
    and np.isclose(shifts["slope0-500_sma3"], -8.0e-4, rtol=0.05)
    and np.isclose(shifts["slope500-1500_sma3"], -5.455e-4, rtol=0.05)
    and louder > 1.5
)
sys.exit(0 if as_found else 1)
PYTHON
