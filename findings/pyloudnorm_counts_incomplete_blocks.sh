#!/usr/bin/env bash
# pyloudnorm 0.2.0 counts a last 400 ms block of which up to 50 ms are missing, divided by the full length, so that clips
# of 0.45 to 1 s measure up to 0.3 LU too quiet (and more where speech ends late). ITU-R BS.1770-4, Annex 1, has only
# complete blocks: "the measurement interval shall be constrained such that it ends at the end of a gating block".
# A steady 997 Hz tone of 0.46 s must measure what its first 0.4 s do; it measures less. Exits 0 while that is so.
set -eu
T=$(mktemp -d) && trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install -q pyloudnorm==0.2.0 numpy==2.4.6 scipy==1.17.1 || exit 9
"$T/venv/bin/python" - <<'P'
import importlib.metadata
import numpy as np
import pyloudnorm

print("pyloudnorm", importlib.metadata.version("pyloudnorm"))
rate = 48_000
tone = 0.5 * np.sin(2 * np.pi * 997 * np.arange(rate) / rate)
meter = pyloudnorm.Meter(rate)
complete = meter.integrated_loudness(tone[: rate * 40 // 100])
print(f"0.40 s, one complete block:                {complete:.3f} LUFS")
for ms in (440, 446, 451, 455, 460, 490, 500):
    found = meter.integrated_loudness(tone[: rate * ms // 1000])
    print(f"{ms / 1000:.3f} s, {1 + (ms - 400) // 100} complete, {len(meter.blockwise_loudness)} counted: "
          f"{found:.3f} LUFS ({found - complete:+.3f})")
short = meter.integrated_loudness(tone[: rate * 455 // 1000])
assert len(meter.blockwise_loudness) == 2, "the behaviour changed: 0.455 s hold one complete block"
assert short < complete - 0.1, "the behaviour changed"
P
