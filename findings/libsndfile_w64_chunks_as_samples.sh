#!/usr/bin/env bash
# In a Wave64 file libsndfile 1.2.2 takes chunks that follow the samples for more samples: the data chunk's size is read
# and logged, and not used. A valid file of 1.0 s with 4000 bytes of another chunk after its data decodes to 1.126 s, the
# last of it noise. In WAV files the same chunk is skipped. Exits 0 while that is so.
set -eu
T=$(mktemp -d) && trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install -q soundfile==0.14.0 numpy==2.4.6 || exit 9
cd "$T" && "$T/venv/bin/python" - <<'P'
import struct

import numpy as np
import soundfile

print("soundfile", soundfile.__version__, soundfile.__libsndfile_version__)
tone = 0.3 * np.sin(np.arange(16_000) / 10)
soundfile.write("a.w64", tone, 16_000, subtype="PCM_16", format="W64")
whole = bytearray(open("a.w64", "rb").read())
at = whole.index(b"data")
end = at + 24 + 32_000
whole[at + 16 : at + 24] = struct.pack("<Q", 24 + 32_000)  # a chunk's size counts its 24 bytes of head
other = b"bext" + whole[at + 4 : at + 16] + struct.pack("<Q", 24 + 4_000) + bytes(range(1, 251)) * 16
whole = whole[:end] + other
whole[16:24] = struct.pack("<Q", len(whole))
open("chunk.w64", "wb").write(whole)
soundfile.write("a.wav", tone, 16_000, subtype="PCM_16")
wav = open("a.wav", "rb").read() + b"bext" + struct.pack("<I", 4_000) + bytes(range(1, 251)) * 16
open("chunk.wav", "wb").write(wav[:4] + struct.pack("<I", len(wav) - 8) + wav[8:])
found = {name: soundfile.info(name).frames for name in ("chunk.wav", "chunk.w64")}
print("16000 samples and another chunk:", found)
assert found == {"chunk.wav": 16_000, "chunk.w64": 18_012}, "the behaviour changed"
P
