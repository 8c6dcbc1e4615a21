"""What does extraction do when a machine's memory really ends: a limit on the process, and no simulated error.

Question: a batch of 600 padded seconds does not fit; does the run halve it, say so, and end with the values of a run
without a limit? And where not even one clip fits, does it say what to do, and keep what was computed?

    no limit        the whole batch at once
    +N MiB          the process may take N MiB more than it has when extraction begins (RLIMIT_DATA, which Linux
                    counts for the heap and for private memory: allocations then fail as on a machine without more)
    scarce          where half a batch hardly fits: oneDNN, once refused, makes no more kernels in a process, so the run
                    may have to be begun again with smaller batches, as its message says
    one clip        so little that no clip fits; then again without the limit

Each run has a process of its own.

Command:  python benchmarks/out_of_memory.py
Result:   benchmarks/results/out_of_memory.md
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
MODEL = "tiny-wavlm-base"
BUDGET_S = 600.0
ROOMS_MIB = (450, 400, 350)
SCARCE_MIB, SCARCE_BUDGET_S = 250, 30.0
TOO_LITTLE_MIB = 100
TOLERANCE = 1e-6
LIMIT_S = 300


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Args:
        room: What it was given.
        n_computed: Clips that it computed.
        peak_mib: The most that it held.
        log: What it said of memory.
        error: The message it ended with, if any.
        difference: Largest relative difference to the run without a limit, per clip and layer.
    """

    room: str
    n_computed: int
    peak_mib: float
    log: tuple[str, ...]
    error: str
    difference: float | None


