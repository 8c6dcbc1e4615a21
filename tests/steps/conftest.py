"""What the steps are tried on: a small corpus of synthetic voices, a study finished once, and small cache files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ser_probe.config import AnalyzeConfig, StudyConfig, check_options
from ser_probe.embeddings.key import CacheKey
from ser_probe.embeddings.seal import seal
from ser_probe.embeddings.shards import Rows, ShardWriter
from ser_probe.embeddings.store_header import Layout
from ser_probe.files import lock
from ser_probe.steps.analyses.entries import run_analysis
from ser_probe.steps.analyses.inputs import Inputs
from ser_probe.steps.analyses.representations import CacheFile
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.study.run import run_study

from ..voices import write_corpus

try:
    import opensmile  # noqa: F401 - only whether it is there

    HAS_EGEMAPS = True
except ImportError:
    HAS_EGEMAPS = False

# Everything is relative to the working folder, so that a copy of the folder is the same study.
OPTIONS: dict[str, Any] = {
    "name": "small",
    "data.manifest": "corpus/manifest.csv",
    "backbone.name": "tiny-wavlm-base",
    "extract.workers": 0,
    "extract.verify": 1,
    "extract.egemaps": HAS_EGEMAPS,
    "finetune.max_steps": 4,
    "finetune.checkpoint_every": 2,
    "finetune.batch_size": 8,
    "analyze.splits": "all",
    "analyze.similarity.egemaps": HAS_EGEMAPS,
    "analyze.probe.division": "study",
    "analyze.probe.initialisations": 2,
    "analyze.probe.max_epochs": 20,
}
OFF = ("finetune.early_stopping=null", "analyze.umap=null", "output.figures=false")


def small_study(*overrides: str) -> StudyConfig:
    """Return the study of the small corpus: 4 steps of fine-tuning, no maps, no figures; `a.b=value` changes it."""
    return check_options(StudyConfig, OPTIONS, [*OFF, *overrides])


@dataclass
class Said:
    """A progress that remembers what it was told."""

    lines: list[str] = field(default_factory=list)

    def start(self, what: str, total: float, unit: str) -> None: ...

    def advance(self, amount: float = 1, **fields: object) -> None: ...

    def finish(self) -> None: ...

    def say(self, message: str) -> None:
        self.lines.append(message)

    def of(self, stage: str) -> str:
        """Return what was said of a stage."""
        return "\n".join(line for line in self.lines if line.startswith(f"{stage}: "))


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with the corpus and the study, run to its end; copy it before changing anything.

    Of several processes of tests the first one runs it, and the others wait.
    """
    folder = tmp_path_factory.getbasetemp() / "finished"
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = tmp_path_factory.getbasetemp().parent / "finished"
    lock_path = Path(f"{folder}.lock")
    with lock_path.open("w") as held:
        lock(held.fileno(), lock_path, wait=True)
        if not folder.with_suffix(".done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            write_corpus(folder / "corpus")
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(folder)
                run_study(small_study())
            folder.with_suffix(".done").touch()
    return folder


@pytest.fixture
def finished(finished_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished study, and the working folder of the test."""
    folder = tmp_path / "work"
    shutil.copytree(finished_once, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small corpus, in the working folder of the test."""
    monkeypatch.chdir(tmp_path)
    return write_corpus(tmp_path / "corpus")


@pytest.fixture
def write_cache(tmp_path: Path, rng: np.random.Generator) -> Callable[..., Path]:
    """Write a finished embedding file of some clips; the last layer tells the labels apart, others do not.

    `unit` scales the last of the `width` features, which is noise. With `frames` each clip has so many, all alike.
    Features beyond those that `attributes` names are called `feature 2` and so on.
    """

    def write(
        name: str,
        clips: pd.DataFrame,
        attributes: Mapping[str, Any],
        *,
        layers: Sequence[str] = ("0", "1"),
        aliases: Mapping[str, str] | None = None,
        width: int = 8,
        unit: float = 1.0,
        frames: int = 0,
        contract: int = 2,
    ) -> Path:
        path = tmp_path / f"{name}.h5"
        kind = "features" if layers == ("functionals",) else "embeddings"
        key = CacheKey(kind, name.encode().hex().zfill(64), {}, {}, {}, "mean", "fp32", contract)
        values = rng.standard_normal((len(layers), len(clips), width)).astype(np.float32)
        values[-1, np.arange(len(clips)), pd.factorize(clips["label"], sort=True)[0]] += 6
        values[..., -1] *= unit
        layout = Layout(tuple(layers), width, dict(aliases or {"final": layers[-1]}), ragged=frames > 0)
        with ShardWriter(path, key, layout) as writer:
            n = len(clips)
            values = np.repeat(values, frames, axis=1) if frames else values
            writer.add(Rows(clips["clip_id"].tolist(), values, np.full(n, frames or 50), np.ones(n)))
        named = dict(attributes)
        if "feature_names" in named:
            known = list(named["feature_names"])
            named["feature_names"] = [*known, *(f"feature {place}" for place in range(len(known), width))]
        seal(path, key, clips, named)
        return path

    return write


@pytest.fixture
def clips() -> pd.DataFrame:
    """72 clips of six speakers and three labels, split by speaker."""
    row = np.arange(72)
    return pd.DataFrame({
        "clip_id": [f"{number:032x}" for number in row],
        "path": [f"{number}.wav" for number in row],
        "label": np.array(["anger", "joy", "sadness"])[row // 6 % 3],
        "speaker": [f"s{number}" for number in row % 6],
        "gender": np.array(["female", "male"])[row % 2],
        "split": np.array(["train", "train", "train", "train", "validation", "test"])[row % 6],
    })  # fmt: skip


def analyse(
    name: str, caches: Sequence[CacheFile], output: Path, *, analyze: AnalyzeConfig | None = None, **given: Any
) -> Outcome:
    """Run an analysis over caches, with its options, splits and corpora as a section `analyze` has them."""
    analyze = AnalyzeConfig() if analyze is None else analyze
    options = analyze.options_of(name)
    assert options is not None
    inputs = Inputs(output, caches=caches, splits=analyze.splits, by_corpus=analyze.by_corpus, **given)
    return run_analysis(name, inputs, options)


def tuned(step: int) -> dict[str, Any]:
    """Return the attributes of an embedding file of one checkpoint."""
    return {"model": "tiny", "checkpoint": f"step-{step}", "step": step, "pooling": "mean"}


FEATURES: dict[str, Any] = {"model": "eGeMAPSv02", "pooling": "functionals", "feature_names": ["a", "b"]}
