"""Synthetic tables with the schemas that the analyses write, shaped like a real study."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_probe.report import figures

from .acoustics_tables import acoustics_tables
from .evaluation_tables import evaluation_tables
from .geometry_tables import geometry_tables
from .probe_extras_tables import probe_extras_tables
from .probe_tables import probe_tables
from .stats_tables import stats_tables

MODEL, OTHER_MODEL = "wavlm-large", "hubert-large"
LABELS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness")
MEASURES = {"weighted_f1": 0.0, "macro_f1": -0.01, "uar": 0.005, "accuracy": 0.01}

Tables = dict[str, pd.DataFrame]


def similarity_table(layers: Sequence[str], steps: Sequence[int], n: int = 588) -> pd.DataFrame:
    """Measures with eGeMAPS and its groups everywhere; between layers within and across first and last; two models."""
    depth = np.linspace(0, 1, len(layers))
    progress = {step: i / max(1, len(steps) - 1) for i, step in enumerate(steps)}
    rows: list[dict[str, object]] = []

    def add(
        step_a: int, layer_a: str, step_b: float, layer_b: str, value: float, measure: str, baseline: float
    ) -> None:
        acoustic = layer_b.startswith("functionals")
        rows.append(
            dict(
                model_a=MODEL, checkpoint_a=f"step-{step_a}", step_a=step_a, layer_a=layer_a,
                model_b="eGeMAPSv02" if acoustic else MODEL, checkpoint_b="" if acoustic else f"step-{int(step_b)}",
                step_b=step_b, layer_b=layer_b, measure=measure, value=value, ci_low=value - 0.02,
                ci_high=value + 0.02, p=0.01, n=n, baseline=baseline,
            )
        )  # fmt: skip

    for step in steps:
        for layer, d in zip(layers, depth, strict=True):
            value = 0.44 - 0.3 * d**2 * (0.4 + 0.6 * progress[step]) + 0.05 * np.sin(9 * d)
            add(step, layer, np.nan, "functionals", value, "cka_debiased", np.nan)
            add(step, layer, np.nan, "functionals", value + 0.17, "cka", 0.18)
            add(step, layer, np.nan, "functionals", 1 - value, "procrustes", 0.6)
            for share, group in enumerate(("frequency", "energy", "spectral", "temporal")):
                add(step, layer, np.nan, f"functionals:{group}", value * (share + 1) / 4, "cka_debiased", 0.0)
    ends = (steps[0], steps[-1])
    for a, b in ((ends[0], ends[0]), (ends[1], ends[1]), ends):
        for i, layer_a in enumerate(layers):
            for j, layer_b in enumerate(layers):
                if a == b and j < i:
                    continue
                kept = 1 - 0.35 * (a != b) * depth[j] ** 2
                add(a, layer_a, b, layer_b, kept * np.exp(-2.2 * abs(depth[i] - depth[j])), "cka_debiased", np.nan)
    for step in ends:
        for (i, layer_a), layer_b in itertools.product(enumerate(layers), layers[:3]):
            add(step, layer_a, step, layer_b, 0.3 + 0.5 * depth[i] * (layer_b == "2"), "cka_debiased", 0.0)
            rows[-1] |= {"model_b": OTHER_MODEL}
    return pd.DataFrame(rows)


def probe_table(layers: Sequence[str], steps: Sequence[int], rng: np.random.Generator, seeds: int = 5) -> pd.DataFrame:
    """Scores of a linear probe with its controls and the acoustic baseline, per seed and split."""
    depth = np.linspace(0, 1, len(layers))
    rows: list[dict[str, object]] = []

    def add(level: float, model: str, step: float, layer: str, control: str, seed: int) -> None:
        for split, n in (("validation", 168), ("test", 84)):
            for measure, shift in MEASURES.items():
                value = float(np.clip(level + shift + 0.012 * rng.standard_normal(), 0, 1))
                rows.append(
                    dict(
                        corpus="emovo", model=model, run_seed=0,
                        checkpoint="" if np.isnan(step) else f"step-{int(step)}",
                        step=step, layer=layer, pooling="mean", feature="embedding", measure=measure, value=value,
                        ci_low=value - 0.06, ci_high=value + 0.06, n=n, target="label", family="linear",
                        probe_seed=seed, control=control, split=split, n_epochs=40,
                    )
                )  # fmt: skip

    for seed in range(seeds):
        add(0.47, "eGeMAPSv02", np.nan, "functionals", "none", seed)
        add(0.05, "eGeMAPSv02", np.nan, "functionals", "majority_class", seed)
        for i, step in enumerate(steps):
            progress = i / max(1, len(steps) - 1)
            for layer, d in zip(layers, depth, strict=True):
                score = 0.35 + 0.25 * np.sin(2.4 * d) + 0.28 * progress * d
                add(score, MODEL, step, layer, "none", seed)
                add(0.16, MODEL, step, layer, "shuffled_labels", seed)
    return pd.DataFrame(rows)


def drift_table(layers: Sequence[str], steps: Sequence[int]) -> pd.DataFrame:
    """Drift against step 0, step 0 itself included, and against the step before."""
    rows = []
    for i, step in enumerate(steps):
        progress = (i / max(1, len(steps) - 1)) ** 0.6
        for layer, d in zip(layers, np.linspace(0, 1, len(layers)), strict=True):
            change = progress * d**1.5
            values = {
                "cka_debiased": 1 - 0.55 * change,
                "mean_cosine": 1 - 0.4 * change,
                "relative_norm_change": 0.3 * change,
                "mean_shift": 2 * change,
                "covariance_shift": change,
            }
            for against in ("first", "previous") if i else ("first",):
                rows += [
                    dict(corpus="emovo", model=MODEL, run_seed=0, checkpoint=f"step-{step}", step=step, layer=layer,
                         pooling="mean", feature="embedding", measure=measure, value=value, ci_low=value - 0.01,
                         ci_high=value + 0.01, n=588, against=against,
                         floor_repeat=0.02, floor_seed=0.05 if step == steps[-1] else np.nan, above_floor=change > 0.1)
                    for measure, value in values.items()
                ]  # fmt: skip
    return pd.DataFrame(rows)


def drift_groups_table(layers: Sequence[str], steps: Sequence[int]) -> pd.DataFrame:
    """The same by label and by speaker, each group a little further."""
    table = drift_table(layers, steps).assign(n=98)
    groups = [("label", label) for label in LABELS] + [("speaker", f"s{i}") for i in range(15)]
    return pd.concat(
        [table.assign(group_by=by, group=name, value=table["value"] + i / 100) for i, (by, name) in enumerate(groups)],
        ignore_index=True,
    )


def weight_drift_table(n_layers: int, steps: Sequence[int]) -> pd.DataFrame:
    """Weights that move the more the later the block, and never in the front end."""
    parts = ["front_end", "positional_conv", *(str(i + 1) for i in range(n_layers))]
    rows = []
    for i, step in enumerate(steps):
        measures = [("first", "relative_change", i), *([("previous", "relative_change", 1)] if i else []),
                    *([("previous", "update_cosine", np.nan)] if i > 1 else [])]  # fmt: skip
        rows += [
            dict(corpus="emovo", model=MODEL, step=step, layer=part, against=against, measure=measure, n=1000,
                 value=(0.5 if place else np.nan) if measure == "update_cosine" else 0.01 * place * amount)
            for place, part in enumerate(parts)
            for against, measure, amount in measures
        ]  # fmt: skip
    return pd.DataFrame(rows)


def umap_table(layers: Sequence[str], steps: Sequence[int], rng: np.random.Generator, n: int = 252) -> pd.DataFrame:
    """Clips that gather by speaker before, and by label after fine-tuning."""
    speakers = [f"{sex}{i}" for sex in "fm" for i in (1, 2, 3)]
    parts = []
    for layer in layers:
        for i, step in enumerate(steps):
            progress = i / max(1, len(steps) - 1)
            label, speaker = np.arange(n) % len(LABELS), (np.arange(n) // len(LABELS)) % len(speakers)
            by_label = np.exp(1j * 2 * np.pi * label / len(LABELS))
            by_speaker = np.exp(1j * (0.4 + 2 * np.pi * speaker / len(speakers)))
            place = 6 * (progress * by_label + (1 - progress) * by_speaker)
            parts.append(
                pd.DataFrame(
                    dict(
                        model=MODEL, checkpoint=f"step-{step}", step=step, layer=layer,
                        clip_id=[f"clip{k:04d}" for k in range(n)],
                        x=place.real + rng.standard_normal(n), y=place.imag + rng.standard_normal(n),
                        label=[LABELS[k] for k in label], speaker=[speakers[k] for k in speaker],
                        gender=["female" if speakers[k][0] == "f" else "male" for k in speaker],
                        split=["test" if k % 3 == 0 else "train" for k in range(n)],
                        trustworthiness=0.9 + 0.05 * progress,
                    )
                )
            )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def training_table(last_step: int, every: int) -> pd.DataFrame:
    """Losses, scores and the learning rate of one run."""
    rows = []

    def add(step: int, split: str, measure: str, value: float) -> None:
        rows.append(dict(run_seed=0, step=step, epoch=step / 50, split=split, measure=measure, value=value))

    for step in range(5, last_step + 1, 5):
        add(step, "train", "loss", 1.8 * np.exp(-step / 200) + 0.06 * np.sin(step))
        add(step, "train", "learning_rate", 1e-5 * min(step / 40, (last_step - step) / (last_step - 40)))
    for step in range(0, last_step + 1, every):
        progress = 1 - np.exp(-step / 150)
        add(step, "validation", "loss", 1.8 - 0.9 * progress + 0.25 * (step / last_step) ** 3)
        for measure, level in (("accuracy", 0.62), ("uar", 0.6), ("macro_f1", 0.57)):
            add(step, "validation", measure, 0.16 + (level - 0.16) * progress)
    return pd.DataFrame(rows)


def audit_table(labels: Sequence[str] = LABELS) -> pd.DataFrame:
    """The audit of a split of six speakers into three, two of each gender by clips."""
    rows: list[tuple[str, str, str, float]] = []
    for split, speakers in (("train", {"female": 1, "male": 1}), ("validation", {"female": 1, "male": 1}),
                            ("test", {"female": 1, "male": 1})):  # fmt: skip
        n = 98 * sum(speakers.values())
        rows += [(split, "clips", "", n), (split, "hours", "", n * 3.1 / 3600)]
        rows += [(split, "speakers", "", sum(speakers.values())), (split, "shared_speakers", "", 0)]
        rows += [(split, "sentences", "", 14), (split, "shared_sentences", "", 14)]
        rows += [(split, "speakers_by_gender", gender, count) for gender, count in speakers.items()]
        rows += [(split, "clips_by_gender", gender, 98 * count) for gender, count in speakers.items()]
        rows += [(split, "clips_by_label", label, n / len(labels)) for label in labels]
    return pd.DataFrame(rows, columns=["split", "measure", "level", "value"])


def study_tables(n_layers: int, steps: Sequence[int], rng: np.random.Generator) -> Tables:
    """All tables of a study with layers 0..n and final."""
    layers = [*(str(i) for i in range(n_layers + 1)), "final"]
    training = training_table(max(steps), steps[1] - steps[0])
    return {
        "audit": audit_table(),
        "training": training,
        "training_runs": pd.concat([training.assign(run=name) for name in ("plain", "adapters")]),
        **evaluation_tables(LABELS),
        "similarity": similarity_table(layers, steps),
        "probe": probe_table(layers, steps, rng),
        "drift": drift_table(layers, steps),
        "drift_groups": drift_groups_table(layers, steps),
        "weight_drift": weight_drift_table(n_layers, steps),
        "umap": umap_table([layers[0], layers[-1]], steps, rng),
        **probe_extras_tables(layers, steps),
        **probe_tables(layers, steps),
        **stats_tables(steps, layers),
        **geometry_tables(layers, steps),
        **acoustics_tables(layers, steps),
    }


@pytest.fixture(scope="session")
def shared_tables() -> Tables:
    return study_tables(3, (0, 50, 100, 150), np.random.default_rng(20_240_601))


@pytest.fixture
def tables(shared_tables: Tables) -> Tables:
    """A small study: four layers and `final`, four checkpoints. Each test has copies of its own."""
    return {name: table.copy() for name, table in shared_tables.items()}


@pytest.fixture
def make_tables(rng: np.random.Generator) -> Callable[[int, Sequence[int]], Tables]:
    return lambda n_layers, steps: study_tables(n_layers, steps, rng)


@pytest.fixture
def figures_folder(tmp_path: Path) -> Path:
    return tmp_path / "figures"


@pytest.fixture
def unsaved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw figures and save none, where which there are is the matter: to lay one out and save it takes a second."""
    monkeypatch.setattr(figures, "save_figure", lambda _figure, folder, name: _paths(folder, name))


def _paths(folder: Path, name: str) -> list[Path]:
    return [folder / f"{name}.png", folder / f"{name}.svg"]
