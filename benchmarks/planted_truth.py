"""Are exactly those layers found that were changed, and nothing else?

Question: simulated representations of 13 layers, before and after fine-tuning, from 1008 clips of 24 speakers with 6
labels and 8 acoustic features that every layer encodes. A known set of layers is changed by a known amount:

    layer 3   turned: every plane by 0.3 rad             layer 5   acoustic feature f2 taken out
    layer 7   a label signal added                       layer 9   noise as large as the layer's spread
    layer 11  all clips moved alike                      layer 12  scaled by 1.2
    layer 10  turned by 0.3 rad in planes that each fine-tuning seed chooses anew: chance, and nothing else

Every extraction carries noise of 1 % of the layer's spread, another each time. Three analyses then say what changed:

    drift      above the floor of two repeats of the first extraction; and above that of two other seeds as well, which
               must leave out layer 10. Each measure is held against the layers that it must see, by its invariances.
    acoustics  which functional is lost or gained in which layer: the analysis's own test, Holm over all layers and
               functionals, and a change of R2 of at least 0.02. f2 in layer 5, and all of them in layer 9.
    probes     in which layer the label is read better or worse: sign flips over speakers, Holm over layers, and a
               change of UAR of at least 0.02. Better in layer 7, worse in layer 9.

Noise hides everything that a layer had, so that layer 9 loses the label and all functionals is no false finding. The
least changes of 0.02 are there because the tests are paired and fine: a fit that a rotation lets be a thousandth better
in every speaker is found, and rightly so, but was not planted. How many speakers there are decides what is missed, not
what is found beyond the truth: of 16 the acoustics missed one functional of layer 9 in 4 of 20 studies, and found none
that was not planted.

Command:  OMP_NUM_THREADS=2 python benchmarks/planted_truth.py
Result:   benchmarks/results/planted_truth.md; exit code 1 where an analysis is not exact in at least 95 % of the runs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.linalg

from ser_probe.analysis.acoustics.folds import acoustic_folds
from ser_probe.analysis.acoustics.prediction import prepare_acoustic_targets, score_layers
from ser_probe.analysis.acoustics.scores import change_p, left_out_scores, widening
from ser_probe.analysis.corrections import holm
from ser_probe.analysis.drift.floor import REPEAT, SEED, add_floor, floor_table
from ser_probe.analysis.drift.measures import MEASURES
from ser_probe.analysis.drift.table import layer_drift
from ser_probe.analysis.inputs import RepresentationKey
from ser_probe.analysis.probes.change_table import change_table
from ser_probe.analysis.probes.divisions import rotated_folds
from ser_probe.analysis.probes.family_table import family
from ser_probe.analysis.probes.fitting import fit_probes
from ser_probe.analysis.probes.scoring import score_part
from ser_probe.analysis.probes.targets import make_target
from ser_probe.files import write_text
from ser_probe.runtime import run_record

REPOSITORY = Path(__file__).resolve().parents[1]
N_LAYERS, N_SPEAKERS, CLIPS_EACH, N_LABELS, N_FEATURES, WIDTH = 13, 24, 42, 6, 8, 32
ANGLE, NOISE, SCALE, SHIFT, LABEL, EXTRACTION = 0.3, 1.0, 1.2, 0.3, 0.8, 0.01
TURNED, EMPTIED, LABELLED, NOISY, CHANCE, SHIFTED, SCALED = 3, 5, 7, 9, 10, 11, 12
REMOVED = 2
LEAST, ALPHA, REQUIRED = 0.02, 0.05, 0.95
STEP = 100.0

_GEOMETRY = {EMPTIED, LABELLED, NOISY}
MUST_SEE: dict[str, set[int]] = {
    "cka_debiased": _GEOMETRY,
    "procrustes": _GEOMETRY,
    "knn_overlap": _GEOMETRY,
    "mean_cosine_centred": _GEOMETRY | {TURNED},
    "mean_cosine": _GEOMETRY | {TURNED, SHIFTED},
    "relative_norm_change": _GEOMETRY | {SHIFTED, SCALED},
    "mean_shift": {TURNED, SHIFTED, SCALED},
    "covariance_shift": _GEOMETRY | {TURNED, SCALED},
}
"""The changed layers that each measure sees: the others are changes that it is invariant to."""
SEES_TURNS = {name for name, layers in MUST_SEE.items() if TURNED in layers}


@dataclass
class Study:
    """Clips, and the true representations [L, N, D] before and after, without the noise of an extraction."""

    rng: np.random.Generator
    speakers: np.ndarray
    labels: np.ndarray
    acoustics: np.ndarray
    before: np.ndarray = field(init=False)
    after: np.ndarray = field(init=False)
    spread: np.ndarray = field(init=False)  # standard deviation of a coordinate, by layer

    def __post_init__(self) -> None:
        rng, n = self.rng, len(self.speakers)
        self.before, self.after = np.empty((2, N_LAYERS, n, WIDTH))
        for layer in range(N_LAYERS):
            basis = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))[0]
            parts = self._draw_parts()
            # A mean vector as long as the clips' spread, but not along the features: what they lose is length then.
            mean = rng.standard_normal(WIDTH) * (np.arange(WIDTH) >= N_FEATURES)
            self.before[layer] = (sum(parts.values()) + mean) @ basis
            after = {name: part.copy() for name, part in parts.items()}
            if layer == EMPTIED:
                after["acoustics"][:, REMOVED] = 0
            if layer == LABELLED:
                after["label"] *= 1 + LABEL / 0.4
            self.after[layer] = self.before[layer] + (sum(after.values()) - sum(parts.values())) @ basis
        self.spread = self.before.std(axis=1).mean(axis=1)
        noise = rng.standard_normal(self.after[NOISY].shape)
        self.after[NOISY] += NOISE * self.spread[NOISY] * noise
        self.after[TURNED] = self.before[TURNED] @ self.turn()
        towards, mean = rng.standard_normal(WIDTH), self.before[SHIFTED].mean(axis=0)
        towards -= towards @ mean / (mean @ mean) * mean  # so that the move lengthens the vectors, and by how much
        self.after[SHIFTED] += SHIFT * np.sqrt(WIDTH) * self.spread[SHIFTED] * towards / np.linalg.norm(towards)
        self.after[SCALED] *= SCALE

    def _draw_parts(self) -> dict[str, np.ndarray]:
        """Return what a layer is made of, each in coordinates of its own: features, label, speaker, and the rest."""
        rng, n = self.rng, len(self.speakers)
        parts = {name: np.zeros((n, WIDTH)) for name in ("acoustics", "label", "speaker", "rest")}
        parts["acoustics"][:, :N_FEATURES] = self.acoustics * rng.uniform(0.8, 1.2, N_FEATURES)
        means = rng.standard_normal((N_LABELS, N_LABELS - 1))
        parts["label"][:, 8:13] = 0.4 * (means - means.mean(axis=0))[self.labels]
        parts["speaker"][:, 13:19] = rng.standard_normal((N_SPEAKERS, 6))[self.speakers]
        parts["rest"][:] = rng.standard_normal((n, WIDTH)) * np.linspace(0.7, 0.4, WIDTH)
        return parts

    def turn(self) -> np.ndarray:
        """Return a rotation by `ANGLE` in each of WIDTH / 2 planes: every vector turns by just that angle."""
        basis = np.linalg.qr(self.rng.standard_normal((WIDTH, WIDTH)))[0]
        plane = [[np.cos(ANGLE), np.sin(ANGLE)], [-np.sin(ANGLE), np.cos(ANGLE)]]
        return basis @ scipy.linalg.block_diag(*[plane] * (WIDTH // 2)) @ basis.T  # type: ignore[no-any-return]

    def seed(self) -> np.ndarray:
        """Return what another fine-tuning seed makes of it: the same changes, and its own chance in one layer."""
        after = self.after.copy()
        after[CHANCE] = self.before[CHANCE] @ self.turn()
        return after

    def extract(self, state: np.ndarray) -> np.ndarray:
        """Return a state as an extraction has it, float32."""
        noise = self.rng.standard_normal(state.shape) * EXTRACTION * self.spread[:, None, None]
        return (state + noise).astype(np.float32)


def simulate(seed: int) -> Study:
    rng = np.random.default_rng(seed)
    speakers = np.repeat(np.arange(N_SPEAKERS), CLIPS_EACH)
    labels = np.tile(np.arange(CLIPS_EACH) % N_LABELS, N_SPEAKERS)
    acoustics = rng.standard_normal((len(speakers), N_FEATURES))
    acoustics += 0.5 * rng.standard_normal((N_SPEAKERS, N_FEATURES))[speakers]
    return Study(rng, speakers, labels, acoustics)


def find_drift(study: Study, before: np.ndarray, after: np.ndarray) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Return the drift of all layers with the floor of repeats alone, and with that of seeds too; and the floor."""
    states = [
        before,
        after,
        *(study.extract(study.before) for _ in range(2)),
        *(study.extract(study.seed()) for _ in range(2)),
    ]
    pairs = [(0, 1), (0, 2), (0, 3), (1, 4), (1, 5)]
    kinds = np.array(["first", REPEAT, REPEAT, SEED, SEED])
    table = pd.concat(
        layer_drift([state[layer] for state in states], pairs, speakers=study.speakers.astype(str)).assign(layer=layer)
        for layer in range(N_LAYERS)
    )
    kind = kinds[table["pair"]]
    table = table.assign(kind=kind, against=kind, step=np.where(kind == REPEAT, 0.0, STEP))
    drift, floor = table[table["kind"] == "first"].drop(columns="kind"), floor_table(table[table["kind"] != "first"])
    repeats = floor[floor["kind"] == REPEAT]
    return {"repeats": add_floor(drift, repeats), "repeats and seeds": add_floor(drift, floor)}, floor


