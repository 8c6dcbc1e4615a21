"""How much faster does the probe engine train Study E's probes than plain torch, one probe at a time?

Question: 2000 linear softmax probes (8 checkpoints x 25 layers x 10 seeds; 985 clips train, 123 stop, 123 test; width
1024, 6 classes; Adam at 1e-2, batches of 16, early stopping) - how long does `fit_softmax` take, and how long the usual
way: `nn.Linear`, `cross_entropy`, `backward`, `torch.optim.Adam`? A stricter second way writes the gradient and Adam
out in torch. All start from the same weights, see the same batches and stop by the same rule; do they stop in the same
epoch, with the same accuracy? The stricter way in float64 tells what rounding alone does.

The features are correlated as embeddings are: 16 directions and a little noise. In these the class means grow with the
layer and the checkpoint, so that some probes learn nothing and some everything, and they stop at different epochs. The
engine trains all probes, and its time includes standardising and the logits of all clips. The ways of torch train a
random sample, on features that are standardised already, with the number of threads that is quicker here, and their
time is extrapolated. Engine and torch take turns, checkpoint by checkpoint, so that other work on the machine meets
both. Time to compile is measured in a process of its own.

Command:  python benchmarks/probe_engine.py
Result:   benchmarks/results/probe_engine.md
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from ser_probe.analysis.probes.families import TEST, TRAIN, VALIDATION, ClassProbes, Folds  # noqa: E402
from ser_probe.analysis.probes.layer_sum import fit_layer_sum  # noqa: E402
from ser_probe.analysis.probes.mlp import fit_mlp  # noqa: E402
from ser_probe.analysis.probes.softmax import fit_softmax  # noqa: E402
from ser_probe.analysis.probes.training import (  # noqa: E402
    ADAM_DECAYS,
    ADAM_EPSILON,
    ProbeOptions,
    epoch_orders,
    initial_weights,
    standardise,
)

N_CHECKPOINTS, N_LAYERS, N_SEEDS = 8, 25, 10
SIZES = {TRAIN: 985, VALIDATION: 123, TEST: 123}
N_CLIPS, WIDTH, N_CLASSES, LATENT = sum(SIZES.values()), 1024, 6, 16
OPTIONS = ProbeOptions()
FOLDS = Folds(["study"], np.repeat(list(SIZES), list(SIZES.values())).astype(np.int8)[None])
SEEDS = list(range(N_SEEDS))
COMPILE = """
import time
import numpy as np
from ser_probe.analysis.probes.families import Folds
from ser_probe.analysis.probes.softmax import fit_softmax
x, y = np.zeros((1, 9, 5), np.float32), np.zeros((1, 9), int)
began = time.perf_counter()
fit_softmax(x, y, Folds(["a"], np.repeat([0, 1, 2], 3).astype(np.int8)[None]), n_classes=2, seeds=[0])
print(time.perf_counter() - began)
"""


@dataclass(frozen=True)
class Probe:
    """What came of a probe of the sample."""

    checkpoint: int
    layer: int
    seed: int
    epochs: int
    predictions: np.ndarray


@dataclass
class Alone:
    """A way to train one probe at a time: its time, and what came of each probe."""

    name: str
    train: Callable[[torch.Tensor, torch.Tensor, int], tuple[int, np.ndarray]]
    threads: int = 1
    seconds: float = 0.0
    probes: list[Probe] = field(default_factory=list)


def features(checkpoint: int, labels: np.ndarray) -> np.ndarray:
    """Return the layers of a checkpoint [25, N, D], in units far from standard ones."""
    rng = np.random.default_rng([5, checkpoint])
    clear = np.linspace(0, 0.2 + 0.1 * checkpoint, N_LAYERS)[:, None, None]
    centres = rng.standard_normal((N_CLASSES, LATENT))[labels]
    latent = (clear * centres + rng.standard_normal((N_LAYERS, N_CLIPS, LATENT))).astype(np.float32)
    mixing = rng.standard_normal((N_LAYERS, LATENT, WIDTH), dtype=np.float32) / LATENT**0.5
    return 3 * (latent @ mixing + 0.3 * rng.standard_normal((N_LAYERS, N_CLIPS, WIDTH), dtype=np.float32)) + 1


class Stopping:
    """Study E's rule, and the logits of the best epoch."""

    def __init__(self) -> None:
        self.lowest = self.to_beat = np.inf
        self.waited = self.epochs = 0
        self.logits = torch.empty(0)

    def ends(self, loss: float, logits: Callable[[], torch.Tensor]) -> bool:
        """Take an epoch's validation loss."""
        self.epochs += 1
        if loss < self.lowest:
            self.lowest, self.logits = loss, logits()
        if loss < self.to_beat - OPTIONS.min_delta:
            self.to_beat, self.waited = loss, 0
        else:
            self.waited += 1
        return self.waited >= OPTIONS.patience or self.epochs >= OPTIONS.max_epochs


