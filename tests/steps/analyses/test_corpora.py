"""Several corpora: analyses of each beside those of all pooled, which equal those of the corpus alone; what is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ser_probe.config import AnalyzeConfig, ProbeConfig, check_options
from ser_probe.embeddings.key import CacheKey
from ser_probe.embeddings.seal import seal
from ser_probe.embeddings.shards import Rows, ShardWriter
from ser_probe.embeddings.store_header import Layout
from ser_probe.errors import AnalysisError
from ser_probe.report.corpora.warnings import compared_corpora, pooling_warnings
from ser_probe.steps.analyses.inputs import Inputs
from ser_probe.steps.analyses.probe import run
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.tables import read_table

from ..conftest import FEATURES, Said, analyse, tuned

NAMES = ["F0semitone_mean", "loudness_mean", "mfcc1_mean", "alphaRatio_mean", "VoicedSegmentsPerSec"]
N_CLIPS, WIDTH = {"berlin": 36, "rome": 30, "tiny": 6}, 8


@pytest.fixture
def corpora(rng: np.random.Generator) -> pd.DataFrame:
    """72 clips of three corpora, of which one is too small, in mixed order; speakers are those of one corpus."""
    corpus = rng.permutation(np.repeat(list(N_CLIPS), list(N_CLIPS.values())))
    place = pd.Series(corpus).groupby(corpus).cumcount()
    return pd.DataFrame({
        "clip_id": [f"{number:032x}" for number in range(len(corpus))],
        "path": [f"{number}.wav" for number in range(len(corpus))],
        "label": np.array(["anger", "joy", "sadness"])[place // 6 % 3],
        "speaker": [f"{name}/s{number % 6}" for name, number in zip(corpus, place, strict=True)],
        "corpus": corpus,
        "split": "test",
    })  # fmt: skip


Files = dict[str, list[Path]]


@pytest.fixture
def files(tmp_path: Path, corpora: pd.DataFrame, rng: np.random.Generator) -> Files:
    """By what is in them, the files of steps 0 and 4 and of features: of `all` clips, and of single corpora.

    A corpus lies apart from the others in every file, and nothing else that the files share is there.
    """
    n = len(corpora)
    offset = 5.0 * np.array([list(N_CLIPS).index(name) for name in corpora["corpus"]])
    layers = {name: rng.standard_normal((2, n, WIDTH)) + offset[:, None] for name in ("step-0", "step-4")}
    stored = {**layers, "features": rng.standard_normal((1, n, len(NAMES))) + offset[:, None]}
    found: Files = {}
    for corpus in ("all", "berlin", "rome"):
        kept = np.flatnonzero((corpora["corpus"] == corpus) | (corpus == "all"))
        for name, values in stored.items():
            attributes = {**FEATURES, "feature_names": NAMES} if name == "features" else tuned(int(name[5:]))
            kind = "features" if name == "features" else "embeddings"
            path = tmp_path / f"{corpus}-{name}.h5"
            key = CacheKey(kind, name.encode().hex().zfill(64), {}, {}, {}, "mean", "fp32", 2)
            of_layers = ("functionals",) if kind == "features" else ("0", "1")
            with ShardWriter(path, key, Layout(of_layers, values.shape[2], {"final": of_layers[-1]})) as writer:
                clips = corpora.iloc[kept].reset_index(drop=True)
                own = values[:, kept].astype(np.float32)
                writer.add(Rows(clips["clip_id"].tolist(), own, np.full(len(kept), 50), np.ones(len(kept))))
            seal(path, key, clips, attributes)
            found.setdefault(corpus, []).append(path)
    return found


Step = Callable[..., Outcome]


def similarity(files: list[Path], output: Path, **given: Any) -> Outcome:
    names = ["cka_debiased", "cka", "mutual_knn", "procrustes"]
    options = {"similarity.measures": names, "similarity.permutations": 19, "similarity.neighbours": 3}
    return analyse("similarity", files[:2], output, features=files[2], analyze=config(options, given), **said(given))


def drift(files: list[Path], output: Path, **given: Any) -> Outcome:
    return analyse("drift", files[:2], output, reference=files[0], analyze=config({}, given), **said(given))


def geometry(files: list[Path], output: Path, **given: Any) -> Outcome:
    options = {"geometry.permutations": 3, "geometry.components": 4}
    return analyse("geometry", files[:2], output, features=files[2], analyze=config(options, given), **said(given))


def acoustics(files: list[Path], output: Path, **given: Any) -> Outcome:
    options = {"acoustics.folds": 3, "acoustics.inner_folds": 2}
    return analyse("acoustics", files[:2], output, features=files[2], analyze=config(options, given), **said(given))


def config(options: dict[str, Any], given: dict[str, Any]) -> AnalyzeConfig:
    return check_options(AnalyzeConfig, {"splits": "all", "by_corpus": given.get("by_corpus", True), **options})


def said(given: dict[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in ("progress", "context") if name in given}


ANALYSES: dict[str, tuple[Step, tuple[str, ...]]] = {
    "similarity": (similarity, ("similarity",)),
    "drift": (drift, ("drift", "drift_groups")),
    "geometry": (geometry, ("geometry", "geometry_spectrum")),
    "acoustics": (acoustics, ("acoustics", "acoustics_groups", "acoustics_changes", "acoustics_functionals")),
}


@pytest.mark.parametrize("name", ANALYSES)
def test_values_of_a_corpus_are_those_of_its_clips_alone(name: str, files: Files, tmp_path: Path) -> None:
    step, tables = ANALYSES[name]
    outcome = step(files["all"], tmp_path / "all", progress=(heard := Said()))
    assert outcome.summary["by corpus"] == "berlin 36, rome 30"
    assert f"{name} by corpus is without tiny (6): fewer than 10 clips" in heard.lines
    together = {table: read_table(tmp_path / "all", table) for table in tables}
    step(files["all"], tmp_path / "pooled", by_corpus=False)
    for corpus in ("berlin", "rome"):
        step(files[corpus], tmp_path / corpus)
    for table, rows in together.items():
        assert list(rows["corpus"].drop_duplicates()) == ["all", "berlin", "rome"]
        for corpus in ("berlin", "rome", "pooled"):
            alone = read_table(tmp_path / corpus, table)
            assert "corpus" not in alone
            of_corpus = rows[rows["corpus"] == corpus.replace("pooled", "all")].drop(columns="corpus")
            pd.testing.assert_frame_equal(of_corpus.reset_index(drop=True)[alone.columns], alone, atol=1e-6)


def test_what_sets_corpora_apart_is_similarity_only_of_the_pooled_clips(files: Files, tmp_path: Path) -> None:
    similarity(files["all"], tmp_path)
    tables = {"similarity": read_table(tmp_path, "similarity")}
    (found,) = compared_corpora(tables)
    assert found.pooled > 0.5
    assert all(abs(value) < 0.2 for value in found.of_corpora.values()), "unrelated layers and features"
    low, high = found.of_corpora.values()
    (line,) = pooling_warnings(tables)
    assert line.startswith(
        "Similarity over 2 corpora: the mean over layers of debiased linear CKA with eGeMAPS at step 4 is "
        f"{found.pooled:.3f} over all clips pooled, and {low:.3f} to {high:.3f} within the corpora ("
    )
    assert "(channel, language, labels) dominates the pooled value" in line


def test_probes_of_pooled_corpora_point_to_those_of_each(files: Files, tmp_path: Path) -> None:
    probe = check_options(ProbeConfig, {"division": "kfold", "among": "all", "families": ["logistic"], "folds": 3,
                                        "controls": [], "directions": False})  # fmt: skip
    run(Inputs(tmp_path, caches=files["all"][:1], progress=(heard := Said())), probe)
    (line,) = (line for line in heard.lines if "corpora pooled" in line)
    assert line.startswith("warning: the probes are of 3 corpora pooled (berlin 36, rome 30, tiny 6 clips)")


def test_a_study_names_its_corpora_and_each(files: Files, tmp_path: Path) -> None:
    drift(files["all"], tmp_path, context={"corpus": "berlin+rome+tiny", "run_seed": 7})
    table = read_table(tmp_path, "drift")
    assert set(table["corpus"]) == {"all", "berlin", "rome"}
    assert set(table["run_seed"]) == {7}


def test_a_corpus_that_does_not_admit_a_measure_is_named_and_left_out(
    files: Files, corpora: pd.DataFrame, tmp_path: Path
) -> None:
    one = corpora.assign(speaker=corpora["speaker"].where(corpora["corpus"] != "rome", "rome/s0"))
    config = check_options(AnalyzeConfig, {"splits": "all", "similarity.measures": ["linear_predictivity"],
                                           "similarity.permutations": 0})  # fmt: skip
    analyse("similarity", files["all"][:1], tmp_path, analyze=config, clips=one, progress=(heard := Said()))
    assert set(read_table(tmp_path, "similarity")["corpus"]) == {"all", "berlin"}
    (line,) = (line for line in heard.lines if "rome" in line and "not given" in line)
    assert line.startswith("warning: similarity is not given for rome: Held-out values need at least 2 speakers")


def test_corpora_that_cannot_be_told_apart(files: Files, corpora: pd.DataFrame, tmp_path: Path) -> None:
    small = corpora.assign(corpus=np.where(corpora["corpus"] == "tiny", "tiny", "large"))
    heard = Said()
    drift_options = check_options(AnalyzeConfig, {"splits": "all"})
    analyse("drift", files["all"][:2], tmp_path, reference=files["all"][0], analyze=drift_options, clips=small,
                  progress=heard)  # fmt: skip
    assert "corpus" not in read_table(tmp_path, "drift")
    assert any("fewer than two corpora have 10 clips. Too few: tiny (6)" in line for line in heard.lines)
    named = corpora.replace({"corpus": {"rome": "all"}})
    with pytest.raises(AnalysisError, match="A corpus is called 'all', as the rows of all corpora together are"):
        analyse("similarity", files["all"][:1], tmp_path, analyze=drift_options, clips=named)
    unnamed = corpora.assign(corpus=corpora["corpus"].where(corpora["corpus"] != "tiny"))
    analyse("drift", files["all"][:2], tmp_path, reference=files["all"][0], analyze=drift_options, clips=unnamed,
                  progress=heard)  # fmt: skip
    assert "drift by corpus is without 6 clips that name no corpus" in heard.lines
