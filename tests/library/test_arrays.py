"""An array gives what its file gives; what does not belong together is refused by the argument's name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.errors import AnalysisError
from ser_probe.library.arrays import Files, InMemory, listed, single

from .conftest import Tiny


def layers_of(values: object, tmp_path: Path, n: int = 72, **more: str) -> dict[str, np.ndarray]:
    path = InMemory(values, **more).write(tmp_path / "x.h5", [f"{i:032x}" for i in range(n)])  # type: ignore[arg-type]
    with EmbeddingCache.open(path) as cache:
        return {name: cache.layer(name) for name in cache.layers()}


def test_an_array_is_one_layer_or_several(tiny: Tiny, tmp_path: Path) -> None:
    stored = layers_of(tiny.before, tmp_path)
    assert list(stored) == ["0", "1", "final"]
    np.testing.assert_array_equal(stored["final"], tiny.before[1].astype(np.float32))
    one = layers_of(tiny.before[0], tmp_path / "one")
    assert list(one) == ["0"]


def test_layers_by_name_and_tables(tiny: Tiny, tmp_path: Path) -> None:
    named = layers_of({"12": tiny.before[0], "final": tiny.before[1]}, tmp_path)
    assert list(named) == ["12", "final"]
    path = InMemory(tiny.features, argument="features").write(tmp_path / "f.h5", [f"{i:032x}" for i in range(72)])
    with EmbeddingCache.open(path) as cache:
        assert cache.layer_names == ("functionals",)
        assert list(cache.attributes["feature_names"]) == list(tiny.features)
        assert cache.key.kind == "features"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.array([[1.0, np.nan], [2.0, 3.0]]), r"caches \(layer 0\) hold NaN"),
        (np.zeros(5), "are not a table of numbers"),
        ({"0": np.zeros((2, 3)), "1": np.zeros((2, 4))}, "have one width"),
        ({}, "no layers"),
        (np.zeros((3, 2)), "2 rows, one for each clip(.|\n)*3 rows"),
    ],
)
def test_what_is_no_representation_is_refused(values: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match=said):
        layers_of(values, tmp_path, n=2)


def test_arrays_of_a_list_are_checkpoints(tiny: Tiny) -> None:
    states = listed([tiny.before, "x.h5", tiny.after], model="m", first=1)
    assert [getattr(each, "step", None) for each in states] == [1, None, 3]
    assert single(None, "features") is None
    assert [each.model for each in listed(tiny.before)] == ["array"]


def test_columns_are_those_of_the_clips(tiny: Tiny, tmp_path: Path) -> None:
    clips = pd.DataFrame({"gender": ["f", "m"] * 36})
    files = Files(tmp_path, clips, {"labels": tiny.labels, "speakers": None}, {"caches": listed(tiny.before)})
    inputs = files.inputs()
    assert list(inputs["clips"]) == ["gender", "label", "clip_id"]
    assert [path.is_file() for path in inputs["caches"]] == [True]
    with pytest.raises(AnalysisError, match=r"same clips(.|\n)*labels(.|\n)*72 entries(.|\n)*71 entries"):
        Files(tmp_path, None, {"labels": tiny.labels[1:]}, {"caches": listed(tiny.before)}).inputs()


def test_an_array_beside_a_file_is_of_the_clips_of_the_file(tiny: Tiny, tmp_path: Path) -> None:
    ids = [f"{7 * i:032x}" for i in range(72)]
    path = InMemory(tiny.before).write(tmp_path / "x.h5", ids)
    assert Files(tmp_path, None, {}, {"caches": [path]}).inputs() == {"caches": [path], "clips": None}
    inputs = Files(tmp_path, None, {}, {"caches": [path], "features": single(tiny.features, "features")}).inputs()
    assert list(inputs["clips"]["clip_id"]) == ids
    with EmbeddingCache.open(inputs["features"]) as cache:
        assert cache.clip_ids == ids
        assert Files(tmp_path, None, {"labels": tiny.labels}, {"caches": [cache]}).inputs()["caches"] == [cache.path]
