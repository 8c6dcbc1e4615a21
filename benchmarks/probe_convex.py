"""How much faster are the convex probes than scikit-learn's, fit by fit, and are they the same?

Question: seconds for ridge of 88 targets with 10 strengths in 5 folds, for softmax regression of 6 classes with 5
strengths in 5 folds, and for k-NN with 5 ks in 5 folds, of one representation of Study E's shape (1231 clips, 1024
features whose variance falls off as that of speech models does, 91 speakers; folds and inner folds by speaker).

    ridge
      ser-probe      fit_ridge: the strength of each target chosen on 5 inner folds, refitted, all clips predicted
      one by one     StandardScaler and Ridge for each fold, strength and target; no inner folds. Timed on a sample of
                     the 4400 fits, spread over folds and strengths, and multiplied
      all targets    StandardScaler and Ridge for each fold and strength, the 88 targets in one fit; no inner folds
    softmax regression
      ser-probe, 25  the 25 fits, each fold's together, to 1e-6 of the least objective
      ser-probe      fit_logistic: strengths chosen on 5 inner folds, refitted to 1e-8: 130 fits
      default        StandardScaler and LogisticRegression with its own tolerance, 25 fits
      as exact       the same, with the tolerance of a list that first reaches 1e-6 of the least objective in all fits
      130 fits       with the default tolerance and the inner folds: those of one fold are timed, and taken five times
    k-NN
      ser-probe      fit_knn: k chosen on 5 inner folds, all clips classified
      scikit-learn   StandardScaler and KNeighborsClassifier (cosine) for each fold and k; no inner folds

Figures are medians of interleaved runs, except of those that take long, which run once; only ratios within a run mean
anything. Both seconds on the clock and seconds of all cores are given: on a machine that has other work to do only
the latter mean much, and then with one thread (OMP_NUM_THREADS=1), since threads of a product that wait for each other
count as work. The last line gives seconds per representation where several are fitted, as in a study.

Command:  python benchmarks/probe_convex.py
Result:   benchmarks/results/probe_convex.md
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from ser_probe.analysis.probes.families import TEST, Folds
from ser_probe.analysis.probes.logistic import DEFAULT_STRENGTHS, fit_logistic
from ser_probe.analysis.probes.logistic_solver import Problems, solve
from ser_probe.analysis.probes.neighbours import DEFAULT_KS, fit_knn
from ser_probe.analysis.probes.ridge import DEFAULT_STRENGTHS as RIDGE_STRENGTHS
from ser_probe.analysis.probes.ridge import fit_ridge
from ser_probe.analysis.probes.rotation import rotate
from ser_probe.analysis.probes.tuning import scaling
from ser_probe.analysis.threads import run_side_by_side
from ser_probe.runtime import run_record

RESULT = Path(__file__).parent / "results" / "probe_convex.md"
N_CLIPS, WIDTH, N_CLASSES, N_SPEAKERS, N_TARGETS, N_FOLDS = 1231, 1024, 6, 91, 88, 5
TARGETS = {"ridge": 50.0, "softmax": 5.0}
EXACT = 1e-6  # of the least objective, asked of both ways where they are to be equally exact
TOLERANCES = (1e-5, 1e-6, 1e-7)


@dataclass(frozen=True)
class Data:
    """Representations [R, N, D], classes [N], numeric targets [N, K], speakers [N], and folds by speaker."""

    x: np.ndarray
    labels: np.ndarray
    targets: np.ndarray
    groups: np.ndarray
    folds: Folds


def make_data(n_representations: int, seed: int = 0) -> Data:
    """Return features whose principal variances fall off as a power, with something of speaker, class and targets."""
    rng = np.random.default_rng(seed)
    labels, groups = rng.integers(0, N_CLASSES, N_CLIPS), rng.integers(0, N_SPEAKERS, N_CLIPS)
    x = np.empty((n_representations, N_CLIPS, WIDTH), np.float32)
    deviation = np.arange(1, WIDTH + 1) ** -0.8
    for r in range(n_representations):
        latent = rng.standard_normal((N_CLIPS, WIDTH)) + 0.7 * rng.standard_normal((N_SPEAKERS, WIDTH))[groups]
        latent += (0.5 * rng.standard_normal((N_CLASSES, WIDTH)) * (rng.random(WIDTH) < 0.1))[labels]
        if r == 0:
            clear = np.logspace(-2, 0.5, N_TARGETS)
            signal = latent[:, :50] @ rng.standard_normal((50, N_TARGETS)) / 7
            targets = clear * signal + rng.standard_normal((N_CLIPS, N_TARGETS))
        axes = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))[0]
        x[r] = (latent * deviation) @ axes * rng.uniform(0.1, 2, WIDTH) + rng.standard_normal(WIDTH)
    parts = np.zeros((N_FOLDS, N_CLIPS), np.int8)
    for fold, (_, tested) in enumerate(GroupKFold(N_FOLDS).split(x[0], groups=groups)):
        parts[fold, tested] = TEST
    return Data(x, labels, targets, groups, Folds([f"fold-{f}" for f in range(N_FOLDS)], parts))


def seconds(work: Callable[[], object]) -> np.ndarray:
    """Return how long work takes: seconds on the clock, and of all cores."""
    began = time.perf_counter(), time.process_time()
    work()
    return np.array([time.perf_counter() - began[0], time.process_time() - began[1]])


def measure_ridge(data: Data, repeats: int, n_sampled: int) -> dict[str, Any]:
    """Time ridge each way, and compare predictions of every fold and target at the strengths chosen."""
    x, y = data.x[0].astype(np.float64), data.targets
    everything = list(itertools.product(range(N_FOLDS), RIDGE_STRENGTHS, range(N_TARGETS)))
    sampled = np.random.default_rng(0).permutation(len(everything))[:n_sampled]

    def one_by_one() -> None:
        for fold, strength, target in (everything[i] for i in sampled):
            train = data.folds.train(fold)
            z = StandardScaler().fit(x[train])
            Ridge(strength).fit(z.transform(x[train]), y[train, target]).predict(z.transform(x))

    def all_targets() -> None:
        for fold, strength in itertools.product(range(N_FOLDS), RIDGE_STRENGTHS):
            train = data.folds.train(fold)
            z = StandardScaler().fit(x[train])
            Ridge(strength).fit(z.transform(x[train]), y[train]).predict(z.transform(x))

    def ours() -> object:
        return fit_ridge(data.x[:1], y, data.folds, groups=data.groups)

    times: dict[str, list[np.ndarray]] = {"ser-probe": [], "one by one": [], "all targets": []}
    for _ in range(repeats):
        times["ser-probe"].append(seconds(ours))
        times["all targets"].append(seconds(all_targets))
        times["one by one"].append(seconds(one_by_one) * len(everything) / n_sampled)
    probes, worst = fit_ridge(data.x[:1], y, data.folds, groups=data.groups), 0.0
    for fold in range(N_FOLDS):
        train = data.folds.train(fold)
        z = StandardScaler().fit(x[train])
        alone = Ridge(probes.strength[0, fold]).fit(z.transform(x[train]), y[train]).predict(z.transform(x))
        worst = max(worst, float(np.abs(probes.predictions[0, fold] - alone).max() / np.abs(alone).max()))
    return {way: np.median(found, axis=0) for way, found in times.items()} | {"difference": worst}


def fit_all_strengths(data: Data, tolerance: float = EXACT) -> list[np.ndarray]:
    """Return each fold's fits of all strengths, weights and bias [strengths, D + 1, C] on standardised features."""

    def fit(fold: int) -> np.ndarray:
        train = data.folds.train(fold)
        mean, scale = scaling(data.x[0], train)
        rotation = rotate((data.x[0][train] - mean) * scale)
        shape = (len(DEFAULT_STRENGTHS), len(train))
        problems = Problems(
            np.broadcast_to(data.labels[train], shape), np.ones(shape, bool), np.array(DEFAULT_STRENGTHS), N_CLASSES
        )
        rough = solve(rotation.scores.astype(np.float32), problems, tolerance=1e-4, max_iterations=1000)
        final = solve(rotation.scores, problems, tolerance=tolerance, max_iterations=1000, start=rough.weights)
        return np.stack([np.vstack([rotation.restore(w.T[:-1]), w.T[-1:]]) for w in final.weights])

    found = dict(run_side_by_side(fit, range(N_FOLDS)))
    return [found[fold] for fold in range(N_FOLDS)]


