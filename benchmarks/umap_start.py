"""How long does the first map of a process take, with and without UMAP's compiled code kept?

Question: umap and pynndescent are compiled when they are used, most of it again in every process. `analyze umap` keeps
the code beside the package, in a folder of the versions. What does that save, and what does it cost the first time?

Each way is a process of its own that makes one joint layout of two panels of 60 clips; the values are compared.

Command:  python benchmarks/umap_start.py [--rounds N]
Result:   benchmarks/results/umap_start.md
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from ser_probe.runtime import run_record, usable_cpus

RESULT = Path(__file__).parent / "results" / "umap_start.md"
MAP = """
import hashlib, sys, time
import numpy as np
from ser_probe.analysis import projection

if sys.argv[1] == "without":
    projection.keep_compiled = lambda: None
rng = np.random.default_rng(0)
panels = [rng.standard_normal((60, 12)) for _ in range(2)]
start = time.perf_counter()
maps = projection.umap_panels(panels[0], panels[1:], n_neighbors=8, seed=3).coordinates
print(time.perf_counter() - start, hashlib.sha256(np.stack(maps).tobytes()).hexdigest())
"""


def seconds(how: str, folder: Path) -> tuple[float, str]:
    """Return how long the first map of a fresh process takes, and the hash of its coordinates."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder)}
    command = [sys.executable, "-c", MAP, how]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    took, digest = done.stdout.split()
    return float(took), digest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    rounds = parser.parse_args().rounds
    found: dict[str, list[float]] = {"not kept": [], "kept, first process": [], "kept, later process": []}
    digests = set()
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as kept, tempfile.TemporaryDirectory() as other:
            # What the packages keep themselves is there before any of them is timed.
            for folder in (kept, other):
                seconds("without", Path(folder))
            for name, how, folder in (
                ("not kept", "without", other),
                ("kept, first process", "keep", kept),
                ("kept, later process", "keep", kept),
            ):
                took, digest = seconds(how, Path(folder))
                found[name].append(took)
                digests.add(digest)
    assert len(digests) == 1, "the maps differ"
    best = {name: min(values) for name, values in found.items()}
    record = run_record("cpu")
    lines = [
        "# The first map of a process\n",
        f"{record['time_utc']}; 2 panels of 60 clips, joint; {rounds} rounds, the quickest of each; the coordinates of "
        f"all processes are the same bits. umap-learn {version('umap-learn')}, numba {version('numba')}; Python "
        f"{record['python']}, {record['platform']}, {usable_cpus()} processors.\n",
        f"**A later process has its first map {best['not kept'] / best['kept, later process']:.1f} times as fast.**\n",
        "| compiled code | s, best round | all rounds |\n|---|--:|---|",
        *(
            f"| {name} | {best[name]:.1f} | {', '.join(f'{each:.1f}' for each in all_)} |"
            for name, all_ in found.items()
        ),
        "\nMade by `benchmarks/umap_start.py`, whose header says what is measured.\n",
    ]  # fmt: skip
    RESULT.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