def find_acoustics(study: Study, before: np.ndarray, after: np.ndarray) -> tuple[set[tuple[int, int]], pd.DataFrame]:
    """Return where which functional is lost (layer, functional), and every change of R2 with its corrected p."""
    speakers = study.speakers.astype(str)
    folds = acoustic_folds(speakers, 4)
    targets = prepare_acoustic_targets(study.acoustics, folds, speakers=speakers)
    first, second = ([sums for sums, _ in score_layers(state, targets, control=False)] for state in (before, after))
    rows = []
    for layer, (one, other) in enumerate(zip(first, second, strict=True)):
        changes = left_out_scores(other)["r2"] - left_out_scores(one)["r2"]
        p = change_p(changes, widening(folds))
        rows += [(layer, feature, changes[0, feature], p[feature]) for feature in range(N_FEATURES)]
    table = pd.DataFrame(rows, columns=["layer", "feature", "value", "p"]).assign(
        p_holm=lambda t: holm(t["p"].to_numpy())
    )
    found = table[(table["p_holm"] < ALPHA) & (table["value"].abs() >= LEAST)]
    # A gain counts as a feature that does not exist, and so as wrong.
    return {(int(row.layer), int(row.feature) if row.value < 0 else -1) for row in found.itertuples()}, table


def find_probes(study: Study, before: np.ndarray, after: np.ndarray) -> tuple[set[tuple[int, int]], pd.DataFrame]:
    """Return in which layers the label is read better (1) or worse (-1), and the table of changes."""
    speakers = study.speakers.astype(str)
    target = make_target("label", pd.Series(study.labels.astype(str)), speakers)
    folds = rotated_folds(study.speakers % 4)
    probes = []
    for step, state in ((0.0, before), (STEP, after)):
        names = [RepresentationKey("model", f"step-{step:g}", step, str(layer)) for layer in range(N_LAYERS)]
        fitted = fit_probes(
            state, target, folds, names=names, spec=family("logistic", "classes"), options={"n_inner": 3}
        )
        probes.append((fitted, score_part(fitted, n_resamples=200)))
    (one, scores_one), (other, scores_other) = probes
    table = change_table(one, other, scores_one, scores_other).query("measure == 'uar'")
    found = table[(table["p_holm"] < ALPHA) & (table["value"].abs() >= LEAST)]
    return {
        (int(layer), int(np.sign(value))) for layer, value in zip(found["layer"], found["value"], strict=True)
    }, table


