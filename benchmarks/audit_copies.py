"""Does the audit find copies in other forms, and only copies?

Clips of real corpora are compared with themselves at a tenth of the level, without their first 0.2 s, at 44.1 and
8 kHz, padded, as FLAC, MP3 and Vorbis; and with all other clips: one sentence by one actor in another emotion is no
copy.

    python benchmarks/audit_copies.py EMOVO/ EMODB/

Result: benchmarks/results/audit_copies.md
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from ser_probe.analysis.audit.near_copies import find_near_copies
from ser_probe.audio.load import resample
from ser_probe.audio.measured_clip import measure_clip

MOST_S = 60.0
EVERY = 4  # of the clips are copied


def forms(samples: np.ndarray, rate_hz: int) -> Iterator[tuple[str, bytes, str]]:
    """Yield the copies of a clip: name, content and suffix."""
    pad = np.zeros(round(0.3 * rate_hz))
    plain = {
        "level x 0.1": (0.1 * samples, rate_hz), "0.2 s cut": (samples[round(0.2 * rate_hz) :], rate_hz),
        "padded": (np.concatenate([pad, samples, pad]), rate_hz),
        "44.1 kHz": (resample(samples, rate_hz, 44_100), 44_100), "8 kHz": (resample(samples, rate_hz, 8_000), 8_000),
    }  # fmt: skip
    for name, (copy, copy_rate_hz) in plain.items():
        yield name, encode(copy, copy_rate_hz, "WAV"), ".wav"
    for name in ("FLAC", "MP3", "OGG"):
        yield name, encode(samples, rate_hz, name), f".{name.lower()}"


def encode(samples: np.ndarray, rate_hz: int, container: str) -> bytes:
    """Return a clip as the bytes of a file."""
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate_hz, format=container)
    return stream.getvalue()


def main(roots: list[str]) -> None:
    """Print hits by form, and false alarms."""
    paths = [path for root in roots for path in sorted(Path(root).rglob("*.wav"))]
    originals = [measure_clip(path, max_duration_s=MOST_S) for path in paths]
    prints = [clip.fingerprint for clip in originals]
    pairs = find_near_copies(prints)
    n_pairs = len(paths) * (len(paths) - 1) // 2
    print(f"{len(paths)} clips: {len(pairs)} of {n_pairs} pairs are called the same sound")
    for pair in pairs:
        same = originals[pair.first].audio_id == originals[pair.second].audio_id
        print(f"  {paths[pair.first].name} = {paths[pair.second].name}: {pair.wrong_bits:.3f}{' (identical)' * same}")
    hits: dict[str, list[float]] = {}
    copied = range(0, len(paths), EVERY)
    with tempfile.TemporaryDirectory() as folder:
        for place in copied:
            samples, rate_hz = soundfile.read(paths[place], always_2d=True)
            for name, content, suffix in forms(samples.mean(axis=1), rate_hz):
                path = Path(folder) / f"copy{suffix}"
                path.write_bytes(content)
                copy = measure_clip(path, max_duration_s=MOST_S).fingerprint
                found = find_near_copies([prints[place], copy])
                hits.setdefault(name, []).append(found[0].wrong_bits if found else np.nan)
    for name, values in hits.items():
        wrong = np.array(values)
        found = int(np.isfinite(wrong).sum())
        print(f"{name:12} {found} of {len(wrong)} found; wrong bits up to {np.nanmax(wrong):.3f}")


if __name__ == "__main__":
    main(sys.argv[1:])
