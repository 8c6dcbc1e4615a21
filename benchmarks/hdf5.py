"""How much slower are the embedding files than a raw memory map of the same bytes?

Question: what do checksums, atomic shards, sealing and HDF5 cost, in time, where the disk is the limit?

    raw map    numpy.memmap: the same batches written into one file of the final shape, then flushed; whole layers
               copied out of it
    shards     ShardWriter: a copy of each batch, its check for finite values, checksums, shards flushed and renamed
    seal       shards merged into the finished file in the manifest's order, every clip compared with its checksum, the
               file flushed and renamed: each byte is read and written a second time, by design
    layer      EmbeddingCache.layer of every layer of the open file

Two shapes: one vector a clip, whose batches come sorted by length, so that a clip's place in the file is random; and
every frame. Each figure is the median of interleaved runs in one process, everything in the page cache; writing ends
with the bytes on the disk. Only ratios within a run mean anything.

Command:  python benchmarks/hdf5.py
Result:   benchmarks/results/hdf5.md
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from ser_probe.embeddings.key import CacheKey
from ser_probe.embeddings.partials import shards_folder
from ser_probe.embeddings.seal import seal
from ser_probe.embeddings.shards import Rows, ShardWriter
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.embeddings.store_header import Layout

RESULTS = Path(__file__).parent / "results" / "hdf5.md"
TARGET = 1.3
WAYS = ("raw map, write", "shards", "seal", "raw map, read", "layer")


@dataclass(frozen=True)
class Work:
    """What is stored: batches of clips, in the order in which they are computed."""

    name: str
    layout: Layout
    n_frames: np.ndarray
    order: np.ndarray
    values: np.ndarray
    batch: int

    @property
    def clips(self) -> pd.DataFrame:
        ids = [f"{clip:032x}" for clip in range(len(self.n_frames))]
        return pd.DataFrame({"clip_id": ids, "path": ids})

    def batches(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield clips and their embeddings, contiguous as a model's output is."""
        ends = self.layout.offsets(self.n_frames[self.order])
        for start in range(0, len(self.order), self.batch):
            chosen = self.order[start : start + self.batch]
            yield chosen, self.values[:, ends[start] : ends[start + len(chosen)]]


