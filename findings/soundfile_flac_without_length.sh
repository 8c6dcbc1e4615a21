#!/usr/bin/env bash
# A FLAC file may state 0 samples in its header, which means "not known" (RFC 9639, section 8.2), as every encoder writes
# that streams into a pipe. libsndfile 1.2.2 takes that for 2^63 - 1 frames: soundfile.read raises "array is too big",
# and reading in blocks ends in "Internal psf_fseek() failed" with the last block lost. And where the header states fewer
# samples than the frames hold, only these are read, without a word. Exits 0 while that is so.
set -eu
T=$(mktemp -d) && trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install -q soundfile==0.14.0 numpy==2.4.6 || exit 9
cd "$T" && "$T/venv/bin/python" - <<'P'
import numpy as np
import soundfile

print("soundfile", soundfile.__version__, soundfile.__libsndfile_version__)
tone = 0.3 * np.sin(np.arange(32_000) / 10)
soundfile.write("whole.flac", tone, 16_000)
whole = open("whole.flac", "rb").read()


def state(samples: int) -> str:
    """Write the number of samples into the header: the last 36 bits of bytes 18 to 25."""
    packed = int.from_bytes(whole[18:26], "big") >> 36 << 36 | samples
    open("changed.flac", "wb").write(whole[:18] + packed.to_bytes(8, "big") + whole[26:])
    return "changed.flac"


print("stated 32000:", len(soundfile.read(state(32_000))[0]), "read")
for samples in (0, 16_000):
    try:
        print(f"stated {samples}:", found := len(soundfile.read(state(samples))[0]), "read")
    except Exception as error:
        print(f"stated {samples}: frames {soundfile.info(state(samples)).frames}, {type(error).__name__}: {error}")
        found = None
    assert found == (None if samples == 0 else 16_000), "the behaviour changed"
P
