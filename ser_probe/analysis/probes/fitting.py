"""What a layer tells a linear classifier: probe training, controls, scores, and the choice of a layer.

A probe never sees a test speaker: splits that share a speaker are refused. Features are standardised on the
training part; training stops, and a layer is chosen, on validation; test is only ever scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from ser_probe.analysis.inputs import RepresentationKey, check_features, check_lengths, key_columns
from ser_probe.analysis.metrics import MEASURES, confusion_matrices, confusion_scores
from ser_probe.analysis.probes.softmax import ProbeOptions, fit_softmax_probes, standardise
from ser_probe.analysis.resampling import bootstrap_counts, bootstrap_interval, group_codes
from ser_probe.analysis.splits import check_split
from ser_probe.errors import AnalysisError
from ser_probe.runtime import SILENT, Progress, derive_seed

DEFAULT_SEEDS = tuple(range(10))
_FEATURE_BYTES = 256 * 2**20  # standardised features that are held at a time
_SCORED = ("validation", "test")


@dataclass(frozen=True)
class Probes:
    """What trained probes predict; `score_probes` and `summarise_probes` make tables of it.

    Args:
        names: R representations.
        seeds: S probe seeds.
        control: `none`, `shuffled_labels` or `majority_class`.
        classes: C class names.
        labels: Each clip's true class, int [N].
        split: Each clip's part, [N].
        groups: Each clip's speaker, [N].
        predictions: Predicted classes, int16 [R, S, N], of all clips.
        n_epochs: Epochs each probe was trained, int [R, S].
    """

    names: Sequence[str | RepresentationKey]
    seeds: Sequence[int]
    control: str
    classes: np.ndarray
    labels: np.ndarray
    split: np.ndarray
    groups: np.ndarray
    predictions: np.ndarray
    n_epochs: np.ndarray


def fit_probes(
    x: np.ndarray,
    y: np.ndarray,
    split: np.ndarray,
    *,
    groups: np.ndarray,
    names: Sequence[str | RepresentationKey],
    seeds: Sequence[int] = DEFAULT_SEEDS,
    shuffled_labels: bool = False,
    options: ProbeOptions | None = None,
    device: str | torch.device = "cpu",
    progress: Progress = SILENT,
) -> Probes:
    """Train a linear softmax probe for each representation and seed, all at once.

    Which clips may train a probe matters as much as how it is trained. Clips that a backbone was fine-tuned on lie
    apart by label in the later checkpoints because they were pushed there; a probe trained on them is not what it
    would be on new speakers. Where there are enough held-out speakers, split those.

    Args:
        x: Features of R representations of one width, [R, N, D].
        y: Labels [N].
        split: `train`, `validation` or `test` for each clip [N].
        groups: Each clip's speaker [N].
        names: R names.
        seeds: S seeds, each of initial weights, batch order and (if asked for) shuffled labels.
        shuffled_labels: Train the control: labels permuted within each speaker, to learn from and to stop by. Its
            scores on the true labels are what the probe reaches without knowing anything of them.
        options: How to train; Study E's way by default.
        device: Where to train.
        progress: Told of each representation.

    Raises:
        AnalysisError: If a speaker is in two parts, a part is empty, a class never occurs in training, there is one
            class only, a feature is NaN, or lengths differ.
    """
    x = check_features(x, "The probes' features", ndim=3)
    check_lengths(features=x[0], labels=y, split=split, groups=groups)
    if len(x) != len(names):
        raise AnalysisError(
            "The probes need one name per representation", expected=f"{len(x)} names", found=f"{len(names)}"
        )
    check_split(y, split, groups)
    split, groups = np.asarray(split).astype(str), np.asarray(groups).astype(str)
    classes, labels = group_codes(y)
    training, validating = split == "train", split == "validation"
    # The control's validation labels are shuffled too: stopping by the true ones picks, of many ignorant probes, one
    # that happens to know them, and with separable features that one does well on test.
    given = np.stack([_shuffled(labels, groups, seed) if shuffled_labels else labels for seed in seeds])
    shape = (len(x), len(seeds))
    predictions, n_epochs = np.empty((*shape, len(labels)), np.int16), np.empty(shape, int)
    at_once = max(1, _FEATURE_BYTES // (4 * x[0].size))
    progress.start("probes", len(x), "representations")
    for start in range(0, len(x), at_once):
        part = slice(start, start + at_once)
        features = torch.from_numpy(standardise(x[part], training)).to(device)
        fitted = fit_softmax_probes(
            features[:, torch.from_numpy(training)],
            torch.from_numpy(given[:, training]).to(device),
            features[:, torch.from_numpy(validating)],
            torch.from_numpy(given[:, validating]).to(device),
            n_classes=len(classes),
            seeds=seeds,
            options=options or ProbeOptions(),
        )
        weights = torch.from_numpy(fitted.weights).to(device)
        for index in range(len(features)):
            logits = features[index] @ weights[index, :, :-1] + weights[index, :, -1:]
            predictions[start + index] = logits.argmax(dim=-1).cpu().numpy()
        n_epochs[part] = fitted.n_epochs
        progress.advance(len(features))
    progress.finish()
    control = "shuffled_labels" if shuffled_labels else "none"
    return Probes(names, seeds, control, classes, labels, split, groups, predictions, n_epochs)


def majority_probe(
    y: np.ndarray, split: np.ndarray, *, groups: np.ndarray, name: str | RepresentationKey = ""
) -> Probes:
    """Return the control that always answers with the most frequent training class (the first of equals)."""
    check_lengths(labels=y, split=split, groups=groups)
    check_split(y, split, groups)
    split, groups = np.asarray(split).astype(str), np.asarray(groups).astype(str)
    classes, labels = group_codes(y)
    answer = np.bincount(labels[split == "train"]).argmax()
    predictions = np.full((1, 1, len(labels)), answer, np.int16)
    return Probes([name], [0], "majority_class", classes, labels, split, groups, predictions, np.zeros((1, 1), int))


def score_probes(probes: Probes) -> pd.DataFrame:
    """Score each probe on validation and test.

    Returns:
        A row per representation, seed, split and measure. A single seed has no interval: `summarise_probes` gives it.
    """
    tables = []
    for split in _SCORED:
        chosen = probes.split == split
        confusion = confusion_matrices(probes.labels[chosen], probes.predictions[..., chosen], len(probes.classes))
        for measure, values in confusion_scores(confusion).items():
            table = pd.DataFrame([key_columns(name) for name in probes.names for _ in probes.seeds])
            table["probe_seed"] = list(probes.seeds) * len(probes.names)
            table["control"], table["split"], table["measure"] = probes.control, split, measure
            table["value"], table["ci_low"], table["ci_high"] = values.ravel(), np.nan, np.nan
            table["n"], table["n_speakers"] = int(chosen.sum()), len(np.unique(probes.groups[chosen]))
            table["n_epochs"] = probes.n_epochs.ravel()
            tables.append(table)
    return pd.concat(tables, ignore_index=True)


def summarise_probes(probes: Probes, *, n_resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Return the mean over probe seeds with its 95 % interval over speakers.

    The interval is a bootstrap over the split's speakers of the mean over seeds: it tells how the score would vary
    with other speakers, not how it varies with the probe's seed (`std_over_seeds` does). With fewer than three
    speakers there is none. All representations see the same resamples.

    Returns:
        A row per representation, split and measure.
    """
    rows = []
    for split in _SCORED:
        chosen = probes.split == split
        speakers, codes = group_codes(probes.groups[chosen])
        counts = bootstrap_counts(len(speakers), n_resamples=n_resamples, seed=seed)
        for index, name in enumerate(probes.names):
            labels, predictions = probes.labels[chosen], probes.predictions[index][:, chosen]
            # [G, S, C, C]: the confusion of a resample is the sum of its speakers' ones.
            by_speaker = np.stack([
                confusion_matrices(labels[codes == g], predictions[:, codes == g], len(probes.classes))
                for g in range(len(speakers))
            ])  # fmt: skip
            values = confusion_scores(by_speaker.sum(axis=0))
            resampled = confusion_scores(np.tensordot(counts, by_speaker, axes=1))
            for measure in MEASURES:
                mean = values[measure].mean()
                low, high = bootstrap_interval(mean, resampled[measure].mean(axis=1), len(speakers), bounds=(0.0, 1.0))
                rows.append({
                    **key_columns(name), "control": probes.control, "split": split, "measure": measure,
                    "value": float(mean), "ci_low": float(low), "ci_high": float(high),
                    "std_over_seeds": float(values[measure].std(ddof=1)) if len(probes.seeds) > 1 else np.nan,
                    "n": int(chosen.sum()), "n_speakers": len(speakers), "n_seeds": len(probes.seeds),
                    "n_epochs": float(probes.n_epochs[index].mean()),
                })  # fmt: skip
    return pd.DataFrame(rows)


