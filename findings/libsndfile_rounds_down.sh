#!/usr/bin/env bash
# Surprise: libsndfile (through soundfile) rounds floats down when it writes them as 16-bit or 24-bit PCM, to the next
#   integer below and not to the nearest. Every clip that is written so gets an offset of half a step (-96 dB of full
#   scale in 16 bits), and its rounding error doubles in rms. Integers handed to it are written as they are.
# Run: bash findings/libsndfile_rounds_down.sh   (needs Python 3.10 or later and the network; seconds)
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q soundfile==0.14.0 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import numpy as np
import soundfile

print("soundfile", soundfile.__version__, soundfile.__libsndfile_version__)
path = f"{sys.argv[1]}/noise.wav"
clip = np.random.default_rng(0).normal(0, 0.05, 48_000)
seen = []
for subtype, bits in (("PCM_16", 16), ("PCM_24", 24)):
    for kind in ("float32", "float64"):
        given = clip.astype(kind)
        soundfile.write(path, given, 16_000, subtype=subtype)
        back, _ = soundfile.read(path, dtype="float64")
        steps = (back - given) * 2 ** (bits - 1)
        seen.append((round(steps.mean(), 1), round(float(np.sqrt(np.mean(steps**2))), 1)))
        print(f"{subtype} from {kind}: mean error {steps.mean():+.3f} of a step, rms {np.sqrt(np.mean(steps**2)):.3f}")
nearest = np.rint(clip * 32768).astype(np.int16)
soundfile.write(path, nearest, 16_000, subtype="PCM_16")
back, _ = soundfile.read(path, dtype="int16")
print("integers written as they are:", bool((back == nearest).all()))
# Rounding to the nearest would give a mean of 0 and an rms of 0.289 (1 / sqrt(12)).
assert seen[0] == seen[1] == (-0.5, 0.6), seen
assert (back == nearest).all()
PYTHON
