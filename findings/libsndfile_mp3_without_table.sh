#!/usr/bin/env bash
# An MP3 of varying bit rate without a Xing table (as written into a pipe) is valid, and libsndfile 1.2.2 reads a part of
# it without a word: it takes the first frame's size for that of all, and stops after the number of samples that follows.
# Here 10 s are encoded, and 1.5 s are read. Exits 0 while that is so.
set -eu
T=$(mktemp -d) && trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install -q soundfile==0.14.0 numpy==2.4.6 || exit 9
cd "$T" && "$T/venv/bin/python" - <<'P'
import numpy as np
import soundfile

print("soundfile", soundfile.__version__, soundfile.__libsndfile_version__)
rate = 16_000
tone = (0.3 * np.sin(np.cumsum(np.linspace(0, 0.3, 10 * rate)))).astype("float32")
soundfile.write("table.mp3", tone, rate, bitrate_mode="VARIABLE")
whole = open("table.mp3", "rb").read()
at = max(whole.find(b"Xing"), whole.find(b"Info"))
assert at > 0
# Without its first frame, which is the table, it is what an encoder writes that cannot go back to fill it in.
second = next(i for i in range(at, len(whole)) if whole[i : i + 2] == whole[:2] and whole[i + 3] == whole[3])
open("streamed.mp3", "wb").write(whole[second:])
print("with its table:   ", f"{len(soundfile.read('table.mp3')[0]) / rate:.2f} s read")
read_s = len(soundfile.read("streamed.mp3")[0]) / rate
frames, i = 0, 0
audio = whole[second:]
kbits = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
while i + 4 <= len(audio) and audio[i : i + 2] == audio[:2]:
    frames += 1
    i += 72 * kbits[(audio[i + 2] >> 4) - 1] * 1000 // rate + (audio[i + 2] >> 1 & 1)
print("without its table:", f"{read_s:.2f} s read of {frames} frames of 576 samples = {frames * 576 / rate:.2f} s")
assert read_s < 0.8 * frames * 576 / rate, "the behaviour changed"
P