def best_layer(table: pd.DataFrame, *, measure: str = "uar") -> pd.DataFrame:
    """Choose the best layer on validation and say what it reaches on test.

    Choosing on test would report the luckiest of the layers as the best.

    Args:
        table: From `score_probes` or `summarise_probes`; other columns of the key (model, checkpoint, step) are kept
            apart. Controls are ignored.
        measure: What to choose by.

    Returns:
        A row per model and checkpoint: the layer (the first of equals), `validation_value` and `test_value`, means
        over seeds.

    Raises:
        AnalysisError: If the table has no validation row of that measure.
    """
    chosen = table[(table["measure"] == measure) & (table["control"] == "none")]
    if not (chosen["split"] == "validation").any():
        known = sorted(set(zip(table["measure"], table["split"], table["control"], strict=True)))
        raise AnalysisError(
            "There is no score to choose a layer by",
            expected=f"rows with measure {measure!r}, split 'validation' and control 'none'",
            found="; ".join(", ".join(row) for row in known) or "an empty table",
        )
    place = [column for column in ("corpus", "model", "run_seed", "checkpoint", "step", "target") if column in table]
    # Features without training have no step: NaN must stay a key of its own.
    grouped = chosen.groupby([*place, "layer", "split"], sort=False, dropna=False)["value"].mean()
    means = grouped.unstack("split", sort=False).reset_index()
    means = means.rename(columns={split: f"{split}_value" for split in _SCORED}).rename_axis(columns=None)
    best = means.sort_values("validation_value", ascending=False, kind="stable")
    best = best.drop_duplicates(place) if place else best.head(1)
    return best.sort_index().assign(measure=measure).reset_index(drop=True)


def _shuffled(labels: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Permute labels within each speaker, so that how often a speaker has a label does not change."""
    rng = np.random.default_rng(derive_seed("shuffled labels", seed))
    shuffled = labels.copy()
    for group in np.unique(groups):
        own = np.flatnonzero(groups == group)
        shuffled[own] = labels[rng.permutation(own)]
    return shuffled
