"""The analysis `acoustics`: which acoustic functionals each layer keeps, and what fine-tuning loses and gains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from ser_probe.analysis.acoustics.folds import MIN_SPEAKERS, acoustic_folds
from ser_probe.analysis.acoustics.functional_groups import functional_group
from ser_probe.analysis.acoustics.functionals import (
    FEW_CLIPS,
    describe_functionals,
    flag_targets,
    transform_targets,
)
from ser_probe.analysis.acoustics.prediction import (
    AcousticTargets,
    group_means,
    prepare_acoustic_targets,
    score_layers,
    training_means,
)
from ser_probe.analysis.acoustics.scores import speaker_sums, widening
from ser_probe.analysis.acoustics.table import Functionals, acoustics_table, changes_table, groups_table
from ser_probe.analysis.inputs import RepresentationKey
from ser_probe.analysis.similarity.cka import cka_pairs
from ser_probe.analysis.similarity.table import standardised
from ser_probe.config import AcousticsConfig
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.errors import AnalysisError
from ser_probe.report.tables import POOLED
from ser_probe.runtime import Progress
from ser_probe.steps.analyses.corpora import Part, corpus_counts, corpus_parts, in_context, join_parts, of_each
from ser_probe.steps.analyses.inputs import Inputs
from ser_probe.steps.analyses.representations import FEATURE_LAYER, Joined, Representation
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.tables import write_table

_LAYERS_AT_ONCE = 8
_FACTORS = ("speaker", "gender", "label", "sentence")
_ALL = "all"


@dataclass(frozen=True)
class _Material:
    """What one run of the analysis works on."""

    joined: Joined
    random: Representation | None
    functionals: Functionals
    raw: np.ndarray
    predicted: np.ndarray
    targets: AcousticTargets


def run(inputs: Inputs, config: AcousticsConfig) -> Outcome:
    """Write `acoustics_functionals`, `acoustics_groups`, `acoustics_changes` and `acoustics`.

    Clips of several corpora are also predicted corpus by corpus, with a column `corpus` that is `all` for all of them
    together.

    Args:
        inputs: Caches, features that are predicted from them, and a control. The seed is that of the folds and of the
            shuffled clips.
        config: How to predict; its splits, where it names any, take the place of those of the inputs.

    Raises:
        AnalysisError: If there are no features, fewer than three speakers, or no functional varies.
    """
    progress, features = inputs.progress, inputs.features
    if features is None:
        raise AnalysisError("There are no acoustic features to predict", fix="give the file of eGeMAPS")
    looked_at = replace(inputs, splits=config.splits or inputs.splits)
    joined, random = looked_at.join(with_control=True).without_control(inputs.control)
    parts = corpus_parts(joined, "acoustics", progress, apart=inputs.by_corpus)
    represented = [*joined.checkpoints, *([] if random is None else [random])]
    progress.start("acoustics", len(parts) * sum(len(state.layer_names) for state in represented), "layers")

    def predict(part: Part, counted: Progress) -> tuple[_Material, dict[str, pd.DataFrame]]:
        own_random = None if random is None else replace(random, rows=random.rows[part.places])
        material = _prepare(part, own_random, features, config, inputs.seed, counted)
        return material, _tables(material, config, counted)

    parts, made = of_each(parts, predict, "acoustics", progress)
    progress.finish()
    written: list[Path] = []
    for name in made[0][1]:
        table = join_parts(parts, [tables[name] for _, tables in made])
        if not table.empty:
            table = table.assign(pooling=joined.checkpoints[0].pooling, transform=config.transform)
            written += write_table(in_context(table, inputs.context), inputs.output, name)
    flags = list(made[0][0].functionals.flags)
    facts = (
        joined.counts()
        | corpus_counts(parts)
        | {
            "functionals": len(flags),
            "that cannot be relied on": sum(flag != "" for flag in flags),
            "folds of speakers": len(made[0][0].targets.folds.names),
        }
    )
    return Outcome(tuple(written), facts)


def lack(inputs: Inputs, config: AcousticsConfig) -> str:
    """Return why the clips of a study admit no prediction for unheard speakers; empty where they do."""
    clips, splits = inputs.clips, config.splits or inputs.splits
    if clips is None:
        return ""
    known = clips if splits == "all" else clips[clips["split"].isin(splits)]
    if known["speaker"].nunique() < MIN_SPEAKERS:
        return f"because it needs {MIN_SPEAKERS} speakers: set analyze.acoustics.splits to all"
    return ""


def _tables(material: _Material, config: AcousticsConfig, progress: Progress) -> dict[str, pd.DataFrame]:
    """Return the tables over some clips, the most important last."""
    scored = _score(material, config, progress)
    n, widened = len(material.joined.clips), widening(material.targets.folds)
    groups = groups_table(scored, material.functionals, n, widened)
    if config.cka:
        groups = pd.concat([groups, _group_similarity(material)], ignore_index=True)
    return {
        "acoustics_functionals": _description(material),
        "acoustics_groups": groups,
        "acoustics_changes": changes_table(scored, material.functionals, n, widened),
        "acoustics": acoustics_table(scored, material.functionals, n, widened),
    }


def _prepare(
    part: Part,
    random: Representation | None,
    features: Path,
    config: AcousticsConfig,
    seed: int,
    progress: Progress,
) -> _Material:
    joined, where = part.joined, f" in {part.corpus}" if part.corpus not in ("", POOLED) else ""
    assert joined.features is not None
    raw = joined.features.layer(FEATURE_LAYER)
    with EmbeddingCache.open(features) as cache:
        stored = cache.attributes.get("feature_names")
    names = [str(name) for name in stored] if stored is not None else [f"feature {i}" for i in range(raw.shape[1])]
    predicted = transform_targets(raw, config.transform)
    functionals = Functionals(names, [functional_group(name) for name in names], flag_targets(predicted))
    for flag in dict.fromkeys(flag for flag in functionals.flags if flag):
        flagged = [name for name, its_flag in zip(names, functionals.flags, strict=True) if its_flag == flag]
        remedy = " (the transform `rank` removes their influence)" if flag == FEW_CLIPS else ""
        progress.say(f"acoustics: {len(flagged)} functionals are left out of means and rankings{where}: {flag}{remedy}")
    if not len(functionals.scored):
        raise AnalysisError("No acoustic feature varies over these clips", where=features, found=f"{len(raw)} clips")
    speakers = joined.column("speaker")
    genders = _genders(joined, config, where, progress)
    folds = acoustic_folds(speakers, config.folds, genders=genders, seed=seed)
    if len(folds.names) < config.folds:
        progress.say(f"acoustics: {len(folds.names)} speakers{where} are {len(folds.names)} folds, not {config.folds}")
    targets = prepare_acoustic_targets(
        predicted[:, functionals.scored],
        folds,
        speakers=speakers,
        strengths=config.strengths,
        n_inner=config.inner_folds,
        seed=seed,
    )
    return _Material(joined, random, functionals, raw, predicted, targets)


def _genders(joined: Joined, config: AcousticsConfig, where: str, progress: Progress) -> np.ndarray | None:
    """Return the gender of each clip [N], None where it is not known of all.

    Raises:
        AnalysisError: If the control that needs it is asked for, beyond the defaults, and the clips have no such
            column.
    """
    if joined.varies("gender"):
        return joined.column("gender")
    if "gender_only" in config.controls:
        if "gender" not in joined.clips and config.controls != AcousticsConfig().controls:
            raise AnalysisError("The clips have no column 'gender'", where="analyze.acoustics.controls")
        if "gender" in joined.clips:
            progress.say(f"acoustics without the control gender_only{where}: the clips do not all have a gender")
        elif not where:  # said of all clips
            progress.say("acoustics without the control gender_only: the clips have no column 'gender'")
    return None


def _score(
    material: _Material, config: AcousticsConfig, progress: Progress
) -> dict[tuple[RepresentationKey, str], np.ndarray]:
    """Return the sums of every layer and control."""
    joined, targets = material.joined, material.targets
    scored: dict[tuple[RepresentationKey, str], np.ndarray] = {}
    shuffles = "shuffled_clips" in config.controls
    random = [] if material.random is None else [material.random]
    represented = [*joined.checkpoints, *random]
    for state in represented:
        is_random = state is material.random
        for names, x in _chunks(state):
            for name, (real, control) in zip(names, score_layers(x, targets, control=shuffles), strict=True):
                key = state.key(name)
                if is_random:
                    key = RepresentationKey(joined.checkpoints[0].model, "", float("nan"), name)
                scored[key, "random_weights" if is_random else "none"] = real
                if shuffles and not is_random:
                    scored[key, "shuffled_clips"] = control
                progress.advance()
    if "gender_only" in config.controls and joined.varies("gender"):
        guessed = group_means(targets.y, joined.column("gender"), targets.folds)
        sums = speaker_sums(targets.y, guessed, training_means(targets.y, targets.folds), targets.speakers)
        for model in dict.fromkeys(state.model for state in joined.checkpoints):
            scored[RepresentationKey(model, "", float("nan"), ""), "gender_only"] = sums
    return scored


def _chunks(state: Representation) -> Iterator[tuple[Sequence[str], np.ndarray]]:
    for start in range(0, len(state.layer_names), _LAYERS_AT_ONCE):
        names = state.layer_names[start : start + _LAYERS_AT_ONCE]
        yield names, np.stack([state.layer(name) for name in names])


def _group_similarity(material: _Material) -> pd.DataFrame:
    """Return the debiased CKA of every layer with the functionals of each group, flagged ones left out."""
    functionals, joined = material.functionals, material.joined
    sound = np.array([not flag for flag in functionals.flags])
    groups = np.asarray(functionals.groups, object)
    chosen = {group: sound & ((groups == group) | (group == _ALL)) for group in (_ALL, *dict.fromkeys(groups))}
    chosen = {group: columns for group, columns in chosen.items() if columns.any()}
    others = [standardised(material.predicted[:, columns]) for columns in chosen.values()]
    rows = []
    for state in joined.checkpoints:
        layers = list(state.layer_names)
        cka = cka_pairs(
            [partial(state.layer, name) for name in layers],
            others,
            groups=material.targets.speakers,
            names=[f"{state.model} {state.checkpoint} layer {name}" for name in layers],
            other_names=[f"functionals of group {group}" for group in chosen],
        )["cka_debiased"]
        for row, name in enumerate(layers):
            for column, (group, columns) in enumerate(chosen.items()):
                rows.append({
                    **state.key(name)._asdict(), "group": group, "control": "none", "measure": "cka_debiased",
                    "value": cka.value[row, column], "ci_low": cka.ci_low[row, column],
                    "ci_high": cka.ci_high[row, column], "n": len(joined.clips),
                    "n_speakers": len(np.unique(material.targets.speakers)), "n_features": int(columns.sum()),
                })  # fmt: skip
    return pd.DataFrame(rows)


def _description(material: _Material) -> pd.DataFrame:
    joined, functionals = material.joined, material.functionals
    factors = {name: joined.column(name) for name in _FACTORS if joined.varies(name)}
    return describe_functionals(
        material.raw,
        functionals.names,
        dict(zip(functionals.names, functionals.groups, strict=True)),
        predicted=material.predicted,
        factors=factors,
    )
