"""Are the p-values of `analyze stats` uniform where there is no effect, and do its intervals hold what they promise?

Question: on simulated data without an effect, how often does each test find one at the 5 % level, and are its p-values
uniform (Kolmogorov and Smirnov)? On data with a known effect, how often do 95 % intervals hold it? And at the bound of
equivalence, how often is equivalence found, which must not exceed 5 %?

Rows marked "known" are tests that are known not to be exact there; the table shows by how much.

Command:  python benchmarks/calibration_stats.py
Result:   benchmarks/results/calibration_stats.md
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.stats

from ser_probe.analysis.stats.anova import anova_table
from ser_probe.analysis.stats.comparisons import Contrast, compare
from ser_probe.analysis.stats.effect_sizes import partial_eta_squared, rank_biserial, standardised_difference
from ser_probe.analysis.stats.equivalence import Bound, equivalence_test
from ser_probe.analysis.stats.linear_model import fit_linear
from ser_probe.analysis.stats.mixed import fit_mixed
from ser_probe.analysis.stats.observations import Factor, Observations, observe
from ser_probe.analysis.stats.resampled import corrected_resampled_t
from ser_probe.analysis.stats.robust import robust_table

RESULTS = Path(__file__).parent / "results" / "calibration_stats.md"
LEVEL = 0.05


@dataclass(frozen=True)
class PValues:
    """The p-values of one test over data sets without an effect.

    Args:
        test: What was tested.
        design: On which data.
        p: The p-values.
        known: Why it need not be exact there; empty where it must be.
    """

    test: str
    design: str
    p: np.ndarray
    known: str = ""


@dataclass(frozen=True)
class Coverage:
    """How often an interval held the truth: booleans over data sets."""

    interval: str
    design: str
    held: np.ndarray
    nominal: float = 0.95


def simulate_anova(n: int, rng: np.random.Generator) -> list[PValues]:
    """Three factors, balanced; and two, unbalanced, in both types."""
    found: dict[str, list[float]] = {}
    a, b, c = (x.ravel() for x in np.meshgrid(range(2), range(2), range(3), indexing="ij"))
    a, b, c = (np.repeat(x, 4) for x in (a, b, c))
    kept = np.ones(48, dtype=bool)
    kept[[0, 1, 5, 20, 21, 40]] = False
    for _ in range(n):
        table = anova_table(fit_linear(observe(rng.standard_normal(48), a=a, b=b, c=c))).set_index("term")["p"]
        for term in ("a", "b × c", "a × b × c"):
            found.setdefault(f"ANOVA, {term}|2 x 2 x 3, 4 a cell", []).append(table[term])
        y = rng.standard_normal(int(kept.sum()))
        for kind in (2, 3):
            table = anova_table(fit_linear(observe(y, a=a[kept], c=c[kept])), kind=kind).set_index("term")["p"]
            found.setdefault(f"ANOVA type {kind}, c|2 x 3, 5 to 8 a cell", []).append(table["c"])
    return [PValues(*name.split("|"), np.array(p)) for name, p in found.items()]


def simulate_robust(n: int, rng: np.random.Generator) -> list[PValues]:
    """Tests with weaker assumptions: skewed data, and unequal variances in unequal cells."""
    x = np.repeat([0, 1, 2], [10, 20, 30])
    a, b = np.repeat([0, 1], 20), np.tile(np.repeat([0, 1], 10), 2)
    p: dict[str, list[float]] = {name: [] for name in ("plain", "hc3", "welch", "aligned", "plain skewed")}
    spread = np.array([3.0, 1.5, 1.0])[x]
    for _ in range(n):
        observations = observe(spread * rng.standard_normal(60), x=x)
        fit = fit_linear(observations)
        p["plain"].append(float(fit.results.f_pvalue))
        p["hc3"].append(float(robust_table(fit).set_index("method").loc["hc3", "p"]))
        p["welch"].append(float(compare(observations, [Contrast("x")], pairs="first")["p"].iloc[0]))
        fit = fit_linear(observe(rng.exponential(size=40), a=a, b=b))
        rows = robust_table(fit).set_index(["method", "term"])["p"]
        p["aligned"].append(float(rows[("aligned_rank", "a × b")]))
        p["plain skewed"].append(float(anova_table(fit)["p"].iloc[2]))
    unequal, skewed = "1 x 3, SD 3 : 1.5 : 1, n = 10 : 20 : 30", "2 x 2, exponential, 10 a cell"
    values = {name: np.array(each) for name, each in p.items()}
    return [
        PValues("ANOVA", unequal, values["plain"], "assumes equal variances"),
        PValues("ANOVA with HC3", unequal, values["hc3"], "asymptotic"),
        PValues("Welch t of two of them", unequal, values["welch"]),
        PValues("ANOVA, a × b", skewed, values["plain skewed"], "assumes normality"),
        PValues("aligned ranks, a × b", skewed, values["aligned"], "approximate"),
    ]


def simulate_comparisons(n: int, rng: np.random.Generator) -> list[PValues]:
    """Comparisons of two levels."""
    equal, uneven = np.repeat([0, 1], 10), np.repeat([0, 1], [8, 24])
    units = np.tile(np.arange(10), 2).astype(str)
    p: dict[str, list[float]] = {name: [] for name in ("welch", "pooled", "mann-whitney", "paired", "pooled unequal")}
    for _ in range(n):
        y = rng.standard_normal(20)
        p["pooled"].append(_one(observe(y, x=equal), "pooled"))
        p["mann-whitney"].append(_one(observe(rng.exponential(size=32), x=uneven), "mann-whitney"))
        own = np.tile(2 * rng.standard_normal(10), 2)
        paired = Observations("y", y + own, (Factor("x", ("0", "1"), equal),), units=units)
        p["paired"].append(_one(paired, "paired"))
        z = observe(rng.standard_normal(32) * np.where(uneven == 0, 3.0, 1.0), x=uneven)
        p["welch"].append(_one(z, "welch"))
        p["pooled unequal"].append(_one(z, "pooled"))
    values = {name: np.array(each) for name, each in p.items()}
    return [
        PValues("pooled t", "n = 10 : 10", values["pooled"]),
        PValues("Welch t", "SD 3 : 1, n = 8 : 24", values["welch"]),
        PValues("pooled t", "SD 3 : 1, n = 8 : 24", values["pooled unequal"], "assumes equal variances"),
        PValues("Mann-Whitney", "exponential, n = 8 : 24", values["mann-whitney"]),
        PValues("paired t", "10 pairs", values["paired"]),
    ]


def simulate_mixed(n: int, rng: np.random.Generator) -> list[PValues]:
    """Eight speakers, half of each gender, in three conditions, twice."""
    speaker, condition, _ = (x.ravel() for x in np.meshgrid(range(8), range(3), range(2), indexing="ij"))
    gender = speaker % 2
    p: dict[str, list[float]] = {}
    for _ in range(n):
        y = rng.standard_normal(48) + rng.standard_normal(8)[speaker]
        made = observe(y, gender=gender, condition=condition)
        grouped = Observations("y", y, made.factors, groups=speaker.astype(str))
        for row in fit_mixed(grouped).fixed.to_dict("records"):
            p.setdefault(row["term"], []).append(row["p"])
            # What statsmodels itself prints: Wald's chi squared.
            chi = scipy.stats.chi2.sf(row["statistic"] * row["df"], row["df"])
            p.setdefault(f"{row['term']} chi", []).append(float(chi))
    design = "8 speakers (4 : 4) x 3 x 2"
    return [
        PValues("mixed model F, within speakers", design, np.array(p["condition"])),
        PValues("mixed model F, between speakers", design, np.array(p["gender"]), "REML variance at its bound"),
        PValues("plain Wald chi2, between speakers", design, np.array(p["gender chi"]), "few speakers; not used here"),
    ]


def simulate_resampled(n: int, rng: np.random.Generator) -> list[PValues]:
    """Ten folds of 100 clips: two linear classifiers on two halves of features that are equally good."""
    corrected, plain = [], []
    for _ in range(n):
        y = np.tile([-1.0, 1.0], 50)
        x = rng.standard_normal((100, 10))
        x[:, [0, 5]] += 0.6 * y[:, None]
        folds = rng.permutation(100) % 10
        differences = np.array([_fold(x, y, folds == fold) for fold in range(10)])
        result = corrected_resampled_t(differences, 90, 10)
        corrected.append(result.p)
        error = differences.std(ddof=1) / np.sqrt(10)
        plain.append(2 * scipy.stats.t.sf(abs(differences.mean()) / error, 9) if error > 0 else np.nan)
    return [
        PValues("corrected resampled t", "10 folds of 100 clips", np.array(corrected), "a rule, conservative"),
        PValues("plain t over folds", "10 folds of 100 clips", np.array(plain), "folds overlap; not used here"),
    ]


def simulate_equivalence(n: int, rng: np.random.Generator) -> list[PValues]:
    """The true difference is the bound itself: equivalence is found in 5 % at most."""
    independent, paired = [], []
    for _ in range(n):
        a, b = rng.standard_normal((2, 25))
        independent.append(equivalence_test(a + 1.0, b, Bound(1.0)).p)
        paired.append(equivalence_test(a + 1.0, b, Bound(1.0), paired=True).p)
    known = "uniform only near 0"
    return [
        PValues("equivalence at its bound", "n = 25 : 25, bound 1 SD", np.array(independent), known),
        PValues("equivalence at its bound, paired", "25 pairs, bound 1 SD", np.array(paired), known),
    ]


def simulate_coverage(n: int, rng: np.random.Generator) -> list[Coverage]:
    """Intervals of effect sizes, with and without an effect."""
    found = []
    for truth in (0.0, 0.8, 2.5):
        a, b = rng.standard_normal((n, 8)) + truth, rng.standard_normal((n, 12))
        pooled = np.sqrt((7 * a.var(axis=1, ddof=1) + 11 * b.var(axis=1, ddof=1)) / 18)
        g = standardised_difference(a.mean(axis=1) - b.mean(axis=1), pooled, 1 / 8 + 1 / 12, 18)
        found.append(Coverage("Hedges g", f"n = 8 : 12, truth {truth}", (g.low <= truth) & (truth <= g.high)))
        d = standardised_difference(a.mean(axis=1), a.std(axis=1, ddof=1), 1 / 8, 7)
        found.append(Coverage("Hedges g, paired", f"8 pairs, truth {truth}", (d.low <= truth) & (truth <= d.high)))
    for shift in (0.0, 1.0):
        truth = 2 * scipy.stats.norm.cdf(shift / np.sqrt(2)) - 1
        made = [rank_biserial(rng.standard_normal(10) + shift, rng.standard_normal(15)) for _ in range(n)]
        held = np.array([bool(r.low <= truth <= r.high) for r in made])
        found.append(Coverage("rank-biserial", f"n = 10 : 15, truth {truth:.2f}", held))
    for width in (0.0, 0.4, 1.0):
        means = width * np.array([-1.0, 0.0, 1.0])
        share = means.var() / (means.var() + 1)
        x = rng.standard_normal((n, 3, 10)) + means[:, None]
        f = scipy.stats.f_oneway(*(x[:, i] for i in range(3)), axis=1).statistic
        eta = partial_eta_squared(f, np.full(n, 2.0), np.full(n, 27.0), 30)
        held = (eta.low <= share) & (share <= eta.high)
        # At 0 only the upper tail can err: the lower end is cut off there.
        nominal = 0.95 if width else 0.975
        found.append(Coverage("partial eta squared", f"1 x 3, n = 10, truth {share:.2f}", held, nominal))
    return found


def main() -> None:
    """Simulate everything and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=600, help="data sets of each simulation")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    begun = time.process_time()
    n = options.sets
    simulations: list[tuple[Callable[[int, np.random.Generator], list[PValues]], int]] = [
        (simulate_anova, n), (simulate_robust, n), (simulate_comparisons, n), (simulate_mixed, n),
        (simulate_resampled, 3 * n), (simulate_equivalence, 10 * n),
    ]  # fmt: skip
    tests: list[PValues] = []
    costs = []
    for i, (simulate, count) in enumerate(simulations):
        start = time.process_time()
        tests += simulate(count, np.random.default_rng([options.seed, i]))
        costs.append(
            f"{simulate.__name__.removeprefix('simulate_')} {1000 * (time.process_time() - start) / count:.0f} ms"
        )
    coverage = simulate_coverage(4 * n, np.random.default_rng([options.seed, 99]))
    seconds = time.process_time() - begun
    RESULTS.write_text(_page(tests, coverage, costs, seconds, options.seed), encoding="utf-8")
    print(RESULTS.read_text(encoding="utf-8"))