MUST_LOSE = {(EMPTIED, REMOVED), *((NOISY, feature) for feature in range(N_FEATURES))}
MUST_CHANGE = {(LABELLED, 1), (NOISY, -1)}


@dataclass
class Run:
    """What one simulated study gave: by analysis, what was planted but not found, and found but not planted."""

    missed: dict[str, set[str]] = field(default_factory=dict)
    extra: dict[str, set[str]] = field(default_factory=dict)
    sizes: dict[str, float] = field(default_factory=dict)

    def note(self, analysis: str, planted: Iterable[object], found: Iterable[object]) -> None:
        planted, found = {*map(str, planted)}, {*map(str, found)}
        self.missed[analysis], self.extra[analysis] = planted - found, found - planted

    def exact(self, analysis: str) -> bool:
        return not self.missed[analysis] and not self.extra[analysis]


def run_once(seed: int) -> Run:
    """Simulate one study and hold what the three analyses find against what was planted."""
    study, run = simulate(seed), Run()
    study.after[CHANCE] = study.before[CHANCE] @ study.turn()
    before, after = study.extract(study.before), study.extract(study.after)
    tables, floor = find_drift(study, before, after)
    for which, table in tables.items():
        for measure in MEASURES:
            rows = table[table["measure"] == measure]
            chance = {CHANCE} if which == "repeats" and measure in SEES_TURNS else set()
            run.note(
                f"drift: {measure}, floor of {which}",
                MUST_SEE[measure] | chance,
                rows.loc[rows["above_floor"], "layer"],
            )
    values = tables["repeats"].set_index(["measure", "layer"])["value"]
    lost, acoustics = find_acoustics(study, before, after)
    run.note("acoustics: functionals lost, by layer", MUST_LOSE, lost)
    changed, probes = find_probes(study, before, after)
    run.note("probes: label read better or worse, by layer", MUST_CHANGE, changed)
    variance = study.before[SHIFTED].var(axis=0).sum() / (WIDTH * study.spread[SHIFTED] ** 2)
    lost_r2 = acoustics.set_index(["layer", "feature"])["value"]
    others = lost_r2.drop((EMPTIED, REMOVED)).drop(NOISY, level="layer")
    limits = floor[(floor["kind"] == REPEAT) & (floor["measure"] == "cka_debiased")]
    run.sizes = {
        "layer 3, angle from the mean centred cosine (rad)": np.arccos(values["mean_cosine_centred", TURNED]),
        "layer 11, squared move over variance": values["mean_shift", SHIFTED] * variance,
        "layer 12, change of norm": values["relative_norm_change", SCALED],
        "layer 12, change of covariance": values["covariance_shift", SCALED],
        "layer 5, change of R2 of f2": lost_r2[EMPTIED, REMOVED],
        "other features and layers but 9, largest change of R2": others.abs().max(),
        "layer 7, change of UAR": probes.set_index("layer")["value"][str(LABELLED)],
        "floor of repeats, CKA, largest 1 - limit": 1 - limits["limit"].min(),
    }  # fmt: skip
    return run


