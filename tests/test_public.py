"""What users build on: every public name with its signature, as text, so that no change goes unseen.

A difference here is a change for users: say it in CHANGELOG.md. Annotations are not shown.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

import ser_probe

WIDTH, INDENT = 116, "    "
WHOLE: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}

PUBLIC = """\
AnalysisResult(name, tables, facts=<factory>, notes=(), headline=<factory>)
    figures, notes, plot, table
EmbeddingCache(path, header, stream)
    array, blocks, check_layer, clip_ids, close, frames, layer, layers, open, positions, to_frame, vector_index,
    verify
FinetuneResult(folder, training, best, checkpoints, facts=<factory>, notes=())
    notes, plot
LinearProbe(*, learning_rate=0.01, batch_size=16, max_epochs=1000, patience=5, min_delta=0.025,
    validation_fraction=0.2, random_state=0)
    decision_function, fit, predict, predict_proba, set_fit_request, set_score_request
LogisticProbe(*, strengths=(1.0, 10.0, 100.0, 1000.0, 10000.0), n_inner=5, tolerance=1e-08, max_iterations=1000)
    decision_function, fit, predict, predict_proba, set_fit_request, set_score_request
Manifest(table, audio_root, source=None, notes=())
    audio_paths, fingerprint, notes, reachable_paths, resolve, source
RidgeProbe(*, strengths=(1.0, 4.641588833612778, 21.544346900318832, 100.0, 464.15888336127773, 2154.4346900318824,
    10000.0, 46415.888336127726, 215443.46900318822, 1000000.0), n_inner=5)
    fit, predict, set_fit_request, set_score_request
SerProbeError(what, *, where=None, expected=None, found=None, fix=None)
__version__
acoustics(caches, features, speakers=None, *, clips=None, control=None, splits='all', by_corpus=True, seed=0,
    output=None, progress=SILENT, folds=5, inner_folds=4, strengths=(10.0, 100.0, 1000.0, 10000.0, 100000.0,
    1000000.0), transform='none', controls=('shuffled_clips', 'gender_only'), cka=True)
drift(caches, reference=None, *, labels=None, speakers=None, clips=None, repeats=(), seed_caches=(), weights=None,
    splits='all', by_corpus=True, output=None, progress=SILENT, measures=('cka_debiased', 'procrustes',
    'mean_cosine', 'mean_cosine_centred', 'knn_overlap', 'relative_norm_change', 'mean_shift', 'covariance_shift'),
    against=('first', 'previous'), by=('label', 'speaker'), neighbours=10)
evaluate(model, manifest, *, output=None, name=None, audio_root=None, progress=SILENT, splits='auto', label_map={},
    target_columns={}, by='auto', loudness_lufs='checkpoint', min_duration_s=0.1, max_duration_s='checkpoint',
    bins=15, resamples=1000, seed=0, precision='fp32', batch_seconds='auto', max_clips=None, workers='auto',
    device='auto', strict=False)
export_onnx(classifier, path)
extract(manifest, model, output=None, *, pooling='mean', audio_root=None, progress=SILENT, precision='fp32',
    storage='float32', splits='all', long_clips='reject', chunk_overlap_s=2.0, batch_seconds='auto', max_clips=None,
    workers='auto', device='auto', verify=4, revision=None, random_weights=None, loudness_lufs=None, peak_dbfs=None,
    trim=None, min_duration_s=0.1, max_duration_s=30.0, strict=False)
finetune(manifest, model, output, *, scheme='manifest', seeds=None, restart=False, audio_root=None, progress=SILENT,
    seed=0, targets='classes', target_columns=(), loss=None, class_weights='none', label_smoothing=0.0,
    head={'layers': 'final', 'mix': 'frames', 'pooling': 'mean', 'batch_norm': False, 'relu': False, 'dropout': 0.0,
    'hidden': (), 'l2': 0.0}, trained='encoder', lora=None, augment=None, epochs=10.0, max_steps=None,
    batch_size=16, gradient_accumulation=1, gradient_checkpointing=False, group_by_length=True, learning_rate=1e-05,
    head_learning_rate=None, weight_decay=0.01, warmup_ratio=0.1, scheduler='linear', max_grad_norm=1.0,
    precision='fp32', checkpoint_every=50, early_stopping={'metric': 'loss', 'threshold': 0.025, 'patience': 5},
    spec_augment=False, cache_front_end='auto', cache_audio=True, keep_optimizer='last', device='auto',
    fractions=None, folds=5, fold=0, revision=None, random_weights=None, loudness_lufs=None, peak_dbfs=None,
    trim=None, min_duration_s=0.1, max_duration_s=30.0, target='label', labels=None, keep={}, strict=False)