def fit_plainly(data: Data, tolerance: float | None = None) -> list[list[LogisticRegression]]:
    """Return the same fits by scikit-learn, one by one."""
    fits = []
    for fold in range(N_FOLDS):
        train = data.folds.train(fold)
        own = []
        for strength in DEFAULT_STRENGTHS:
            z = StandardScaler().fit_transform(data.x[0].astype(np.float64)[train])
            how = {} if tolerance is None else {"tol": tolerance}
            own.append(LogisticRegression(C=1 / strength, max_iter=10_000, **how).fit(z, data.labels[train]))
        fits.append(own)
    return fits


def fit_inner_folds(data: Data) -> None:
    """Fit the inner folds of the first fold by scikit-learn, all strengths, one by one."""
    train = data.folds.train(0)
    for kept, _ in GroupKFold(5).split(train, groups=data.groups[train]):
        for strength in DEFAULT_STRENGTHS:
            z = StandardScaler().fit_transform(data.x[0].astype(np.float64)[train[kept]])
            LogisticRegression(C=1 / strength, max_iter=10_000).fit(z, data.labels[train[kept]])


def excess(data: Data, ours: list[np.ndarray], plain: list[list[LogisticRegression]]) -> tuple[float, float, int]:
    """Return the largest share by which each way's objective is above the lower of both, and differing predictions."""
    worst, n_differ = [0.0, 0.0], 0
    for fold, (weights, fits) in enumerate(zip(ours, plain, strict=True)):
        train = data.folds.train(fold)
        z = StandardScaler().fit(data.x[0].astype(np.float64)[train]).transform(data.x[0].astype(np.float64))
        for strength, own, fitted in zip(DEFAULT_STRENGTHS, weights, fits, strict=True):
            said = (z @ own[:-1] + own[-1], z @ fitted.coef_.T + fitted.intercept_)
            n_differ += int((said[0].argmax(axis=1) != said[1].argmax(axis=1)).sum())
            penalty = [strength / 2 * np.square(w).sum() for w in (own[:-1], fitted.coef_)]
            losses = [-log_softmax(s[train], axis=1)[np.arange(len(train)), data.labels[train]].sum() for s in said]
            objectives = np.add(losses, penalty)
            worst = np.maximum(worst, objectives / objectives.min() - 1).tolist()
    return worst[0], worst[1], n_differ


