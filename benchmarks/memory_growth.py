"""Does the memory of an extraction grow with the corpus?

Question: what is the peak of `ser-probe extract` (the main process, and the worker that decodes) while the manifest
grows from 500 to 20 000 clips, and that of sealing alone? It should stay flat but for the index: ids, paths and numbers
of each clip.

The clips are EMOVO's, cut to 0.6 s, repeated under new names with the low bit of one sample changed, so that each is
content of its own. The command runs as it is, storing means in float32. What counts is the memory that a process has
for itself (RssAnon, read every 10 ms), because how much of its libraries' files is held depends on the machine's other
work. Sealing is measured in a process of its own that does nothing else, on shards of random values.

Command:  python benchmarks/memory_growth.py
Result:   benchmarks/results/memory_growth.md
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
MODEL = "tiny-wavlm-base"
SIZES = (500, 2_000, 5_000, 20_000)
CLIP_S = 0.6
RATE_HZ = 16_000
ROWS_PER_SHARD = 500


@dataclass(frozen=True)
class Peak:
    """The most memory that a size took, in MiB."""

    n_clips: int
    main_mib: float
    worker_mib: float
    seal_mib: float
    file_mib: float
    seconds: float


def write_clips(folder: Path, root: Path, count: int) -> None:
    """Write clips of distinct content, and a manifest for each size."""
    from ser_probe.audio.load import AudioSpec, load_clip

    files = sorted(root.rglob("*.wav"))
    n_samples = int(CLIP_S * RATE_HZ)
    sources = []
    for file in files[: min(len(files), 600)]:
        samples = load_clip(file, AudioSpec()).samples
        middle = max(0, (len(samples) - n_samples) // 2)
        sources.append((samples[middle : middle + n_samples] * 32767).astype("<i2"))
    (folder / "clips").mkdir()
    names = []
    for number in range(count):
        samples = sources[number % len(sources)].copy()
        samples[number // len(sources)] ^= 1
        names.append(f"clips/{number:05d}.wav")
        with wave.open(str(folder / names[-1]), "wb") as stream:
            stream.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
            stream.writeframes(samples.tobytes())
    for size in SIZES:
        if size <= count:
            (folder / f"{size}.csv").write_text("path\n" + "\n".join(names[:size]) + "\n")


def memory_of(pid: int) -> dict[int, float]:
    """Return what a process and its children have for themselves, in MiB."""
    found = {}
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        pids = [pid, *map(int, children.read_text().split())]
    except OSError:
        return {}
    for each in pids:
        try:
            status = Path(f"/proc/{each}/status").read_text()
        except OSError:
            continue
        line = next((line for line in status.splitlines() if line.startswith("RssAnon")), None)
        if line is not None:
            found[each] = int(line.split()[1]) / 1024
    return found


def watch(words: Sequence[str], folder: Path) -> tuple[float, float, float]:
    """Run a command; return the peak of its process, the largest of a child, and the seconds."""
    began_s = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    main_mib = child_mib = 0.0
    while process.poll() is None:
        for pid, mib in memory_of(process.pid).items():
            if pid == process.pid:
                main_mib = max(main_mib, mib)
            else:
                child_mib = max(child_mib, mib)
        time.sleep(0.01)
    assert process.stderr is not None
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{process.stderr.read()[-2000:]}")
    return main_mib, child_mib, time.monotonic() - began_s


def seal_shards(path: Path, count: int) -> None:
    """Write shards of random values, and measure nothing; or seal those that are there."""
    import pandas as pd

    from ser_probe.embeddings.key import CacheKey
    from ser_probe.embeddings.partials import shards_folder
    from ser_probe.embeddings.seal import seal
    from ser_probe.embeddings.shards import Rows, ShardWriter
    from ser_probe.embeddings.store_header import Layout

    key = CacheKey("embeddings", "0" * 64, {}, {}, {}, "mean", "fp32", layer_contract=1)
    layout = Layout(tuple(map(str, range(4))), 96)
    ids = [f"{number:032x}" for number in range(count)]
    if shards_folder(path).exists():
        seal(path, key, pd.DataFrame({"clip_id": ids, "path": [f"clips/{number:05d}.wav" for number in range(count)]}))
        return
    rng = np.random.default_rng(0)
    # As in extraction, where clips come sorted by length and not in the manifest's order.
    order = rng.permutation(count)
    with ShardWriter(path, key, layout, seconds_per_shard=1e9) as writer:
        for start in range(0, count, ROWS_PER_SHARD):
            rows = order[start : start + ROWS_PER_SHARD]
            values = rng.standard_normal((4, len(rows), 96), dtype=np.float32)
            writer.add(Rows([ids[row] for row in rows], values, np.full(len(rows), 29), np.full(len(rows), CLIP_S)))
            writer.commit()


def measure(folder: Path, size: int) -> Peak:
    """Return the peaks of a size."""
    words = ["-m", "ser_probe.cli.main", "extract", f"{size}.csv", "--model", MODEL, "-o", f"{size}.h5"]
    main_mib, worker_mib, seconds = watch([*words, "--device", "cpu", "--verify", "0"], folder)
    file_mib = (folder / f"{size}.h5").stat().st_size / 2**20
    seal_words = [str(Path(__file__).resolve()), "--seal", str(folder / f"seal-{size}.h5"), "--clips", str(size)]
    watch(seal_words, folder)
    seal_mib, _, _ = watch(seal_words, folder)
    return Peak(size, main_mib, worker_mib, seal_mib, file_mib, seconds)


HEADER = "| clips | extract, MiB | its worker, MiB | sealing alone, MiB | finished file, MiB | seconds |"


def as_line(peak: Peak) -> str:
    """Return a line of the table."""
    cells = [
        f"{peak.n_clips}", f"{peak.main_mib:.0f}", f"{peak.worker_mib:.0f}", f"{peak.seal_mib:.0f}",
        f"{peak.file_mib:.1f}", f"{peak.seconds:.0f}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def as_markdown(peaks: Sequence[Peak], verdict: str, root: Path) -> str:
    """Return the report."""
    from ser_probe.runtime import run_record

    record = run_record(device="cpu")
    names = ("ser-probe", "torch", "transformers", "h5py", "pandas", "numpy")
    packages = ", ".join(f"{name} {record['packages'][name]}" for name in names)
    return "\n".join(
        [
            "# Memory while the corpus grows",
            "",
            f"{record['time_utc']}; clips of {root.name} cut to {CLIP_S:g} s, {MODEL}, means in float32; {packages}; "
            f"Python {record['python']}, {record['platform']}, 1 thread.",
            "",
            f"**{verdict}**",
            "",
            HEADER,
            "|--:|--:|--:|--:|--:|--:|",
            *map(as_line, peaks),
            "",
            "Made by `benchmarks/memory_growth.py`, whose header says what is measured.",
            "",
        ]
    )


def main() -> None:
    """Measure every size, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=REPOSITORY.parent / "shared" / "data" / "EMOVO")
    parser.add_argument("--clips", type=int, default=SIZES[-1], help="of the largest manifest")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "benchmarks" / "results" / "memory_growth.md")
    parser.add_argument("--seal", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.seal:
        seal_shards(options.seal, options.clips)
        return
    peaks = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_clips(folder, options.root, options.clips)
        print(HEADER)
        for size in (size for size in SIZES if size <= options.clips):
            peaks.append(measure(folder, size))
            print(as_line(peaks[-1]), flush=True)
    first, last = peaks[0], peaks[-1]
    thousands = max(last.n_clips - first.n_clips, 1) / 1000
    growth = {name: (getattr(last, name) - getattr(first, name)) / thousands for name in ("main_mib", "seal_mib")}
    verdict = (
        f"From {first.n_clips} to {last.n_clips} clips: extraction takes {growth['main_mib']:.2f} MiB more per 1000 "
        f"clips, its worker {(last.worker_mib - first.worker_mib) / thousands:.2f}, sealing alone "
        f"{growth['seal_mib']:.2f}; the file grows by {(last.file_mib - first.file_mib) / thousands:.2f} per 1000."
    )
    print(verdict)
    options.out.write_text(as_markdown(peaks, verdict, options.root), encoding="utf-8")


if __name__ == "__main__":
    main()
