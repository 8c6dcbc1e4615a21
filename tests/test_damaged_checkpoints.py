"""Checkpoints changed in hundreds of ways: no command ends in a traceback, and none answers as if nothing had happened.

Each case changes one file of a real tiny run and asks what reads it. It must be refused with a `SerProbeError`, or give
the answer of the unchanged run. A checkpoint of an older release, or of others, has no record of its files' hashes: a
flipped bit in its weights makes another model, which nothing can tell; there it must be refused or give finite numbers.
"""

from __future__ import annotations

import collections
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ser_probe.config.evaluation import EvaluateConfig
from ser_probe.errors import CacheError, SerProbeError
from ser_probe.models.backbone import hash_tensors
from ser_probe.models.checkpoint import load_classifier
from ser_probe.models.embedding import pooled_layers
from ser_probe.models.heads import HeadSettings
from ser_probe.models.loading import load_backbone
from ser_probe.models.lora import LoraSettings
from ser_probe.steps import classify
from ser_probe.steps.evaluate import evaluate_checkpoint
from ser_probe.training.fine_tuning import TrainingTask, fine_tune
from ser_probe.training.settings import TrainingSettings
from tests.mutation import BYTES, Mutator, mutate, mutators_for
from tests.mutation_tensors import SAFETENSORS, STATES
from tests.training.conftest import RECIPE, TARGETS, Interrupting, make_clips
from tests.voices import RATE_HZ, voice, write_corpus

STEP = "checkpoints/checkpoint-2"
MODEL_FILES = ("config.json", "model.safetensors", "preprocessor_config.json")
CLASSIFIER_FILES = (*MODEL_FILES, "head.json", "head.safetensors", "labels.json", "audio.json", "checkpoint.json")
RESUME_FILES = ("trainer_state.json", "optimizer.pt", "scheduler.pt", "checkpoint.json", "model.safetensors")
NOTES = {"audio.json": {"audio": {"sample_rate_hz": RATE_HZ, "loudness_lufs": -23.0, "max_duration_s": 30.0}}}
LORA = LoraSettings(rank=2)
Answer = Callable[[Path], Any]


