"""How much faster are all pairs at once than pair by pair, how exact, in how much memory, and how does it grow?

Question: what does linear CKA, biased and debiased, of 200 representations of 1231 clips and 1024 dimensions cost?

    pair by pair     each pair for itself in feature space, in float64: both centred, X'Y, X'X, Y'Y, the clips' norms
    own terms kept   the same, where X'X and Y'Y are computed once a representation and kept
    own, float32     the same in float32
    all pairs        cka_pairs: centred Gram matrices in blocks of rows right of the diagonal, float32 products added up
                     in float64, every pair in one matrix product
    with intervals   the same, with 91 speakers left out one at a time

Pair by pair is timed on some pairs and extrapolated to all 20100 (each pair once, and each with itself). Wall time
and processor time are given: the second does not depend on what else the machine does. Memory is what the computation
adds to the process that holds the features. Errors are against float64, pair by pair, on pairs of all kinds.

Growth: clips at 25 representations, and representations at 1000 clips, both of 256 dimensions; from 100 000 clips on by
minibatches. Each point is a process of its own. The exponent is the slope of log time over log size, between the last
two points: where fixed costs no longer count.

Command:  python benchmarks/similarity.py
Result:   benchmarks/results/similarity.md
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ser_probe.analysis.similarity.cka import cka_pairs
from ser_probe.analysis.similarity.measures import measure_pairs
from ser_probe.analysis.similarity.options import Options
from ser_probe.analysis.similarity.sources import Sides

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where `tests` is found
from tests.analysis.similarity.oracle_cka import linear_cka

RESULTS = Path(__file__).parent / "results" / "similarity.md"
TARGET, TARGET_ERROR, TARGET_MIB = 120, 1e-6, 1024
COUNT, CLIPS, WIDTH, SPEAKERS = 200, 1231, 1024, 91
GROWTH_WIDTH, GROWTH_COUNT, GROWTH_CLIPS = 256, 25, 1000
CLIP_POINTS, COUNT_POINTS, BATCH_POINTS = (1000, 3000, 10_000), (25, 200, 1000), (1000, 10_000, 100_000)
MEASURED = ("cka_rbf_debiased", "distance_correlation_debiased", "rsa_pearson", "rsa", "mutual_knn")


def make_layers(count: int, clips: int, width: int, seed: int = 0) -> list[np.ndarray]:
    """Return float32 layers, neighbours more alike than others, with a large mean, as those of transformers."""
    rng = np.random.default_rng(seed)
    state = rng.standard_normal((clips, width), dtype=np.float32)
    layers = []
    for _ in range(count):
        state += 0.2 * rng.standard_normal((clips, width), dtype=np.float32)
        layer = state * np.geomspace(3, 0.3, width, dtype=np.float32)
        layer += 20 * rng.standard_normal(width, dtype=np.float32)
        layers.append(layer)
    return layers


def by_features(
    x: np.ndarray, y: np.ndarray, own: Sequence[tuple[float, np.ndarray]] | None = None
) -> tuple[float, float]:
    """Return biased and debiased CKA of centred features; their own terms may be given."""
    n = len(x)
    own_x, own_y = own or (own_terms(x), own_terms(y))
    cross = float(((x.T @ y) ** 2).sum())

    def debias(product: float, a: np.ndarray, b: np.ndarray) -> float:
        return product - n / (n - 2) * float(a @ b) + float(a.sum()) * float(b.sum()) / ((n - 1) * (n - 2))

    pairs = ((own_x, own_x), (own_y, own_y))
    biased = cross / math.sqrt(own_x[0] * own_y[0])
    parts = [debias(a[0], a[1], b[1]) for a, b in pairs]
    return biased, debias(cross, own_x[1], own_y[1]) / math.sqrt(parts[0] * parts[1])


def own_terms(x: np.ndarray) -> tuple[float, np.ndarray]:
    return float(((x.T @ x) ** 2).sum()), (x**2).sum(axis=1)


def centred(x: np.ndarray, dtype: type) -> np.ndarray:
    x = x.astype(dtype)
    return x - x.mean(axis=0)


def timed(work: Callable[[], Any], repeats: int) -> tuple[Any, float, float]:
    """Return what the work returned, and the least wall and processor time of some runs, in s."""
    best = [math.inf, math.inf]
    for _ in range(repeats):
        wall, processor = time.perf_counter(), time.process_time()
        made = work()
        best = [min(best[0], time.perf_counter() - wall), min(best[1], time.process_time() - processor)]
    return made, best[0], best[1]


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def compare_ways() -> dict[str, Any]:
    """Time all ways on one set of layers; pair by pair on some pairs."""
    layers = make_layers(COUNT, CLIPS, WIDTH)
    pairs_in_all = COUNT * (COUNT + 1) // 2
    some = [(0, 1), (0, COUNT - 1), (7, 90), (150, 151)]
    before = peak_mib()
    cka_pairs(layers[:2])
    warmed = peak_mib()
    found, wall, processor = timed(lambda: cka_pairs(layers), 3)
    added = peak_mib() - before
    rows = {"all pairs": (wall, processor, added)}
    groups = np.sort(np.random.default_rng(1).integers(0, SPEAKERS, CLIPS)).astype(str)
    _, wall, processor = timed(lambda: cka_pairs(layers, groups=groups), 2)
    rows["with intervals"] = (wall, processor, peak_mib() - before)
    errors = [0.0, 0.0]
    for i, j in [*some, (3, 3), (20, 60), (99, 100), (10, 180)]:
        errors[0] = max(errors[0], abs(found.biased.value[i, j] - linear_cka(layers[i], layers[j], debiased=False)))
        errors[1] = max(errors[1], abs(found.debiased.value[i, j] - linear_cka(layers[i], layers[j])))

    def pair_by_pair() -> None:
        for i, j in some:
            by_features(centred(layers[i], np.float64), centred(layers[j], np.float64))

    for name, dtype in (("own terms kept", np.float64), ("own, float32", np.float32)):
        ready = {i: centred(layers[i], dtype) for pair in some for i in pair}
        own = {i: own_terms(x) for i, x in ready.items()}

        def kept(ready: dict = ready, own: dict = own) -> list[tuple[float, float]]:
            return [by_features(ready[i], ready[j], (own[i], own[j])) for i, j in some]

        values, wall, processor = timed(kept, 3)
        factor = pairs_in_all / len(some)
        rows[name] = (wall * factor, processor * factor, math.nan)
        if dtype is np.float32:
            plain = [abs(value - linear_cka(layers[i], layers[j], debiased=k == 1))
                     for (i, j), both in zip(some, values, strict=True) for k, value in enumerate(both)]  # fmt: skip
    _, wall, processor = timed(pair_by_pair, 3)
    rows["pair by pair"] = (wall * pairs_in_all / len(some), processor * pairs_in_all / len(some), math.nan)
    return {"rows": rows, "errors": errors, "plain_error": max(plain), "warm": warmed - before}


def measure_point(kind: str, size: int) -> dict[str, float]:
    """Time one point of growth."""
    count = size if kind == "representations" else GROWTH_COUNT
    clips = GROWTH_CLIPS if kind in ("representations", "measures") else size
    layers = make_layers(min(count, 5 if clips > 20_000 else GROWTH_COUNT), clips, GROWTH_WIDTH)
    repeated = [layers[i % len(layers)] for i in range(count)]
    before = peak_mib()
    if kind == "measures":
        _, wall, processor = timed(lambda: measure_pairs([MEASURED[size]], Sides(repeated), Options()), 2)
    elif kind == "minibatch":
        _, wall, processor = timed(lambda: measure_pairs(["cka_minibatch"], Sides(repeated), Options()), 1)
    else:
        _, wall, processor = timed(lambda: cka_pairs(repeated), 1 if max(size, clips) > 5000 else 2)
    return {"wall": wall, "processor": processor, "mib": peak_mib() - before}


def in_a_process(*words: object) -> dict[str, Any]:
    done = subprocess.run([sys.executable, __file__, *map(str, words)], check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return the exponent between the last two points."""
    return math.log(values[-1] / values[-2]) / math.log(sizes[-1] / sizes[-2])


