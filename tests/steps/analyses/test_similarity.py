"""The step `similarity`: which pairs stand in the table, groups of functionals, models, and bad input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ser_probe.analysis.similarity.measures import DEFAULT, MEASURES, compare_two
from ser_probe.analysis.similarity.options import Options
from ser_probe.analysis.similarity.table import standardised
from ser_probe.config import AnalyzeConfig, SimilarityConfig, check_options
from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.errors import AnalysisError
from ser_probe.names.measures import SIMILARITY
from ser_probe.steps.analyses import compared_layers
from ser_probe.steps.tables import read_table

from ..conftest import FEATURES, Said, analyse, tuned

Write = Callable[..., Path]
NAMES = ["F0semitone_mean", "loudness_mean", "mfcc1_mean", "alphaRatio_mean", "VoicedSegmentsPerSec"]
GROUPED = {**FEATURES, "feature_names": NAMES}
SIDES = [f"{name}_{side}" for side in "ab" for name in ("model", "checkpoint", "layer")]


@pytest.fixture
def caches(write_cache: Write, clips: pd.DataFrame) -> list[Path]:
    return [write_cache(f"s{step}", clips, tuned(step)) for step in (50, 0, 100)]


@pytest.fixture
def features(write_cache: Write, clips: pd.DataFrame) -> Path:
    return write_cache("features", clips, GROUPED, layers=("functionals",), width=5)


def compared(caches: list[Path], output: Path, features: Path | None = None, **options: Any) -> pd.DataFrame:
    given = {"splits": "all", "similarity.permutations": 0, **{f"similarity.{k}": v for k, v in options.items()}}
    analyse("similarity", caches, output, analyze=check_options(AnalyzeConfig, given), features=features)
    return read_table(output, "similarity")


def other_model(write_cache: Write, clips: pd.DataFrame, step: int, name: str = "wide") -> Path:
    attributes = {**tuned(step), "model": name}
    return write_cache(f"{name}{step}", clips, attributes, layers=("0", "1", "2"), width=12)


def kinds(table: pd.DataFrame) -> dict[tuple[str, str], int]:
    a, b = (table[f"model_{side}"] + " " + table[f"checkpoint_{side}"] for side in "ab")
    return pd.Series(1, index=[a, b]).groupby(level=[0, 1]).sum().to_dict()


def test_which_pairs(caches: list[Path], write_cache: Write, clips: pd.DataFrame, tmp_path: Path) -> None:
    files = [*caches, other_model(write_cache, clips, 0), other_model(write_cache, clips, 50)]
    across = kinds(compared(files, tmp_path, pairs=["across"], measures=["cka"]))
    assert across == {
        ("tiny step-0", "tiny step-50"): 4, ("tiny step-0", "tiny step-100"): 4, ("wide step-0", "wide step-50"): 9,
    }  # fmt: skip
    within = kinds(compared(files, tmp_path, pairs=["within"], measures=["cka"]))
    assert set(within) == {
        (name, name) for name in (*(f"tiny step-{s}" for s in (0, 50, 100)), "wide step-0", "wide step-50")
    }
    models = kinds(compared(files, tmp_path, pairs=["models"], measures=["cka"]))
    assert models == {("tiny step-0", "wide step-0"): 6, ("tiny step-50", "wide step-50"): 6}
    assert len(compared(files, tmp_path, pairs=["all"], measures=["cka"])) == (3 * 2 + 2 * 3) ** 2


def test_models_without_a_common_step(
    caches: list[Path], write_cache: Write, clips: pd.DataFrame, tmp_path: Path
) -> None:
    single = [*caches, other_model(write_cache, clips, 7)]
    assert len(kinds(compared(single, tmp_path, pairs=["models"]))) == 3, "one file of a model goes with all others"
    several = [*single, other_model(write_cache, clips, 9)]
    assert set(kinds(compared(several, tmp_path, pairs=["models"]))) == {("tiny step-0", "wide step-7")}


def test_a_row_is_the_measure_of_its_two_layers(caches: list[Path], features: Path, tmp_path: Path) -> None:
    names = ["cka_debiased", "mutual_knn", "linear_predictivity", "procrustes"]
    table = compared(caches, tmp_path, features, measures=names, neighbours=5, folds=3)
    layers = {}
    for path in caches:
        with EmbeddingCache.open(path) as cache:
            for name in cache.layer_names:
                layers[cache.attributes["checkpoint"], name] = cache.layer(name)
            speakers = cache.clips["speaker"].to_numpy()
    with EmbeddingCache.open(features) as cache:
        layers["", "functionals"] = standardised(cache.layer("functionals"))
    rows = table[table["layer_b"].isin(["0", "1", "functionals"])].groupby("measure").sample(4, random_state=0)
    for row in rows.itertuples():
        a, b = layers[row.checkpoint_a, row.layer_a], layers[row.checkpoint_b, row.layer_b]
        expected = compare_two(row.measure, a, b, Options(groups=speakers, neighbours=5, folds=3))
        assert row.value == pytest.approx(expected, abs=1e-6)
    assert set(table["n_speakers"]) == {6}


def test_groups_of_functionals_are_rows_of_their_own(caches: list[Path], features: Path, tmp_path: Path) -> None:
    table = compared(caches[:1], tmp_path, features, pairs=[], measures=["cka_debiased"])
    assert list(table["layer_b"].drop_duplicates()) == [
        "functionals", "functionals:frequency", "functionals:energy", "functionals:spectral", "functionals:temporal",
    ]  # fmt: skip
    with EmbeddingCache.open(features) as cache, EmbeddingCache.open(caches[0]) as layers:
        spectral, layer = standardised(cache.layer("functionals"))[:, 2:4], layers.layer("1")
    row = table[(table["layer_b"] == "functionals:spectral") & (table["layer_a"] == "1")].iloc[0]
    assert row["value"] == pytest.approx(compare_two("cka_debiased", layer, spectral), abs=1e-6)
    without = compared(caches[:1], tmp_path, features, pairs=[], functional_groups=False)
    assert set(without["layer_b"]) == {"functionals"}


def test_features_of_another_set_have_no_groups(
    caches: list[Path], write_cache: Write, clips: pd.DataFrame, tmp_path: Path
) -> None:
    attributes = {**FEATURES, "feature_names": ["mfcc1", "x", "y", "z", "loudness"]}
    other = write_cache("other", clips, attributes, layers=("functionals",), width=5)
    assert set(compared(caches[:1], tmp_path, other, pairs=[])["layer_b"]) == {"functionals"}


def test_a_group_that_is_the_same_for_all_clips_is_left_out(
    caches: list[Path], write_cache: Write, clips: pd.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flat = write_cache("flat", clips, GROUPED, layers=("functionals",), width=5, unit=0.0)
    table = compared(caches[:1], tmp_path, flat, pairs=[])
    assert "functionals:temporal" not in set(table["layer_b"])
    assert "the temporal functionals are the same for all clips" in caplog.text


def test_p_values_are_of_pairs_with_features_unless_all_are_asked_for(
    caches: list[Path], features: Path, tmp_path: Path
) -> None:
    table = compared(caches[:1], tmp_path, features, permutations=9)
    with_features = table["layer_b"].str.startswith("functionals")
    assert table.loc[with_features, "p"].between(0.1, 1).all()
    assert table.loc[~with_features, "p"].isna().all()
    every = compared(caches[:1], tmp_path, features, permutations=9, permuted="all", permute="within-speaker")
    assert every["p"].notna().all()


def test_lazy_reading_changes_nothing(
    caches: list[Path], features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = compared(caches, tmp_path, features, permutations=9)
    monkeypatch.setattr(compared_layers, "HELD_BYTES", 0)
    pd.testing.assert_frame_equal(compared(caches, tmp_path, features, permutations=9), held)


def test_poolings_of_one_checkpoint_are_told_apart(write_cache: Write, clips: pd.DataFrame, tmp_path: Path) -> None:
    files = [write_cache(pooling, clips, {**tuned(0), "pooling": pooling}) for pooling in ("mean", "max")]
    table = compared(files, tmp_path, pairs=["models"])
    assert set(kinds(table)) == {("tiny (mean) step-0", "tiny (max) step-0")}


def test_the_same_checkpoint_twice_is_refused(write_cache: Write, clips: pd.DataFrame, tmp_path: Path) -> None:
    files = [write_cache(name, clips, tuned(0)) for name in ("a", "b")]
    with pytest.raises(AnalysisError, match="Two files hold the same checkpoint of the same model") as raised:
        compared(files, tmp_path / "t")
    assert raised.value.found == "tiny step-0 mean"
    assert not (tmp_path / "t").exists()


def test_many_clips_are_compared_in_minibatches(caches: list[Path], tmp_path: Path) -> None:
    said = Said()
    options = {"splits": "all", "similarity.minibatch_above": 50, "similarity.batch": 16}
    analyse("similarity", caches, tmp_path, analyze=check_options(AnalyzeConfig, options), progress=said)
    assert set(read_table(tmp_path, "similarity")["measure"]) == {"cka_minibatch"}
    assert said.lines == ["similarity: 72 clips, so cka_minibatch takes the place of CKA of all pairs of clips"]


def test_files_with_other_clips_are_joined_on_the_clips_of_both(
    write_cache: Write, clips: pd.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = [write_cache("a", clips, tuned(0)), write_cache("b", clips.iloc[12:].iloc[::-1], tuned(50))]
    table = compared(files, tmp_path)
    assert set(table["n"]) == {60}
    assert "12 of 72 clips are not in all of the files" in caplog.text


def test_one_speaker(write_cache: Write, clips: pd.DataFrame, tmp_path: Path) -> None:
    path = write_cache("a", clips.assign(speaker="s0"), tuned(0))
    assert compared([path], tmp_path)["ci_low"].isna().all(), "no interval, and the values stand"
    with pytest.raises(AnalysisError, match="Held-out values need at least 2 speakers"):
        compared([path], tmp_path, measures=["svcca"])
    with pytest.raises(AnalysisError, match="Nothing can be exchanged by permuting speakers"):
        compared([path], tmp_path, permutations=9, permuted="all", permute="speakers")


def test_fewer_clips_than_dimensions_are_flagged_for_cca(
    write_cache: Write, clips: pd.DataFrame, tmp_path: Path
) -> None:
    path = write_cache("wide", clips, tuned(0), width=80)
    table = compared([path], tmp_path, measures=["cca_mean", "cka_debiased"])
    cca = table[table["measure"] == "cca_mean"]
    assert cca["value"].isna().all()
    assert set(cca["flag"]) == {"refused: n < d1 + d2"}
    assert table.loc[table["measure"] == "cka_debiased", "value"].notna().all()
    reduced = compared([path], tmp_path, measures=["cca_mean"], components=5)
    assert reduced["value"].notna().all()


def test_a_layer_that_does_not_vary_is_named(write_cache: Write, clips: pd.DataFrame, tmp_path: Path) -> None:
    path = write_cache("flat", clips.assign(label="one"), tuned(0), layers=("0", "1"), width=1, unit=0.0)
    with pytest.raises(AnalysisError, match="do not vary") as raised:
        compared([path], tmp_path / "t")
    assert raised.value.where == "tiny step-0 layer 0"


def test_the_config_names_every_measure() -> None:
    assert tuple(SIMILARITY) == tuple(MEASURES)
    assert SimilarityConfig().measures == DEFAULT
    shared = set(SimilarityConfig.model_fields) & set(Options.__dataclass_fields__) - {"intervals"}
    assert {name: getattr(SimilarityConfig(), name) for name in shared} == {
        name: getattr(Options(), name) for name in shared
    }


def test_intervals_can_be_had_for_all_measures_or_none(caches: list[Path], tmp_path: Path) -> None:
    measures = ["procrustes", "cka"]
    found = {
        kind: compared(caches[:1], tmp_path, measures=measures, intervals=kind).groupby("measure")["ci_low"].count()
        for kind in ("none", "fast", "all")
    }
    assert found["none"].sum() == 0
    assert found["fast"].to_dict() == {"cka": 4, "procrustes": 0}
    assert found["all"].to_dict() == {"cka": 4, "procrustes": 4}
    assert np.isfinite(compared(caches[:1], tmp_path, measures=measures, intervals="all")["ci_high"]).all()