def train(folder: Path, *, lora: bool = False, stop_after: int | None = None) -> str:
    """Train three steps, or go on to them; return the hash of the weights of the last."""
    settings = TrainingSettings(
        epochs=None, max_steps=3, batch_size=4, learning_rate=1e-3, checkpoint_every=1, early_stopping_patience=None,
        trained="lora" if lora else "encoder", cache_front_end=False, cache_audio=False,
    )  # fmt: skip
    task = TrainingTask(make_clips(9, seed=1), make_clips(3, seed=2), TARGETS, HeadSettings(), LORA if lora else None)
    progress = {} if stop_after is None else {"progress": Interrupting(stop_after)}
    result = fine_tune(
        load_backbone("tiny-wavlm-base"), task, settings, folder, cache_folder=folder, recipe=RECIPE, notes=NOTES,
        **progress,
    )  # fmt: skip
    return hash_tensors(load_classifier(result.checkpoints[-1][1]).state_dict())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A finished run, and runs with and without adapters that were stopped after their second step."""
    folder = tmp_path_factory.mktemp("runs")
    train(folder / "finished")
    for name, lora in (("stopped", False), ("stopped lora", True)):
        with pytest.raises(KeyboardInterrupt):
            train(folder / name, lora=lora, stop_after=3)
        assert (folder / name / STEP / "optimizer.pt").is_file()
    write_corpus(folder / "corpus", n_speakers=2, n_takes=1)
    return {path.name: path for path in folder.iterdir()}


def best_of(run: Path) -> str:
    """Return the best checkpoint of a run, below its folder."""
    return f"checkpoints/checkpoint-{json.loads((run / 'best.json').read_text())['step']}"


def forget_hashes(run: Path) -> None:
    """Make the checkpoints what older releases wrote."""
    for path in run.glob("checkpoints/*/checkpoint.json"):
        contents = json.loads(path.read_text())
        del contents["sha256"]
        path.write_text(json.dumps(contents))


def extracted(run: Path) -> np.ndarray:
    layers = pooled_layers(load_backbone(run / STEP), [voice(1, 150.0, 0.5)])
    if not np.isfinite(layers).all():  # as whatever stores them refuses, which has tests of its own
        raise CacheError("The model's output is not finite")
    return layers


def classified(run: Path) -> pd.DataFrame:
    return classify.load_classifier(run / STEP, device="cpu").predict(voice(1, 150.0, 0.5), sample_rate_hz=RATE_HZ)


def classified_by_run(run: Path) -> pd.DataFrame:
    return classify.load_classifier(run, device="cpu").predict(voice(1, 150.0, 0.5), sample_rate_hz=RATE_HZ)


def fitting(path: Path) -> Mapping[str, Mutator]:
    return BYTES | {".safetensors": SAFETENSORS, ".pt": STATES}.get(path.suffix, mutators_for(path))


def is_finite(answer: Any) -> bool:
    if isinstance(answer, pd.DataFrame):
        answer = answer.select_dtypes("number").to_numpy()
    return isinstance(answer, str) or bool(np.isfinite(answer).all())


def try_changes(
    run: Path, files: tuple[str, ...], answer: Answer, seeds: range, folder: Path, *, recorded: bool = True
) -> collections.Counter[str]:
    """Change one file a seed, and ask.

    Args:
        run: The unchanged run.
        files: Its files, in turn.
        answer: What reads them.
        seeds: One a case.
        folder: To work in.
        recorded: Whether the checkpoints have the hashes of their files, so that each change must be told.

    Returns:
        How many cases ended how.
    """
    whole, case = folder / "whole", folder / "case"
    for place in (whole, case):
        shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(run, whole)
    if not recorded:
        forget_hashes(whole)
    shutil.copytree(whole, case)
    expected = answer(case)
    counts: collections.Counter[str] = collections.Counter()
    wrong = []
    for seed in seeds:
        shutil.rmtree(case)
        shutil.copytree(whole, case)
        path = case / files[seed % len(files)]
        what = mutate(path, seed, fitting(path))
        try:
            found = answer(case)
        except SerProbeError:
            counts["refused"] += 1
            continue
        except Exception as error:
            wrong.append(f"{what}: {type(error).__name__}: {error}")
            counts["traceback"] += 1
            continue
        same = found.equals(expected) if isinstance(found, pd.DataFrame) else np.array_equal(found, expected)
        counts["same answer" if same else "other answer"] += 1
        if not is_finite(found) or (recorded and not same):
            wrong.append(f"{what}: another answer")
    print(f"{answer.__name__}, {len(seeds)} cases, {'with' if recorded else 'without'} hashes: {dict(counts)}")
    assert not wrong, "\n".join(wrong)
    return counts


IN_STEP = tuple(f"{STEP}/{name}" for name in CLASSIFIER_FILES)


@pytest.mark.parametrize("recorded", [True, False], ids=["with hashes", "without"])
@pytest.mark.parametrize("n", [70, pytest.param(1500, marks=pytest.mark.slow)])
def test_a_changed_model(runs: dict[str, Path], tmp_path: Path, n: int, recorded: bool) -> None:
    files = tuple(f"{STEP}/{name}" for name in (*MODEL_FILES, "checkpoint.json"))
    counts = try_changes(runs["finished"], files, extracted, range(n), tmp_path, recorded=recorded)
    assert counts["refused"] > n / 2


@pytest.mark.parametrize("recorded", [True, False], ids=["with hashes", "without"])
@pytest.mark.parametrize("n", [80, pytest.param(1500, marks=pytest.mark.slow)])
def test_a_changed_classifier(runs: dict[str, Path], tmp_path: Path, n: int, recorded: bool) -> None:
    counts = try_changes(runs["finished"], IN_STEP, classified, range(n), tmp_path, recorded=recorded)
    assert counts["refused"] > n / 2


@pytest.mark.parametrize("n", [40, pytest.param(600, marks=pytest.mark.slow)])
def test_a_changed_choice_of_the_best_checkpoint(runs: dict[str, Path], tmp_path: Path, n: int) -> None:
    """A run's best.json names a step: any other step's answer would be as good-looking."""
    best = best_of(runs["finished"])
    files = ("best.json", "best.json", "training.json", f"{best}/trainer_state.json", f"{best}/labels.json")
    try_changes(runs["finished"], files, classified_by_run, range(n), tmp_path)


@pytest.mark.parametrize("recorded", [True, False], ids=["with hashes", "without"])
@pytest.mark.parametrize("n", [10, pytest.param(300, marks=pytest.mark.slow)])
def test_a_changed_run_that_is_evaluated(runs: dict[str, Path], tmp_path: Path, n: int, recorded: bool) -> None:
    corpus = runs["corpus"] / "manifest.csv"

    def evaluated(run: Path) -> pd.DataFrame:
        config = EvaluateConfig(figures=False, resamples=100, workers=0, device="cpu", strict=True)
        evaluate_checkpoint(run, [relabelled], tmp_path / "out", config)
        return pd.read_csv(tmp_path / "out/predictions.csv").filter(like="p(")

    relabelled = tmp_path / "manifest.csv"
    table = pd.read_csv(corpus)
    table["path"] = [str(corpus.parent / name) for name in table["path"]]
    table["label"] = [TARGETS.names[k % 3] for k in range(len(table))]
    table.to_csv(relabelled, index=False)
    best = best_of(runs["finished"])
    files = ("best.json", *(f"{best}/{name}" for name in CLASSIFIER_FILES[2:]))
    try_changes(runs["finished"], files, evaluated, range(n), tmp_path, recorded=recorded)


@pytest.mark.parametrize("lora", [False, True], ids=["whole", "lora"])
@pytest.mark.parametrize("recorded", [True, False], ids=["with hashes", "without"])
@pytest.mark.parametrize("n", [16, pytest.param(400, marks=pytest.mark.slow)])
def test_a_changed_run_that_goes_on(runs: dict[str, Path], tmp_path: Path, n: int, recorded: bool, lora: bool) -> None:
    def resumed(run: Path) -> str:
        return train(run, lora=lora)

    files = ("training.json", *(f"{STEP}/{name}" for name in RESUME_FILES))
    files += (f"{STEP}/adapters.safetensors",) if lora else ()
    try_changes(runs["stopped lora" if lora else "stopped"], files, resumed, range(n), tmp_path, recorded=recorded)