def _page(tests: list[PValues], coverage: list[Coverage], costs: list[str], seconds: float, seed: int) -> str:
    lines = [
        "# Calibration of the statistics", "",
        f"`python benchmarks/calibration_stats.py`, seed {seed}, {seconds:.0f} s of one core.",
        f"A data set costs, in time of one core: {', '.join(costs)}.", "",
        "## Tests on data without an effect", "",
        "Found: share of data sets with p < .05, with the 95 % interval of such a share. KS: p-value of the test that",
        "the p-values are uniform. Of so many rows one or two miss .05 by chance, so the verdict goes by a 99 %",
        "interval.", "",
        "| Test | Data | Sets | Found | 95 % of it | KS | Verdict |", "|---|---|---:|---:|---|---:|---|",
    ]  # fmt: skip
    for one in tests:
        p = one.p[~np.isnan(one.p)]
        share = scipy.stats.binomtest(int((p < LEVEL).sum()), len(p))
        low, high = share.proportion_ci(method="wilson")
        ks = scipy.stats.kstest(p, "uniform").pvalue
        least, most = share.proportion_ci(0.99, method="wilson")
        good = "calibrated" if least <= LEVEL <= most else "conservative" if most < LEVEL else "finds too much"
        verdict = good + (f" (known: {one.known})" if one.known else "")
        lines.append(
            f"| {one.test} | {one.design} | {len(p)} | {share.statistic:.3f} | {low:.3f} to {high:.3f} | {ks:.3f} "
            f"| {verdict} |"
        )
    lines += [
        "", "## Intervals", "", "| Interval | Data | Sets | Held | 95 % of it | Promised |",
        "|---|---|---:|---:|---|---:|",
    ]  # fmt: skip
    for each in coverage:
        share = scipy.stats.binomtest(int(each.held.sum()), len(each.held))
        low, high = share.proportion_ci(method="wilson")
        lines.append(
            f"| {each.interval} | {each.design} | {len(each.held)} | {share.statistic:.3f} | {low:.3f} to {high:.3f} "
            f"| {each.nominal} |"
        )
    return "\n".join([*lines, ""])


def _one(observations: Observations, test: str) -> float:
    return float(compare(observations, [Contrast("x")], test=test)["p"].iloc[0])  # type: ignore[arg-type]


def _fold(x: np.ndarray, y: np.ndarray, test: np.ndarray) -> float:
    """Return the difference in accuracy of two ridge classifiers on a fold."""
    scores = []
    for half in (x[:, :5], x[:, 5:]):
        train = half[~test]
        weights = np.linalg.solve(train.T @ train + np.eye(5), train.T @ y[~test])
        scores.append(float((np.sign(half[test] @ weights) == y[test]).mean()))
    return scores[0] - scores[1]


if __name__ == "__main__":
    main()
