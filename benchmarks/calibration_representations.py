"""Are the p values and intervals of the analyses of representations what they say, where there is no effect?

Question: over simulated data without any effect, are p values uniform on (0, 1), and do 95 % intervals hold the truth
in 93 to 97 of 100 cases? The tests of tables (ANOVA, t and so on) have a benchmark of their own,
`calibration_stats.py`.

- permutation p of debiased CKA: two unrelated representations of the same clips. With clips of speakers that share
  something of each representation, permuting all clips asks the wrong question (p is then small, since both know the
  speakers); permuting within speakers asks the right one.
- speaker bootstrap of UAR: predictions of clips whose speakers differ in how well they are recognised. The truth is
  the mean over endlessly many speakers.
- speaker jackknife of debiased CKA: two representations that share a known part. The truth is the mean over many
  data sets of the same number of speakers: CKA depends on that number, since clips of one speaker have him in common.
- before and after, per layer: answers of two probes that are equally good, on the same clips (sign flips over
  speakers). With few clips counted differences tie, and ties make the test careful: p is then too large, never too
  small. And the whole way: two embeddings of equal worth, probes trained on both.
- change of acoustic content: R2 of a feature from two representations that hold it equally well, ridge and all.

A p value from B permutations lies on a grid of B + 1 values; uniformity is tested by Kolmogorov and Smirnov after
spreading each p evenly over its step of the grid (Besag & Clifford 1989 style), which does not change a uniform one.

Command:  python benchmarks/calibration_representations.py
Result:   benchmarks/results/calibration_representations.md
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import scipy.stats

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))  # where `benchmarks` is found

RESULT = REPOSITORY / "benchmarks" / "results" / "calibration_representations.md"
N_DATA_SETS = 1000
N_PERMUTATIONS = 199
LEVEL = 0.05


@dataclass(frozen=True)
class Test:
    """A p value or an interval under simulation.

    Args:
        title: What is tested.
        simulate: Takes a seed; returns p, or whether the interval holds the truth (a bool).
        kind: `p`: uniform; `careful`: no more often below a level than the level says, and may be less often;
            `coverage`: of an interval.
        expect: Whether it should be calibrated; the counter-cases should not.
        n_data_sets: Data sets; None: as many as asked for.
    """

    title: str
    simulate: Callable[[int], float]
    kind: str
    expect: bool = True
    n_data_sets: int | None = None


def speakers_of(n_speakers: int, n_each: int) -> np.ndarray:
    return np.repeat([f"s{number:02d}" for number in range(n_speakers)], n_each)


def unrelated(seed: int, *, speaker_effect: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return two representations with nothing in common but, by `speaker_effect`, that each knows the speakers."""
    rng = np.random.default_rng(seed)
    who = speakers_of(8, 12)
    codes = np.unique(who, return_inverse=True)[1]
    made = [
        rng.standard_normal((len(who), 16)) + speaker_effect * rng.standard_normal((8, 16))[codes] for _ in range(2)
    ]
    return made[0], made[1], who


def permuted(seed: int, speaker_effect: float, permute: str) -> float:
    """Return the permutation p value of debiased CKA of two unrelated representations."""
    from ser_probe.analysis.inputs import RepresentationKey
    from ser_probe.analysis.similarity.options import Options
    from ser_probe.analysis.similarity.table import Permutations, similarity_table

    x, y, who = unrelated(seed, speaker_effect=speaker_effect)
    named, others = ({RepresentationKey(name, "", 0, "0"): each} for name, each in (("x", x), ("y", y)))
    permutations = Permutations(N_PERMUTATIONS, permute, seed=seed + 1)  # type: ignore[arg-type]
    table = similarity_table(
        named, others, measures=("cka_debiased",), options=Options(groups=who), permutations=permutations
    )
    return float(table["p"].iloc[0])


def permutation_cka(seed: int) -> float:
    return permuted(seed, 0.0, "clips")


def permutation_cka_speakers(seed: int) -> float:
    return permuted(seed, 1.0, "clips")


def permutation_cka_within(seed: int) -> float:
    return permuted(seed, 1.0, "within-speaker")


def changed_answers(seed: int, clips_per_class: int) -> float:
    """Return p of the before/after test between the answers of two equally good probes."""
    from benchmarks.probe_simulation import simulate_answers
    from ser_probe.analysis.probes.comparisons import contributions, sign_flip_test

    before, after = simulate_answers(1, n_speakers=12, clips_per_class=clips_per_class, seed=seed)
    return float(sign_flip_test(contributions(before, after, "uar"), seed=seed)[0][0])


def many_answers(seed: int) -> float:
    return changed_answers(seed, 200)


def few_answers(seed: int) -> float:
    return changed_answers(seed, 4)


def trained_probes(seed: int) -> float:
    """Return p of the before/after test between probes trained on two embeddings of equal worth."""
    from benchmarks.probe_simulation import pipeline_p_values

    return float(pipeline_p_values(1, n_train=20, n_test=11, seed=seed)[0])