PLANTED = {
    "layer 3, angle from the mean centred cosine (rad)": f"{ANGLE}",
    "layer 11, squared move over variance": f"{SHIFT**2:.2f}",
    "layer 12, change of norm": f"{SCALE - 1:.1f}",
    "layer 12, change of covariance": f"{(SCALE - 1) ** 2:.2f}",
    "layer 5, change of R2 of f2": "all that there was",
    "other features and layers but 9, largest change of R2": "none",
    "layer 7, change of UAR": "more",
    "floor of repeats, CKA, largest 1 - limit": "-",
}


def as_markdown(runs: Sequence[Run], seconds: float) -> str:
    """Return the report."""
    record = run_record(device="cpu")
    lines = [
        "# Planted truth: are exactly those layers found that were changed?", "",
        f"{record['time_utc']}; {len(runs)} simulated studies of {N_LAYERS} layers, {N_SPEAKERS * CLIPS_EACH} clips, "
        f"{N_SPEAKERS} speakers; {seconds:.0f} s; Python {record['python']}, numpy {record['packages']['numpy']}, "
        f"{record['platform']}, {record['cpu_count']} CPUs.", "",
        "| analysis | planted | exact in | missed | not planted |", "|---|---|---|---|---|",
    ]  # fmt: skip
    planted = {"acoustics: functionals lost, by layer": "f2 in 5; all in 9",
               "probes: label read better or worse, by layer": "better in 7, worse in 9"}  # fmt: skip
    for analysis in runs[0].missed:
        if analysis.startswith("drift"):
            measure = analysis.removeprefix("drift: ").partition(",")[0]
            chance = {CHANCE} if analysis.endswith("repeats") and measure in SEES_TURNS else set()
            planted[analysis] = ", ".join(map(str, sorted(MUST_SEE[measure] | chance)))
        exact = sum(run.exact(analysis) for run in runs)
        listed = [
            _counted([one for run in runs for one in getattr(run, kind)[analysis]]) for kind in ("missed", "extra")
        ]
        lines.append(f"| {analysis} | {planted[analysis]} | {exact} of {len(runs)} | {listed[0]} | {listed[1]} |")
    lines += ["", "| size of a change | planted | measured, mean (SD) over studies |", "|---|---|---|"]
    for name, text in PLANTED.items():
        measured = np.array([run.sizes[name] for run in runs])
        lines.append(f"| {name} | {text} | {measured.mean():.3g} ({measured.std():.1g}) |")
    share = min(sum(run.exact(analysis) for run in runs) / len(runs) for analysis in runs[0].missed)
    verdict = "met" if share >= REQUIRED else "MISSED"
    lines += ["", f"Exact in at least {share:.0%} of the studies, required {REQUIRED:.0%}: {verdict}.", ""]
    lines += ["Made by `benchmarks/planted_truth.py`, whose header says what is planted and how it is looked for.", ""]
    return "\n".join(lines)


def _counted(found: Sequence[str]) -> str:
    return ", ".join(f"{one} ({found.count(one)}x)" for one in sorted(set(found))) or "-"


def main() -> int:
    """Run the studies, print the report and write it; 1 where it is not exact often enough."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="simulated studies")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "benchmarks/results/planted_truth.md")
    given = parser.parse_args()
    began, runs = time.monotonic(), []
    for seed in range(given.runs):
        runs.append(run_once(seed))
        print(f"{seed + 1} of {given.runs}, {time.monotonic() - began:.0f} s", file=sys.stderr)
    report = as_markdown(runs, time.monotonic() - began)
    print(report)
    write_text(given.output, report)
    return 0 if all(sum(run.exact(one) for run in runs) >= REQUIRED * len(runs) for one in runs[0].missed) else 1


if __name__ == "__main__":
    sys.exit(main())