def train_layer(z: torch.Tensor, y: torch.Tensor, seed: int) -> tuple[int, np.ndarray]:
    """Train one probe the usual way; return the epochs and the predictions on test."""
    x, (train, validation, test) = z, z.split(list(SIZES.values()))
    start = initial_weights(seed, WIDTH, N_CLASSES)
    layer = torch.nn.Linear(WIDTH, N_CLASSES)
    layer.weight.data, layer.bias.data = start[:-1].T.contiguous(), start[-1].clone()
    adam, rule = torch.optim.Adam(layer.parameters(), lr=OPTIONS.learning_rate), Stopping()
    own = y[len(train) : len(train) + len(validation)]
    for order in epoch_orders(seed, len(train)):
        for batch in order.split(OPTIONS.batch_size):
            adam.zero_grad()
            torch.nn.functional.cross_entropy(layer(x[batch]), y[batch]).backward()
            adam.step()
        with torch.no_grad():
            loss = float(torch.nn.functional.cross_entropy(layer(validation), own))
            if rule.ends(loss, lambda: layer(test)):
                break
    return rule.epochs, rule.logits.argmax(dim=-1).numpy()


def train_written_out(
    z: torch.Tensor, y: torch.Tensor, seed: int, dtype: torch.dtype = torch.float32
) -> tuple[int, np.ndarray]:
    """Train one probe with gradient and Adam written out in torch, the bias as the weight of a column of ones."""
    ones = torch.cat([z, torch.ones(len(z), 1)], dim=1).to(dtype)
    train, validation, test = ones.split(list(SIZES.values()))
    weights, rule, steps = initial_weights(seed, WIDTH, N_CLASSES).to(dtype), Stopping(), 0
    mean, square = torch.zeros_like(weights), torch.zeros_like(weights)
    one_hot, own = torch.eye(N_CLASSES, dtype=dtype)[y], y[len(train) : len(train) + len(validation)]
    for order in epoch_orders(seed, len(train)):
        for batch in order.split(OPTIONS.batch_size):
            x, steps = ones[batch], steps + 1
            error = (x @ weights).softmax(dim=1).sub_(one_hot[batch]).div_(len(batch))
            gradient = x.T @ error
            mean.lerp_(gradient, 1 - ADAM_DECAYS[0])
            square.mul_(ADAM_DECAYS[1]).addcmul_(gradient, gradient, value=1 - ADAM_DECAYS[1])
            scale = square.sqrt().div_((1 - ADAM_DECAYS[1] ** steps) ** 0.5).add_(ADAM_EPSILON)
            weights.addcdiv_(mean, scale, value=-OPTIONS.learning_rate / (1 - ADAM_DECAYS[0] ** steps))
        loss = float(torch.nn.functional.cross_entropy(validation @ weights, own))
        if rule.ends(loss, lambda: test @ weights):
            break
    return rule.epochs, rule.logits.argmax(dim=-1).numpy()


def choose_threads(way: Alone, x: np.ndarray, labels: np.ndarray) -> None:
    """Give a way the number of threads with which it trains two probes quicker, of two tries each."""
    z, y = torch.from_numpy(standardise(x[-1], FOLDS.train(0))), torch.from_numpy(labels)
    taken_s = {}
    for threads in sorted({1, os.cpu_count() or 1}):
        torch.set_num_threads(threads)
        tries = []
        for _ in range(2):
            began_s = time.perf_counter()
            for seed in (0, 1):
                way.train(z, y, seed)
            tries.append(time.perf_counter() - began_s)
        taken_s[threads] = min(tries)
    way.threads = min(taken_s, key=lambda threads: taken_s[threads])