def five_folds(seed: int) -> float:
    """The same where all 15 speakers are tested in turn, three at a time."""
    from benchmarks.probe_simulation import pipeline_p_values

    return float(pipeline_p_values(1, n_train=0, n_test=15, n_folds=5, seed=seed)[0])


def one_left_out(seed: int) -> float:
    """The same, one speaker at a time: nearly all training clips are shared by all folds."""
    from benchmarks.probe_simulation import pipeline_p_values

    return float(pipeline_p_values(1, n_train=0, n_test=15, n_folds=15, seed=seed)[0])


def acoustic_states(seed: int, n_speakers: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return two representations [2, N, D] that hold a feature [N, 1] equally well, each with noise of its own."""
    rng = np.random.default_rng(seed)
    who = speakers_of(n_speakers, 20)
    codes = np.unique(who, return_inverse=True)[1]
    y = rng.standard_normal((len(who), 1)) + 0.5 * rng.standard_normal((n_speakers, 1))[codes]
    noise = rng.standard_normal((2, len(who), 16)) + 0.5 * rng.standard_normal((2, n_speakers, 16))[:, codes]
    directions = rng.standard_normal((2, 1, 16))
    directions /= np.linalg.norm(directions, axis=2, keepdims=True)
    return 2 * y @ directions + noise, y, who


def acoustic_change(seed: int) -> float:
    from ser_probe.analysis.acoustics.folds import acoustic_folds
    from ser_probe.analysis.acoustics.prediction import prepare_acoustic_targets, score_layers
    from ser_probe.analysis.acoustics.scores import change_p, left_out_scores, widening

    states, y, who = acoustic_states(seed, 15)
    folds = acoustic_folds(who, 5, seed=seed)
    targets = prepare_acoustic_targets((y - y.mean()) / y.std(), folds, speakers=who, seed=seed)
    before, after = (left_out_scores(sums)["r2"] for sums, _ in score_layers(states, targets, control=False))
    return float(change_p(after - before, widening(folds))[0])


def bootstrap_uar(seed: int, n_speakers: int) -> float:
    """Return whether the interval over speakers holds the UAR that endlessly many speakers would have."""
    from ser_probe.analysis.evaluation import SpeakerBootstrap
    from ser_probe.analysis.metrics import confusion_matrices, confusion_scores

    rng = np.random.default_rng(seed)
    n_classes, n_each, mean, concentration = 4, 24, 0.6, 12.0
    labels = np.tile(np.arange(n_classes), n_speakers * n_each // n_classes)
    who = speakers_of(n_speakers, n_each)
    codes = np.unique(who, return_inverse=True)[1]
    # Each speaker is recognised at a rate of his own, the same for all classes: so UAR's truth is the mean rate.
    rates = rng.beta(mean * concentration, (1 - mean) * concentration, n_speakers)[codes]
    wrong = (labels + rng.integers(1, n_classes, len(labels))) % n_classes
    predicted = np.where(rng.random(len(labels)) < rates, labels, wrong)
    people = SpeakerBootstrap(who, len(labels), seed=seed)
    sums = np.stack([confusion_matrices(labels[codes == g], predicted[codes == g], n_classes)
                     for g in range(n_speakers)])  # fmt: skip
    _, low, high = people.intervals(sums, confusion_scores)["uar"]
    return float(low <= mean <= high)


def related(seed: int, n_speakers: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return two representations that share what they know of the clips and of the speakers, and have noise each."""
    rng = np.random.default_rng(seed)
    who = speakers_of(n_speakers, 12)
    codes = np.unique(who, return_inverse=True)[1]
    shared = rng.standard_normal((len(who), 6)) + 0.6 * rng.standard_normal((n_speakers, 6))[codes]
    mix = np.random.default_rng(7).standard_normal((2, 6, 16)) / np.sqrt(6)
    made = [shared @ mix[side] + rng.standard_normal((len(who), 16)) for side in range(2)]
    return made[0], made[1], who


def mean_cka(n_speakers: int) -> float:
    """Return what debiased CKA is on average over data sets of so many speakers."""
    from ser_probe.analysis.similarity.measures import compare_two

    return float(
        np.mean([compare_two("cka_debiased", *related(seed, n_speakers)[:2]) for seed in range(10**6, 10**6 + 1000)])
    )


def jackknife_cka(seed: int, n_speakers: int, truth: float) -> float:
    from ser_probe.analysis.similarity.cka import cka_pairs

    x, y, who = related(seed, n_speakers)
    found = cka_pairs([x], [y], groups=who).debiased
    return float(found.ci_low[0, 0] <= truth <= found.ci_high[0, 0])


class BootstrapOf:
    """`bootstrap_uar` for a number of speakers; a class, since a process is handed no closures."""

    def __init__(self, n_speakers: int) -> None:
        self.n_speakers = n_speakers

    def __call__(self, seed: int) -> float:
        return bootstrap_uar(seed, self.n_speakers)


class JackknifeOf:
    """`jackknife_cka` for a number of speakers, whose truth is computed once."""

    def __init__(self, n_speakers: int) -> None:
        self.n_speakers, self.truth = n_speakers, mean_cka(n_speakers)

    def __call__(self, seed: int) -> float:
        return jackknife_cka(seed, self.n_speakers, self.truth)


def tests() -> Iterator[Test]:
    yield Test("permutation p of debiased CKA, clips independent", permutation_cka, "p")
    yield Test("the same, clips of a speaker alike, permuted within speakers", permutation_cka_within, "p")
    yield Test("the same, permuted over all clips (asks another question)", permutation_cka_speakers, "p", False)
    yield Test("before and after, UAR of 1200 clips a speaker", many_answers, "p")
    yield Test("before and after, UAR of 24 clips a speaker: counts tie", few_answers, "careful")
    yield Test("before and after, probes trained on 20 speakers, tested on 11", trained_probes, "careful")
    yield Test("the same, 15 speakers in 5 folds", five_folds, "careful")
    # Sign flips know nothing of the luck of training, which all folds share here: the tables have `p_folds` for that.
    yield Test("the same, 15 speakers left out one by one (read p_folds there)", one_left_out, "careful")
    yield Test("change of R2 of an acoustic feature, 15 speakers", acoustic_change, "careful")
    for n_speakers in (6, 15, 30):
        yield Test(f"speaker bootstrap of UAR, {n_speakers} speakers", BootstrapOf(n_speakers), "coverage")
    for n_speakers in (6, 15, 30):
        yield Test(f"speaker jackknife of debiased CKA, {n_speakers} speakers", JackknifeOf(n_speakers), "coverage")


def summarise(test: Test, values: np.ndarray) -> tuple[str, bool]:
    """Return a row of the table, and whether it is as expected."""
    n = len(values)
    if test.kind == "coverage":
        share = values.mean()
        low, high = binomial_interval(int(values.sum()), n)
        # The truth may lie within 93 and 97 % while the share of so many data sets does not, and the other way round.
        calibrated = high >= 0.93 and low <= 0.97
        cells = ["95 % interval", str(n), f"{share:.3f} ({low:.3f} to {high:.3f})", "–"]
    else:
        rejected = int((values <= LEVEL).sum())
        low, high = binomial_interval(rejected, n)
        uniform = scipy.stats.kstest(spread(values), "uniform").pvalue
        calibrated = low <= LEVEL and (test.kind == "careful" or (high >= LEVEL and uniform > 0.01))
        cells = ["p value", str(n), f"{rejected / n:.3f} ({low:.3f} to {high:.3f})", f"{uniform:.3f}"]
    says = ("careful" if test.kind == "careful" else "yes") if calibrated else "no"
    return f"| {test.title} | {' | '.join(cells)} | {says} |", calibrated == test.expect


def spread(p: np.ndarray) -> np.ndarray:
    """Return p values spread evenly over the step of the permutations' grid that each stands for."""
    grid = N_PERMUTATIONS + 1
    on_grid = np.isclose(p * grid, np.round(p * grid))
    jitter = np.random.default_rng(0).random(len(p)) / grid
    return np.where(on_grid.all(), p - jitter, p)


def binomial_interval(successes: int, n: int) -> tuple[float, float]:
    found = scipy.stats.binomtest(successes, n).proportion_ci(0.95)
    return float(found.low), float(found.high)


def main() -> None:
    """Simulate, count, write the table; exit with 1 where something is not as expected."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-sets", type=int, default=N_DATA_SETS)
    parser.add_argument("--only", default="", help="tests whose title holds this text; writes no result")
    options = parser.parse_args()
    rows, fine = [], True
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for test in tests():
            if options.only in test.title:
                n = min(options.data_sets, test.n_data_sets or options.data_sets)
                values = np.array(list(pool.map(test.simulate, range(n), chunksize=8)))
                row, as_expected = summarise(test, values)
                fine &= as_expected
                rows.append(row)
                print(row + ("" if as_expected else "  NOT AS EXPECTED"), flush=True)
    versions = ", ".join(f"{name} {version(name)}" for name in ("ser-probe", "numpy", "scipy", "scikit-learn"))
    lines = [
        "# Calibration without effect: representations",
        "",
        f"{datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')}; {versions}; Python "
        f"{platform.python_version()}, {platform.system()} {platform.machine()}.",
        "",
        "| test | of | data sets | p <= 0.05, or intervals that hold the truth (95 % binomial) | uniform: "
        "Kolmogorov-Smirnov p | calibrated |",
        "|---|---|--:|--:|--:|---|",
        *rows,
        "",
        "Calibrated: the binomial interval holds 0.05 and the p values pass for uniform (p > 0.01); for intervals, the "
        "binomial interval meets 0.93 to 0.97. `careful`: rejects no more often than it says, and by design less "
        "often. A `no` is expected where the title says that another question is asked.",
        "",
        "Made by `benchmarks/calibration_representations.py`, whose header says what is measured.",
    ]
    if not options.only:
        RESULT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    raise SystemExit(0 if fine else 1)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