def main() -> None:
    """Time all ways in turn and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7, help="interleaved runs of each way")
    parser.add_argument("--folder", type=Path, help="where to write; by default the system's temporary folder")
    options = parser.parse_args()
    lines = []
    for work in (pooled_work(), frames_work()):
        load = os.getloadavg()[0]
        seconds: dict[str, list[float]] = {way: [] for way in WAYS}
        for run in range(options.runs + 1):
            with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
                timed = time_ways(work, Path(scratch), raw_first=run % 2 == 0)
            for way, spent in timed.items() if run else ():  # the first warms up
                seconds[way].append(spent)
        lines += report(work, {way: statistics.median(spent) for way, spent in seconds.items()}, load)
        print("\n".join(lines[-9:]), flush=True)
    write_results(lines, options.runs)


def pooled_work() -> Work:
    """25 layers of width 1024, 2000 clips: 195 MiB, in batches of 16 clips sorted by length."""
    n_clips, layout = 2000, Layout(tuple(map(str, range(25))), 1024)
    rng = np.random.default_rng(0)
    values = rng.standard_normal((25, n_clips, 1024), dtype=np.float32)
    return Work("one vector a clip", layout, np.full(n_clips, 130), rng.permutation(n_clips), values, 16)


def frames_work() -> Work:
    """13 layers of width 768, 120 clips of 60 to 200 frames: some 600 MiB, in batches of 8 clips."""
    n_clips, layout = 120, Layout(tuple(map(str, range(13))), 768, ragged=True)
    rng = np.random.default_rng(0)
    n_frames = rng.integers(60, 200, n_clips)
    values = rng.standard_normal((13, int(n_frames.sum()), 768), dtype=np.float32)
    return Work("every frame", layout, n_frames, np.argsort(-n_frames), values, 8)


def time_ways(work: Work, folder: Path, *, raw_first: bool) -> dict[str, float]:
    """Return the seconds of each way, of the same bytes; in turn the raw map first or last, for the disk remembers."""
    path, raw = folder / "x.h5", folder / "x.raw"
    kind = "frames" if work.layout.ragged else "mean"
    key = CacheKey("embeddings", "0" * 64, {}, {}, {}, kind, "fp32", 1)
    clips = work.clips
    batches = [(chosen, values.copy()) for chosen, values in work.batches()]
    spent: dict[str, float] = {}
    if raw_first:
        spent["raw map, write"] = clock(lambda: write_raw(work, raw, batches))
    spent["shards"] = clock(lambda: write_shards(work, path, key, batches))
    spent["seal"] = clock(lambda: seal(path, key, clips))
    if not raw_first:
        spent["raw map, write"] = clock(lambda: write_raw(work, raw, batches))
    if shards_folder(path).exists():
        raise SystemExit("the shards were not merged")
    mapped = np.memmap(raw, np.float32, mode="r", shape=work.values.shape)
    with EmbeddingCache.open(path) as cache:
        for layer, name in enumerate(cache.layer_names):
            if not np.array_equal(np.array(mapped[layer]), cache.layer(name)):
                raise SystemExit("what was read is not what was written")
        # One layer at a time, let go at once: else the first way to run pays for the memory of all.
        reads = {
            "raw map, read": lambda: [np.array(layer).shape for layer in mapped],
            "layer": lambda: [cache.layer(name).shape for name in cache.layer_names],
        }
        for way in reads if raw_first else reversed(reads):
            spent[way] = clock(reads[way])
    return spent


def clock(work: Callable[[], object]) -> float:
    """Return the seconds that some work takes."""
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def write_raw(work: Work, path: Path, batches: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Write the batches into a memory map, each clip at its place, and flush it."""
    mapped = np.memmap(path, np.float32, mode="w+", shape=work.values.shape)
    offsets = work.layout.offsets(work.n_frames)
    for chosen, values in batches:
        start = 0
        for clip in chosen:
            count = offsets[clip + 1] - offsets[clip]
            mapped[:, offsets[clip] : offsets[clip + 1]] = values[:, start : start + count]
            start += count
    mapped.flush()


def write_shards(work: Work, path: Path, key: CacheKey, batches: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Commit the batches as shards."""
    with ShardWriter(path, key, work.layout) as writer:
        for chosen, values in batches:
            ids = [f"{clip:032x}" for clip in chosen]
            writer.add(Rows(ids, values, work.n_frames[chosen], np.ones(len(chosen))))


def report(work: Work, seconds: dict[str, float], load: float) -> list[str]:
    """Return the table of one shape."""
    size_mib = work.values.nbytes / 2**20
    write_s, read_s = seconds["raw map, write"], seconds["raw map, read"]
    rows = {
        "raw map, write": (write_s, write_s),
        "shards": (seconds["shards"], write_s),
        "seal": (seconds["seal"], write_s),
        "shards and seal": (seconds["shards"] + seconds["seal"], write_s),
        "raw map, read": (read_s, read_s),
        "layer": (seconds["layer"], read_s),
    }
    lines = [
        f"| {work.name}: {size_mib:.0f} MiB, load {load:.1f} | seconds | MiB/s | to the raw map |",
        "|---|--:|--:|--:|",
    ]
    for name, (spent, raw) in rows.items():
        lines.append(f"| {name} | {spent:.3f} | {size_mib / spent:.0f} | {spent / raw:.2f}x |")
    return [*lines, ""]


def write_results(lines: list[str], runs: int) -> None:
    """Write the tables with what they were made with."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("ser-probe", "h5py", "numpy"))
    text = [
        "# Embedding files against a raw memory map",
        "",
        f"`python benchmarks/hdf5.py --runs {runs}`, {datetime.datetime.now(datetime.UTC):%Y-%m-%d}; "
        f"Python {platform.python_version()}, {packages}; {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores. Medians of {runs} interleaved runs; the load is the system's when the runs began.",
        "",
        f"Target: shards and layer within {TARGET}x. Sealing writes every byte a second time.",
        "",
        *lines,
        "Made by `benchmarks/hdf5.py`, whose header says what each line is.",
        "",
    ]
    RESULTS.write_text("\n".join(text))


if __name__ == "__main__":
    main()
