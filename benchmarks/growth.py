"""How do time and memory of probes, acoustics, drift and geometry grow with clips, and with layers x checkpoints?

Question: by which power does each grow from 1000 over 10 000 to 100 000 clips, and from 25 over 200 to 1000
representations? Similarity has the same question answered in `similarity.py`.

Each point is a process of its own, on made features of width 128 (classes and a feature are readable from them). What
is counted is the work alone, without making the features; memory is the largest resident size less what it was before.
Geometry and drift hold distances between all pairs of clips, so they are not run with 100 000.

Command:  python benchmarks/growth.py
Result:   benchmarks/results/growth.md
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

RESULT = Path(__file__).resolve().parent / "results" / "growth.md"
WIDTH, N_SPEAKERS, N_CLASSES, N_TARGETS = 128, 20, 6, 8
CLIPS, FEW_REPRESENTATIONS = (1_000, 10_000, 100_000), 2
REPRESENTATIONS, FEW_CLIPS = (25, 200, 1_000), 500
NO_MORE_CLIPS = {"drift": 10_000, "geometry": 10_000}


def make(n_representations: int, n_clips: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return features [R, N, D], labels [N], numeric targets [N, K], speakers [N]."""
    rng = np.random.default_rng(0)
    speakers = np.arange(n_clips) % N_SPEAKERS
    labels = rng.integers(0, N_CLASSES, n_clips)
    targets = rng.standard_normal((n_clips, N_TARGETS))
    told = rng.standard_normal((N_CLASSES, WIDTH))[labels] * 0.4 + targets @ rng.standard_normal((N_TARGETS, WIDTH)) / 3
    x = np.empty((n_representations, n_clips, WIDTH), np.float32)
    for each in x:
        each[:] = rng.standard_normal(each.shape) + told
    return x, labels, targets, speakers


def probes(x: np.ndarray, labels: np.ndarray, targets: np.ndarray, speakers: np.ndarray) -> None:
    from ser_probe.analysis.probes.divisions import single_fold
    from ser_probe.analysis.probes.softmax import fit_softmax

    part = np.select([speakers < 12, speakers < 16], ["train", "validation"], "test")
    fit_softmax(x, np.stack([labels] * 2), single_fold(part), n_classes=N_CLASSES, seeds=(0, 1))


def acoustics(x: np.ndarray, labels: np.ndarray, targets: np.ndarray, speakers: np.ndarray) -> None:
    from ser_probe.analysis.acoustics.folds import acoustic_folds
    from ser_probe.analysis.acoustics.prediction import prepare_acoustic_targets, score_layers

    who = speakers.astype(str)
    prepared = prepare_acoustic_targets(targets, acoustic_folds(who, 5), speakers=who)
    for _ in score_layers(x, prepared):
        pass


def drift(x: np.ndarray, labels: np.ndarray, targets: np.ndarray, speakers: np.ndarray) -> None:
    from ser_probe.analysis.drift.table import layer_drift

    layer_drift(list(x), [(0, state) for state in range(1, len(x))], speakers=speakers.astype(str))


def geometry(x: np.ndarray, labels: np.ndarray, targets: np.ndarray, speakers: np.ndarray) -> None:
    from ser_probe.analysis.geometry.table import Geometry

    who = speakers.astype(str)
    measure = Geometry(len(labels), speakers=who, factors={"label": labels.astype(str), "speaker": who})
    for each in x:
        measure.measure(each)


WORK: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], None]] = {
    "probes": probes,
    "acoustics": acoustics,
    "drift": drift,
    "geometry": geometry,
}


def measure(name: str, n_representations: int, n_clips: int) -> dict[str, float]:
    """Do the work in this process; return its seconds and what memory it added."""
    import resource

    made = make(n_representations, n_clips)
    WORK[name](*make(2, 240))  # what is compiled or imported on first use
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, used = time.perf_counter(), time.process_time()
    WORK[name](*made)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "wall_s": time.perf_counter() - started,
        "cpu_s": time.process_time() - used,
        "mib": (after - before) / 1024,
    }


def exponent(sizes: list[int], values: list[float]) -> str:
    """Return the slope on logarithmic axes between the last two points."""
    if len(sizes) < 2 or min(values[-2:]) <= 0:
        return "–"
    return f"{np.log(values[-1] / values[-2]) / np.log(sizes[-1] / sizes[-2]):.2f}"


def main() -> None:
    """Measure every point in a process of its own; write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--point", nargs=3, default=None, help="one point: NAME REPRESENTATIONS CLIPS")
    options = parser.parse_args()
    if options.point:
        name, n_representations, n_clips = options.point
        print(json.dumps(measure(name, int(n_representations), int(n_clips))))
        return
    rows, slopes = [], []
    for name in WORK:
        clips = [n for n in CLIPS if n <= NO_MORE_CLIPS.get(name, n)]
        series = [("clips", [(FEW_REPRESENTATIONS, n) for n in clips]),
                  ("representations", [(r, FEW_CLIPS) for r in REPRESENTATIONS])]  # fmt: skip
        for what, points in series:
            found = []
            for n_representations, n_clips in points:
                line = [sys.executable, __file__, "--point", name, str(n_representations), str(n_clips)]
                found.append(json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout))
                rows.append(f"| {name} | {n_representations} | {n_clips} | {found[-1]['wall_s']:.2f} | "
                            f"{found[-1]['cpu_s']:.2f} | {found[-1]['mib']:.0f} |")  # fmt: skip
                print(rows[-1], flush=True)
            sizes = [point[what == "clips"] for point in points]
            time_slope = exponent(sizes, [each["cpu_s"] for each in found])
            slopes.append(f"| {name} | {what} | {time_slope} | {exponent(sizes, [each['mib'] for each in found])} |")
    versions = ", ".join(f"{name} {version(name)}" for name in ("ser-probe", "numpy", "scipy", "torch", "numba"))
    lines = [
        "# Growth of the analyses",
        "",
        f"{datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')}; width {WIDTH}, {N_SPEAKERS} speakers; "
        f"{versions}; Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} "
        "processors.",
        "",
        "Exponents, between the last two sizes: of processor time, and of the memory that the work adds.",
        "",
        "| analysis | with | time | memory |",
        "|---|---|--:|--:|",
        *slopes,
        "",
        "| analysis | representations | clips | wall s | processor s | added MiB |",
        "|---|--:|--:|--:|--:|--:|",
        *rows,
        "",
        "Made by `benchmarks/growth.py`, whose header says what is measured.",
    ]
    RESULT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