def train_sample(way: Alone, x: np.ndarray, labels: np.ndarray, checkpoint: int, sample: np.ndarray) -> None:
    """Train a checkpoint's probes of the sample [n, (layer, seed)], one after the other."""
    torch.set_num_threads(way.threads)
    y = torch.from_numpy(labels)
    for layer, seed in sample.tolist():
        z = torch.from_numpy(standardise(x[layer], FOLDS.train(0)))
        began_s = time.perf_counter()
        epochs, predictions = way.train(z, y, seed)
        way.seconds += time.perf_counter() - began_s
        way.probes.append(Probe(checkpoint, layer, seed, epochs, predictions))


def seconds_to_compile() -> tuple[float, float]:
    """Return the seconds of the first call in a process without and with machine code in the cache."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache, "PYTHONPATH": str(REPOSITORY)}
        words = [sys.executable, "-c", COMPILE]
        first, second = (
            float(subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout)
            for _ in range(2)
        )
    return first, second


def agreement(one: Sequence[Probe], other: Sequence[Probe], labels: np.ndarray) -> str:
    """Say in words how probes trained in two ways compare."""
    test = labels[FOLDS.test(0)]
    epochs = sum(a.epochs == b.epochs for a, b in zip(one, other, strict=True))
    gaps = [
        abs((a.predictions == test).mean() - (b.predictions == test).mean()) for a, b in zip(one, other, strict=True)
    ]
    same = sum(gap == 0 for gap in gaps)
    clips = np.mean([(a.predictions != b.predictions).sum() for a, b in zip(one, other, strict=True)])
    return (
        f"{epochs} of {len(one)} stop in the same epoch, {same} of {len(one)} have the same test accuracy (largest gap "
        f"{max(gaps):.3f}); {clips:.2f} of {len(test)} test clips are predicted otherwise on average"
    )


def agreements(ways: Sequence[Alone], engine: Sequence[ClassProbes], labels: np.ndarray) -> list[str]:
    """Return lines on how engine and ways of torch compare, each with each."""
    own = []
    for probe in ways[0].probes:
        of = engine[probe.checkpoint]
        predictions = of.logits[probe.layer, 0, probe.seed, FOLDS.test(0)].argmax(-1)
        own.append(replace(probe, epochs=int(of.n_epochs[probe.layer, 0, probe.seed]), predictions=predictions))
    trained = {"engine": own, **{way.name: way.probes for way in ways}}
    return [f"{a} against {b}: {agreement(trained[a], trained[b], labels)}" for a, b in combinations(trained, 2)]


def time_others(x: np.ndarray, given: np.ndarray) -> list[str]:
    """Return lines about the other families that learn step by step."""
    lines = []
    small = x[:: N_LAYERS // 4]
    for name, fit, of, n in (
        ("mlp, 64 units", fit_mlp, small, len(small) * N_SEEDS),
        ("layer_sum, 25 layers", fit_layer_sum, x, N_SEEDS),
    ):
        fit(of[:1], given[:1], FOLDS, n_classes=N_CLASSES, seeds=[0])  # compiles
        began_s = time.perf_counter()
        probes = fit(of, given, FOLDS, n_classes=N_CLASSES, seeds=SEEDS)
        seconds = time.perf_counter() - began_s
        lines.append(f"| {name} | {n} | {probes.n_epochs.mean():.1f} | {1000 * seconds / n:.1f} |")
    return lines


def table(ways: Sequence[Alone], engine_s: float, n_probes: int) -> list[str]:
    """Return the lines of the main table."""
    one, all_cores = "one at a time", os.cpu_count()
    rows = [(f"{one}, {way.name}", len(way.probes), way.threads, way.seconds / len(way.probes)) for way in ways]
    return [
        "| way | probes trained | threads | ms a probe | 2000 probes, s | engine is faster |",
        "|:--|--:|--:|--:|--:|--:|",
        *(
            f"| {name} | {n} | {threads} | {1000 * each_s:.1f} | {n_probes * each_s:.0f} (extrapolated) | "
            f"{n_probes * each_s / engine_s:.1f} x |"
            for name, n, threads, each_s in rows
        ),
        f"| engine | {n_probes} | {all_cores} | {1000 * engine_s / n_probes:.2f} | {engine_s:.1f} | 1 |",
    ]


def as_markdown(lines: Sequence[str], verdict: str) -> str:
    """Return the report."""
    import numba

    from ser_probe.runtime import run_record

    record = run_record(device="cpu")
    packages = ", ".join(f"{name} {record['packages'][name]}" for name in ("ser-probe", "torch", "numpy"))
    about = (
        f"{record['time_utc']}; {packages}, numba {numba.__version__}; Python {record['python']}, "
        f"{record['platform']}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} at the end."
    )
    made = "Made by `benchmarks/probe_engine.py`, whose header says what is measured."
    title = "# Study E's probes: the engine beside plain torch"
    return "\n".join([title, "", about, "", f"**{verdict}**", "", *lines, "", made, ""])


def take_turns(
    ways: Sequence[Alone], n_sampled: int, labels: np.ndarray, given: np.ndarray
) -> tuple[list[ClassProbes], float]:
    """Train the sample by each way and all by the engine, checkpoint by checkpoint; return its probes and time."""
    rng, shape = np.random.default_rng(7), (N_LAYERS, N_SEEDS)
    engine, engine_s = [], 0.0
    for checkpoint in range(N_CHECKPOINTS):
        x = features(checkpoint, labels)
        chosen = rng.choice(N_LAYERS * N_SEEDS, n_sampled // N_CHECKPOINTS, replace=False)
        for way in ways:
            train_sample(way, x, labels, checkpoint, np.column_stack(np.unravel_index(chosen, shape)))
        began_s = time.perf_counter()
        engine.append(fit_softmax(x, given, FOLDS, n_classes=N_CLASSES, seeds=SEEDS, options=OPTIONS))
        engine_s += time.perf_counter() - began_s
        print(f"checkpoint {checkpoint}: engine {engine_s:.1f} s in all", flush=True)
    return engine, engine_s


def main() -> None:
    """Measure, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=48, help="probes that plain torch trains, of the 2000")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "benchmarks" / "results" / "probe_engine.md")
    options = parser.parse_args()
    labels = np.random.default_rng(3).integers(0, N_CLASSES, N_CLIPS)
    given = np.tile(labels, (N_SEEDS, 1))
    cold_s, warm_s = seconds_to_compile()
    ways = [
        Alone("nn.Linear and optim.Adam", train_layer),
        Alone("gradient and Adam written out", train_written_out),
        Alone("the same in float64", partial(train_written_out, dtype=torch.float64)),
    ]
    x = features(N_CHECKPOINTS - 1, labels)
    fit_softmax(x[:1], given, FOLDS, n_classes=N_CLASSES, seeds=SEEDS)  # loads the machine code
    for way in ways:
        choose_threads(way, x, labels)
    others = time_others(x, given)
    engine, engine_s = take_turns(ways, options.sample, labels, given)
    epochs = np.concatenate([probes.n_epochs.ravel() for probes in engine])
    plain_s = ways[0].seconds / len(ways[0].probes) * len(epochs)
    found = agreements(ways, engine, labels)
    lines = [
        *table(ways, engine_s, len(epochs)),
        "",
        f"Epochs until a probe stops: {epochs.mean():.1f} on average, {epochs.min()} to {epochs.max()}. First call in "
        f"a process: {cold_s:.1f} s without machine code in numba's cache, {warm_s:.2f} s with it.",
        "",
        "Do they train the same probes? What rounding alone does is seen between the ways of torch:",
        "",
        *(f"- {line}." for line in found),
        "",
        "Other families in compiled code, of the last checkpoint, 10 seeds:",
        "",
        "| family | probes | epochs | ms a probe |",
        "|:--|--:|--:|--:|",
        *others,
    ]
    verdict = (
        f"{len(epochs)} probes in {engine_s:.1f} s: {plain_s / engine_s:.1f} times faster than one at a time with "
        f"nn.Linear and optim.Adam (target 15, aim 30); {found[0]}."
    )
    report = as_markdown(lines, verdict)
    print(report)
    options.out.write_text(report, encoding="utf-8")


if __name__ == "__main__":
    main()