def measure_softmax(data: Data, repeats: int) -> dict[str, Any]:
    """Time softmax regression each way, and compare objectives and predictions."""

    def choosing() -> object:
        return fit_logistic(data.x[:1], data.labels[None], data.folds, groups=data.groups, n_classes=N_CLASSES)

    times: dict[str, list[np.ndarray]] = {"ser-probe, 25": [], "ser-probe": [], "default": []}
    for _ in range(repeats):
        times["ser-probe, 25"].append(seconds(lambda: fit_all_strengths(data)))
        times["ser-probe"].append(seconds(choosing))
        times["default"].append(seconds(lambda: fit_plainly(data)))
    row = {way: np.median(found, axis=0) for way, found in times.items()}
    ours, default = fit_all_strengths(data), fit_plainly(data)
    _, row["default, excess"], row["default, differing"] = excess(data, ours, default)
    for tolerance in TOLERANCES:
        exact: list[list[LogisticRegression]] = []
        row["as exact"] = seconds(lambda t=tolerance, fits=exact: fits.extend(fit_plainly(data, t)))
        row["ser-probe, excess"], row["as exact, excess"], row["as exact, differing"] = excess(data, ours, exact)
        row["as exact, tolerance"] = tolerance
        if row["as exact, excess"] <= EXACT:
            break
    _, row["limit, excess"], row["limit, differing"] = excess(
        data, fit_all_strengths(data, 1e-11), fit_plainly(data, 1e-9)
    )
    row["130 fits"] = row["default"] / len(DEFAULT_STRENGTHS) + N_FOLDS * seconds(lambda: fit_inner_folds(data))
    return row


def measure_neighbours(data: Data, repeats: int) -> dict[str, Any]:
    """Time k-NN both ways."""

    def plain() -> None:
        for fold, k in itertools.product(range(N_FOLDS), DEFAULT_KS):
            train = data.folds.train(fold)
            z = StandardScaler().fit(data.x[0][train])
            fitted = KNeighborsClassifier(k, metric="cosine").fit(z.transform(data.x[0][train]), data.labels[train])
            fitted.predict_proba(z.transform(data.x[0]))

    def ours() -> object:
        return fit_knn(data.x[:1], data.labels[None], data.folds, groups=data.groups, n_classes=N_CLASSES)

    times = [(seconds(ours), seconds(plain)) for _ in range(repeats)]
    return dict(zip(("ser-probe", "scikit-learn"), np.median(times, axis=0), strict=True))


def measure_many(data: Data) -> dict[str, Any]:
    """Return seconds per representation of each family, with its defaults, where several are fitted together."""
    own, n = {"groups": data.groups}, len(data.x)
    return {
        "ridge, 88 targets": seconds(lambda: fit_ridge(data.x, data.targets, data.folds, **own)) / n,
        "softmax regression": seconds(
            lambda: fit_logistic(data.x, data.labels[None], data.folds, n_classes=N_CLASSES, **own)
        ) / n,
        "k-NN": seconds(lambda: fit_knn(data.x, data.labels[None], data.folds, n_classes=N_CLASSES, **own)) / n,
    }  # fmt: skip