geometry(caches, labels=None, speakers=None, *, clips=None, features=None, splits='all', by_corpus=True, seed=0,
    output=None, progress=SILENT, by=('label', 'speaker'), factors=('label', 'speaker', 'gender', 'sentence'),
    permutations=20, components=64, rank_intervals=False)
load_classifier(path, *, device='auto')
load_study(path, overrides=(), *, command=None)
plot_acoustics(table, ax=None, *, group='all', measure='r2', **where)
plot_confusion(table, ax=None, *, counts=False, **where)
plot_drift(table, ax=None, *, measure='cka_debiased', **where)
plot_geometry(table, ax=None, *, measure='effective_rank', factor='', **where)
plot_probe_changes(table, ax=None, *, measure='uar', **where)
plot_probe_scores(table, ax=None, *, measure='weighted_f1', split='test', **where)
plot_reliability(table, ax=None, **where)
plot_similarity(table, ax=None, *, measure=None, **where)
plot_training(table, ax=None, **where)
plot_umap(table, ax=None, *, color='label', layer=None, **where)
probe(caches, labels=None, speakers=None, *, clips=None, features=None, control=None, output=None, progress=SILENT,
    families=('linear',), division='auto', folds=5, among='test', targets=('label',), task='auto', groups='speaker',
    initialisations=10, learning_rate=0.01, batch_size=16, max_epochs=1000, patience=5, min_delta=0.025,
    controls=('shuffled_labels', 'majority_class'), description_length=False, learning_curve=False, transfer=True,
    directions=True, scheme='study_e', seed=0)
read_corpus(name, root, **options)
read_manifest(path, *, audio_root=None, rename=None, needs='path')
read_table(folder, name)
run_study(study, *, progress=SILENT, force=())
similarity(x, y=None, *, speakers=None, clips=None, features=None, splits='all', by_corpus=True, seed=0,
    output=None, progress=SILENT, measures=('cka_debiased', 'cka'), functional_groups=True, pairs=('within',
    'across', 'models'), permutations=199, permute='clips', permuted='features', intervals='fast',
    minibatch_above=20000, batch=256, rbf_fraction=0.8, rdm='correlation', neighbours=10, nearness='cosine',
    variance=0.99, components=None, folds=5)
split_speakers(clips, scheme='study_e', *, seed=0, folds=5, fold=0)
umap(caches, labels=None, speakers=None, *, clips=None, predictions=None, splits='all', seed=0, output=None,
    progress=SILENT, layers=(0, 'final'), color=('label', 'speaker', 'gender'), neighbours=15, min_dist=0.1,
    fit='joint', pca_dims=50, stability_seeds=2)
"""


def signature_of(name: str, function: Callable[..., Any]) -> str:
    """Return a name with its arguments and their defaults, without annotations."""
    signature = inspect.signature(function)
    bare = [argument.replace(annotation=inspect.Parameter.empty) for argument in signature.parameters.values()]
    return name + str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def described(name: str) -> list[str]:
    """Return the lines of a public name: its signature, and of a class its public members."""
    thing = getattr(ser_probe, name)
    if isinstance(thing, str):
        return [name]
    lines = textwrap.wrap(signature_of(name, thing), WIDTH, subsequent_indent=INDENT, **WHOLE)
    if isinstance(thing, type) and not issubclass(thing, Exception):
        ours = [each for each in thing.__mro__ if each.__module__.startswith("ser_probe.")]
        members = sorted({member for each in ours for member in vars(each) if not member.startswith("_")})
        lines += textwrap.wrap(", ".join(members), WIDTH, initial_indent=INDENT, subsequent_indent=INDENT, **WHOLE)
    return lines


def test_names_and_signatures_are_those_that_users_know() -> None:
    assert "\n".join(line for name in ser_probe.__all__ for line in described(name)) + "\n" == PUBLIC


@pytest.mark.parametrize("name", ser_probe.__all__)
def test_every_name_is_documented(name: str) -> None:
    thing = getattr(ser_probe, name)
    assert isinstance(thing, str) or len(inspect.getdoc(thing) or "") > 30


def test_the_names_are_imported_when_they_are_used() -> None:
    assert {*ser_probe.__all__} <= {*dir(ser_probe)}
    assert sorted(ser_probe.__all__) == ser_probe.__all__
    with pytest.raises(AttributeError, match="has no attribute 'probes'"):
        _ = ser_probe.probes