def report() -> str:
    ways = in_a_process("--ways")
    rows, errors = ways["rows"], ways["errors"]
    base = rows["pair by pair"]
    lines = [
        "# All pairs of representations at once",
        "",
        f"Written by `python benchmarks/similarity.py` on {datetime.date.today()}: {os.cpu_count()} cores, "
        f"{platform.machine()}, Python {platform.python_version()}, numpy {version('numpy')}.",
        "",
        f"Linear CKA, biased and debiased, of {COUNT} representations of {CLIPS} clips x {WIDTH} (float32).",
        "",
        "| way | wall s | processor s | times faster (wall) | times faster (processor) | added MiB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name in ("pair by pair", "own terms kept", "own, float32", "all pairs", "with intervals"):
        wall, processor, mib = rows[name]
        memory = "" if math.isnan(mib) else f"{mib:.0f}"
        estimated = " (extrapolated)" if math.isnan(mib) else ""
        faster = f"{base[0] / wall:.0f} | {base[1] / processor:.0f}"
        lines.append(f"| {name}{estimated} | {wall:.1f} | {processor:.1f} | {faster} | {memory} |")
    # Other work on the machine lengthens wall times, and not all alike: the smaller ratio counts.
    ratio, added = min(base[k] / rows["all pairs"][k] for k in (0, 1)), rows["all pairs"][2]
    met = ratio >= TARGET and max(errors) < TARGET_ERROR and added < TARGET_MIB
    lines += [
        "",
        f"Largest difference from float64: biased {errors[0]:.1e}, debiased {errors[1]:.1e}; of float32 in feature "
        f"space {ways['plain_error']:.1e}. Target: at least {TARGET} times faster than pair by pair, within "
        f"{TARGET_ERROR:.0e}, under {TARGET_MIB} MiB: {'met' if met else 'NOT met'} ({ratio:.0f} times, "
        f"{added:.0f} MiB).",
        "",
        "## Growth",
        "",
        f"{GROWTH_WIDTH} dimensions. Exponents are of processor time and of memory, between the last two points.",
        "",
        "| what grows | size | wall s | processor s | added MiB |",
        "|---|---:|---:|---:|---:|",
    ]
    exponents = []
    for kind, title, sizes in (
        ("clips", f"clips, {GROWTH_COUNT} representations, all pairs of clips", CLIP_POINTS),
        ("minibatch", f"clips, {GROWTH_COUNT} representations, minibatches of 256", BATCH_POINTS),
        ("representations", f"representations, {GROWTH_CLIPS} clips", COUNT_POINTS),
    ):
        points = [in_a_process("--point", kind, size) for size in sizes]
        lines += [
            f"| {title} | {size} | {p['wall']:.2f} | {p['processor']:.2f} | {p['mib']:.0f} |"
            for size, p in zip(sizes, points, strict=True)
        ]
        times, memory = ([p[key] for p in points] for key in ("processor", "mib"))
        exponents.append(f"- {title}: time {slope(sizes, times):.2f}, memory {slope(sizes, memory):.2f}")
    lines += ["", *exponents, "", "## Other measures", ""]
    lines += [f"{GROWTH_COUNT} representations of {GROWTH_CLIPS} clips x {GROWTH_WIDTH}, all 325 pairs.", ""]
    lines += ["| measure | wall s | processor s | added MiB |", "|---|---:|---:|---:|"]
    for place, name in enumerate(MEASURED):
        p = in_a_process("--point", "measures", place)
        lines.append(f"| {name} | {p['wall']:.2f} | {p['processor']:.2f} | {p['mib']:.0f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--ways", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--point", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.ways:
        print(json.dumps(compare_ways()))
    elif given.point:
        print(json.dumps(measure_point(given.point[0], int(given.point[1]))))
    else:
        text = report()
        given.output.write_text(text, encoding="utf-8")
        print(text)


if __name__ == "__main__":
    main()