def extract_clips(path: Path, root: Path, n_clips: int, room_mib: int, budget_s: float) -> None:
    """Extract in one batch, in this process, which may take so much more memory; 0 for no limit."""
    import resource

    import pandas as pd
    import torch

    from ser_probe.audio.load import AudioSpec, inspect_clip
    from ser_probe.embeddings.extract import CacheRequest, extract
    from ser_probe.embeddings.passes import ClipList, ExtractionSettings
    from ser_probe.errors import SerProbeError
    from ser_probe.models.loading import load_backbone

    torch.set_num_threads(1)
    files = sorted(root.rglob("*.wav"))
    files = files[:: max(1, len(files) // n_clips)][:n_clips]
    facts = [inspect_clip(file) for file in files]
    table = pd.DataFrame(
        {
            "clip_id": [fact.clip_id for fact in facts],
            "path": [file.name for file in files],
            "duration_s": [fact.duration_s for fact in facts],
        }
    )
    backbone = load_backbone(MODEL)
    if room_mib:
        status = Path("/proc/self/status").read_text()
        used = int(re.search(r"VmData:\s+(\d+) kB", status)[1]) << 10  # type: ignore[index]
        resource.setrlimit(resource.RLIMIT_DATA, (used + (room_mib << 20), resource.RLIM_INFINITY))
    settings = ExtractionSettings(AudioSpec(), batch_seconds=budget_s, workers=0)
    found: dict[str, object] = {"n_computed": 0, "error": ""}
    try:
        found["n_computed"] = extract([CacheRequest(backbone, path)], ClipList(table, files), settings)[0].n_computed
    except SerProbeError as error:
        found["error"] = str(error)
    found["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found))


def run(
    path: Path, options: argparse.Namespace, room_mib: int, whole: Path | None = None, budget_s: float = BUDGET_S
) -> Ended:
    """Extract in a process of its own."""
    words = ["--worker", str(path), "--room", str(room_mib), "--root", str(options.root), "--clips", str(options.clips)]
    words += ["--budget", str(budget_s)]
    done = subprocess.run(
        [sys.executable, __file__, *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"the run with {room_mib} MiB more failed:\n{done.stderr}")
    found = json.loads(done.stdout)
    log = tuple(line for line in done.stderr.splitlines() if "memory" in line.lower())
    difference = compare(whole, path) if whole is not None and path.exists() else None
    room = f"+{room_mib} MiB" if room_mib else "no limit"
    room += "" if budget_s == BUDGET_S else f", batches of {budget_s:g} s"
    return Ended(room, found["n_computed"], found["peak_mib"], log, found["error"], difference)


def compare(whole: Path, other: Path) -> float:
    """Return the largest relative difference of a clip's layer."""
    from ser_probe.embeddings.store import EmbeddingCache

    with EmbeddingCache.open(whole) as first, EmbeddingCache.open(other) as second:
        ours, theirs = (np.asarray(cache.array, dtype=np.float64) for cache in (second, first))
        theirs = theirs[:, first.positions(second.clip_ids)]
    return float((np.linalg.norm(ours - theirs, axis=-1) / np.linalg.norm(theirs, axis=-1)).max())


HEADER = "| memory | computed | failures | peak, MiB | to the run without a limit |"


def as_line(ended: Ended, n_clips: int) -> str:
    """Return a line of the table."""
    cells = [
        ended.room, f"{ended.n_computed} of {n_clips}", len(ended.log), f"{ended.peak_mib:.0f}",
        "" if ended.difference is None else f"{ended.difference:.1e}",
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def as_markdown(rows: Sequence[Ended], verdict: str, options: argparse.Namespace) -> str:
    """Return the report."""
    from ser_probe.runtime import run_record

    record = run_record(device="cpu")
    packages = ", ".join(
        f"{name} {record['packages'][name]}" for name in ("ser-probe", "torch", "transformers", "numpy")
    )
    said = [
        line for row in rows if row.log or row.error for line in (f"{row.room}:", *row.log, *row.error.splitlines())
    ]
    return "\n".join(
        [
            "# Memory that really ends",
            "",
            f"{record['time_utc']}; {options.clips} clips of {options.root.name}, {MODEL}, batches of {BUDGET_S:g} "
            f"padded seconds; {packages}; Python {record['python']}, {record['platform']}, 1 thread.",
            "",
            f"**{verdict}**",
            "",
            HEADER,
            "|---|--:|--:|--:|--:|",
            *(as_line(row, options.clips) for row in rows),
            "",
            "What was said:",
            "",
            "```",
            *said,
            "```",
            "",
            "Made by `benchmarks/out_of_memory.py`, whose header says what the lines are.",
            "",
        ]
    )


def main() -> int:
    """Run with and without limits, print the table and write it; 1 where a run is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=REPOSITORY.parent / "shared" / "data" / "EMOVO")
    parser.add_argument("--clips", type=int, default=98)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "benchmarks" / "results" / "out_of_memory.md")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--budget", type=float, default=BUDGET_S, help=argparse.SUPPRESS)
    parser.add_argument("--room", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        extract_clips(options.worker, options.root, options.clips, options.room, options.budget)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        whole = run(folder / "whole.h5", options, 0)
        rows = [whole]
        for room_mib in ROOMS_MIB:
            rows.append(run(folder / f"{room_mib}.h5", options, room_mib, folder / "whole.h5"))
            print(rows[-1], flush=True)
        halved = all(row.log and not row.error and (row.difference or 0.0) <= TOLERANCE for row in rows[1:])
        scarce = [run(folder / "scarce.h5", options, SCARCE_MIB, folder / "whole.h5")]
        if scarce[0].error:
            scarce.append(run(folder / "scarce.h5", options, SCARCE_MIB, folder / "whole.h5", SCARCE_BUDGET_S))
        rows += scarce
        completed = not scarce[-1].error and (scarce[-1].difference or 0.0) <= TOLERANCE
        least = run(folder / "least.h5", options, TOO_LITTLE_MIB)
        after = run(folder / "least.h5", options, 0, folder / "whole.h5")
        rows += [least, after]
        ends = "too little memory for one stretch" in least.error and after.n_computed == options.clips
    worst = max(row.difference or 0.0 for row in rows)
    again = "ends with a message and, begun again with smaller batches as it says, is" if scarce[0].error else "is"
    verdict = (
        f"With +{ROOMS_MIB[0]} to +{ROOMS_MIB[-1]} MiB the batch is "
        f"{'halved, it is said, and all clips are computed' if halved else 'NOT halved with a right end'}. With "
        f"+{SCARCE_MIB} MiB the run {again} {'completed' if completed else 'NOT completed'}. Where no clip fits the "
        f"run {'says what to do and is finished later' if ends else 'DOES NOT say so'}. All values are within "
        f"{worst:.1e} of the run without a limit (allowed {TOLERANCE:g})."
    )
    report = as_markdown(rows, verdict, options)
    print(report)
    options.out.write_text(report, encoding="utf-8")
    return 0 if halved and completed and ends else 1


if __name__ == "__main__":
    sys.exit(main())