def as_markdown(ridge: dict, softmax: dict, neighbours: dict, many: dict, options: argparse.Namespace) -> str:
    """Return the report."""
    record = run_record()
    packages = ", ".join(f"{name} {record['packages'][name]}" for name in ("numpy", "scipy", "scikit-learn"))

    def line(name: str, work: str, theirs: np.ndarray, ours: np.ndarray, goal: str = "") -> str:
        ratio = theirs / ours
        return (
            f"| {name} | {work} | {theirs[0]:.2f} | {ours[0]:.2f} | {ratio[0]:.1f} x | {theirs[1]:.2f} | {ours[1]:.2f} "
            f"| {ratio[1]:.1f} x | {goal} |"
        )

    exact = f"as exact (tol {softmax['as exact, tolerance']:g})"
    return "\n".join(
        [
            "# Convex probes: one batched computation beside scikit-learn's fits",
            "",
            f"{record['time_utc']}; one representation of {N_CLIPS} clips x {WIDTH}, {N_SPEAKERS} speakers, {N_FOLDS} "
            f"folds; medians of {options.repeats} interleaved runs, one run of `as exact` and `130 fits`; the load of "
            f"the machine was {options.load:.1f} at the start; {packages}; Python {record['python']}, "
            f"{record['platform']}, {record['cpu_count']} CPUs, OMP_NUM_THREADS "
            f"{os.environ.get('OMP_NUM_THREADS', 'not set')}.",
            "",
            "| family | scikit-learn's way | its s | ser-probe, s | ratio | its core s | ser-probe, core s | ratio "
            "| goal |",
            f"|{' --- |' * 9}",
            line("ridge, strengths chosen", f"one by one ({options.sampled} of 4400 fits timed), nothing chosen",
                 ridge["one by one"], ridge["ser-probe"], f"{TARGETS['ridge']:g} x"),
            line("", "all targets in a fit, 50 fits, nothing chosen", ridge["all targets"], ridge["ser-probe"]),
            line("softmax regression, 25 fits", "default tolerance", softmax["default"], softmax["ser-probe, 25"],
                 f"{TARGETS['softmax']:g} x"),
            line("", exact, softmax["as exact"], softmax["ser-probe, 25"], f"{TARGETS['softmax']:g} x"),
            line("softmax regression, strengths chosen", "130 fits, default tolerance", softmax["130 fits"],
                 softmax["ser-probe"]),
            line("k-NN, k chosen", "25 fits, nothing chosen", neighbours["scikit-learn"], neighbours["ser-probe"]),
            "",
            f"Ridge: predictions of all clips, folds and targets differ by at most {ridge['difference']:.1e} of the "
            "largest (they are returned in float32).",
            "",
            "Softmax regression, how far the objective is above the lower of both ways, at most over the 25 fits, and "
            f"predictions that differ, of {25 * N_CLIPS}: ser-probe {softmax['ser-probe, excess']:.1e}; scikit-learn "
            f"by default {softmax['default, excess']:.1e}, {softmax['default, differing']:.0f} predictions; {exact} "
            f"{softmax['as exact, excess']:.1e}, {softmax['as exact, differing']:.0f} predictions. These clips lie "
            "between two classes: with ser-probe's tolerance at 1e-11 and scikit-learn's at 1e-9 "
            f"{softmax['limit, differing']:.0f} predictions differ.",
            "",
            f"Seconds per representation of {options.many} fitted together, all folds, strengths chosen: "
            + "; ".join(f"{name} {value[0]:.2f} ({value[1]:.2f} of all cores)" for name, value in many.items()) + ".",
            "",
            "Made by `benchmarks/probe_convex.py`, whose header says what each way is.",
            "",
        ]
    )  # fmt: skip


def main() -> None:
    """Measure each family, print the report and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sampled", type=int, default=60, help="fits of scikit-learn's ridge that are timed")
    parser.add_argument("--many", type=int, default=6, help="representations fitted together")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    options.load = os.getloadavg()[0]
    warnings.simplefilter("error", ConvergenceWarning)
    data = make_data(options.many)
    ridge = measure_ridge(data, options.repeats, options.sampled)
    print(ridge, flush=True)
    softmax = measure_softmax(data, options.repeats)
    print(softmax, flush=True)
    neighbours = measure_neighbours(data, options.repeats)
    report = as_markdown(ridge, softmax, neighbours, measure_many(data), options)
    print(report)
    options.out.write_text(report, encoding="utf-8")


if __name__ == "__main__":
    main()
