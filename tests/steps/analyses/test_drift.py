"""Drift as a step: what is compared with what, how rows are named, the floor, groups, weights, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ser_probe.analysis.drift.measures import MEASURES
from ser_probe.config import AnalyzeConfig, check_options
from ser_probe.config.analyze_drift import DriftConfig
from ser_probe.embeddings.key import CacheKey
from ser_probe.embeddings.seal import seal
from ser_probe.embeddings.shards import Rows, ShardWriter
from ser_probe.embeddings.store_header import Layout
from ser_probe.errors import AnalysisError
from ser_probe.names.measures import DRIFT
from ser_probe.steps.analyses.representations import NamedCache
from ser_probe.steps.tables import KEY_COLUMNS, read_table

from ..conftest import analyse, tuned

CONTEXT = {"corpus": "emovo", "run_seed": 7}
CHEAP = ["cka_debiased", "mean_cosine", "mean_shift"]
Store = Callable[..., Path]


def options(**given: Any) -> AnalyzeConfig:
    keys = {f"drift.{name}": value for name, value in {"measures": CHEAP, "by": [], **given}.items()}
    return check_options(AnalyzeConfig, {"splits": "all", **keys})


@pytest.fixture
def store(tmp_path: Path, clips: pd.DataFrame) -> Store:
    """Write embeddings [L, N, D] of the clips as a finished file; `weights` is what they were made by."""

    def write(
        name: str, values: np.ndarray, step: int, *, weights: str = "", clips: pd.DataFrame = clips,
        layers: Sequence[str] = ("0", "1"),
    ) -> Path:  # fmt: skip
        path = tmp_path / f"{name}.h5"
        made_by = (weights or name).encode().hex().zfill(64)
        key = CacheKey("embeddings", made_by, {}, {}, {}, "mean", "fp32", 1, extra={"of": name})
        layout = Layout(tuple(layers), values.shape[2], {}, ragged=False)
        with ShardWriter(path, key, layout) as writer:
            n = len(clips)
            writer.add(Rows(clips["clip_id"].tolist(), values.astype(np.float32), np.full(n, 50), np.ones(n)))
        seal(path, key, clips, tuned(step))
        return path

    return write


@pytest.fixture
def values(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((2, 72, 6)) + 1


@pytest.fixture
def moving(store: Store, values: np.ndarray, rng: np.random.Generator) -> list[Path]:
    """Steps 50, 0 and 100, in a wrong order; layer 1 moves, layer 0 only as much as noise of 1e-3 does."""

    def state(amount: float) -> np.ndarray:
        noise = rng.standard_normal(values.shape)
        noise[0] *= 1e-3 * bool(amount)
        noise[1] = amount * (noise[1] + 1)
        return values + noise

    return [store("middle", state(0.3), 50), store("first", values, 0), store("last", state(0.6), 100)]


def test_every_measure_can_be_asked_for_and_is_by_default() -> None:
    assert tuple(DRIFT) == tuple(MEASURES)
    assert DriftConfig().measures == tuple(MEASURES)


def test_rows(moving: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # The reference is named in another way than in the list, and counts once.
    analyse("drift", moving, tmp_path, reference=Path("first.h5"), analyze=options(), context=CONTEXT)
    table = read_table(tmp_path, "drift")
    assert {*KEY_COLUMNS} - {"feature"} <= set(table.columns)
    named = table[["against", "reference", "checkpoint"]].drop_duplicates().to_numpy().tolist()
    assert named == [
        ["first", "step-0", "step-0"],
        ["first", "step-0", "step-50"],
        ["previous", "step-0", "step-50"],
        ["first", "step-0", "step-100"],
        ["previous", "step-50", "step-100"],
    ]
    assert table.groupby("measure", sort=False).size().to_dict() == dict.fromkeys(CHEAP, 5 * 2)
    assert not (tmp_path / "drift_floor.csv").exists()
    assert not (tmp_path / "drift_groups.csv").exists()
    assert table["above_floor"].isna().all()


def test_drift_from_the_one_before_is_that_of_the_two_files(moving: list[Path], tmp_path: Path) -> None:
    analyse("drift", moving, tmp_path / "a", reference=moving[1], analyze=options())
    analyse("drift", [moving[2]], tmp_path / "b", reference=moving[0], analyze=options())
    both, pair = (read_table(tmp_path / name, "drift") for name in "ab")
    last = both[(both["against"] == "previous") & (both["step"] == 100)]
    expected = pair[(pair["against"] == "first") & (pair["step"] == 100)]
    np.testing.assert_allclose(last["value"], expected["value"], atol=1e-7)
    assert last["layer"].tolist() == expected["layer"].tolist()


def test_against_one_of_the_two(moving: list[Path], tmp_path: Path) -> None:
    analyse("drift", moving, tmp_path, reference=moving[1], analyze=options(against=["previous"]))
    table = read_table(tmp_path, "drift")
    assert set(table["against"]) == {"previous"}
    assert set(table["step"]) == {50, 100}


def test_an_earlier_step_than_the_reference_has_none_before_it(moving: list[Path], tmp_path: Path) -> None:
    analyse("drift", moving, tmp_path, reference=moving[0], analyze=options())
    table = read_table(tmp_path, "drift")
    before = table[table["against"] == "previous"]
    assert before[["reference", "checkpoint"]].drop_duplicates().to_numpy().tolist() == [
        ["step-0", "step-50"], ["step-50", "step-100"],
    ]  # fmt: skip


def test_checkpoints_that_share_a_file_keep_the_studys_names(moving: list[Path], tmp_path: Path) -> None:
    named = [NamedCache(moving[0], "mine", f"step-{step}", step) for step in (0, 10, 20)]
    analyse("drift", named, tmp_path, reference=named[0], analyze=options())
    table = read_table(tmp_path, "drift")
    assert set(table["model"]) == {"mine"}
    assert table["checkpoint"].drop_duplicates().tolist() == ["step-0", "step-10", "step-20"]
    np.testing.assert_allclose(table.loc[table["measure"] == "cka_debiased", "value"], 1, atol=1e-6)


def test_the_floor_tells_the_layer_that_moved_from_the_one_that_did_not(
    moving: list[Path], store: Store, values: np.ndarray, rng: np.random.Generator, tmp_path: Path
) -> None:
    repeats = [
        store(f"again{place}", values + 1e-3 * rng.standard_normal(values.shape), 0, weights="first")
        for place in range(2)
    ]
    outcome = analyse("drift", moving, tmp_path, reference=moving[1], analyze=options(by=["label"]), repeats=repeats)
    table, floor = read_table(tmp_path, "drift"), read_table(tmp_path, "drift_floor")
    assert set(floor["kind"]) == {"repeat"}
    assert set(floor["n_pairs"]) == {2}
    assert set(floor["group"]) == {"all", "anger", "joy", "sadness"}
    moved = table[(table["step"] > 0) & (table["against"] == "first")].groupby("layer")["above_floor"]
    assert moved.all().to_dict() == {"0": False, "1": True}
    assert moved.any().to_dict() == {"0": False, "1": True}
    words = "cka_debiased: 1 of 2, mean_cosine: 1 of 2, mean_shift: 1 of 2"
    assert outcome.summary == {"clips": 72, "layers above the floor at the last step": words}
    assert not table.loc[table["step"] == 0, "above_floor"].any()


def test_other_seeds_are_a_floor_at_their_step(
    moving: list[Path], store: Store, values: np.ndarray, rng: np.random.Generator, tmp_path: Path
) -> None:
    other = store("other", values + 5 * rng.standard_normal(values.shape), 100)
    analyse("drift", moving, tmp_path, reference=moving[1], analyze=options(), seed_caches=[other])
    table, floor = read_table(tmp_path, "drift"), read_table(tmp_path, "drift_floor")
    assert floor[["kind", "step"]].drop_duplicates().to_numpy().tolist() == [["seed", 100]]
    assert set(table["checkpoint"]) == {"step-0", "step-50", "step-100"}
    last = (table["step"] == 100) & (table["against"] == "first")
    assert table.loc[last, "floor_seed"].notna().all()
    assert table.loc[~last, "floor_seed"].isna().all()
    assert not table.loc[last, "above_floor"].any()


def test_groups(moving: list[Path], tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match="The clips have no column 'accent'"):
        analyse("drift", moving, tmp_path, reference=moving[1], analyze=options(by=["label", "accent"]))
    analyze = options(by=["label", "speaker"])
    analyse("drift", moving, tmp_path, reference=moving[1], analyze=analyze, context=CONTEXT)
    groups = read_table(tmp_path, "drift_groups")
    assert groups.groupby("group_by")["group"].nunique().to_dict() == {"label": 3, "speaker": 6}
    assert {"corpus", "step", "layer", "against", "measure", "value", "group_by", "group"} <= set(groups.columns)
    overall = read_table(tmp_path, "drift").query("measure == 'mean_cosine' and step == 100 and against == 'first'")
    parts = groups.query("measure == 'mean_cosine' and step == 100 and against == 'first' and group_by == 'label'")
    np.testing.assert_allclose(parts.groupby("layer")["value"].mean(), overall["value"], atol=1e-12)


def test_weights_have_a_table_of_their_own(moving: list[Path], finished_once: Path, tmp_path: Path) -> None:
    checkpoints = finished_once / "runs/small/checkpoints"
    folders = {f"step-{step}": checkpoints / f"checkpoint-{step}" for step in (0, 2, 4)}
    analyse("drift", moving, tmp_path, reference=moving[1], analyze=options(), checkpoints=folders, context=CONTEXT)
    table = read_table(tmp_path, "weight_drift")
    assert set(table["layer"]) >= {"1", "2", "front_end", "feature_projection", "positional_conv", "encoder_norm"}
    assert table[["checkpoint", "step"]].drop_duplicates().to_numpy().tolist() == [
        ["step-0", 0], ["step-2", 2], ["step-4", 4],
    ]  # fmt: skip
    changed = table.query("measure == 'relative_change' and against == 'first' and step == 4").set_index("layer")
    assert changed.loc["front_end", "value"] == 0, "it does not train by default"
    assert changed.loc["1", "value"] > 0
    assert set(table.loc[table["measure"] == "update_cosine", "reference"]) == {"step-2"}
    off = options(weights=False)
    outcome = analyse("drift", moving, tmp_path / "t", reference=moving[1], analyze=off, checkpoints=folders)
    assert "weight_drift.csv" not in {path.name for path in outcome.files}


def test_other_layers_or_widths_are_refused(
    moving: list[Path], store: Store, values: np.ndarray, tmp_path: Path
) -> None:
    deep = store("deep", values[[0, 1, 1]], 100, layers=("0", "1", "2"))
    with pytest.raises(AnalysisError, match="Drift needs the same layers in both files") as raised:
        analyse("drift", [deep], tmp_path / "t", reference=moving[1], analyze=options())
    assert raised.value.found == "0, 1, 2"
    wide = store("wide", np.concatenate([values, values], axis=2), 100)
    with pytest.raises(AnalysisError, match="another shape now") as raised:
        analyse("drift", [wide], tmp_path / "t", reference=moving[1], analyze=options())
    assert raised.value.where == "layer 0 of step-100 (wide.h5)"
    assert not (tmp_path / "t").exists()


def test_what_is_no_floor_is_refused(moving: list[Path], store: Store, values: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match="A repeat of the reference is of other weights"):
        analyse("drift", moving, tmp_path / "t", reference=moving[1], analyze=options(), repeats=[moving[0]])
    late = store("late", values, 75)
    with pytest.raises(AnalysisError, match="none of the same step") as raised:
        analyse("drift", moving, tmp_path / "t", reference=moving[1], analyze=options(), seed_caches=[late])
    assert raised.value.found == "step 75"


def test_clips_that_are_not_in_all_files_are_left_out(
    moving: list[Path], store: Store, values: np.ndarray, clips: pd.DataFrame, tmp_path: Path
) -> None:
    fewer = store("fewer", values[:, 10:], 150, clips=clips.iloc[10:])
    outcome = analyse("drift", [*moving, fewer], tmp_path, reference=moving[1], analyze=options())
    assert outcome.summary == {"clips": 62, "clips not in all files, left out": 10}
    assert set(read_table(tmp_path, "drift")["n"]) == {62}
