"""The mutator itself: it changes every kind of file, says what it did, and does the same again for the same seed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from ser_probe.embeddings.store_stamp import check_stamp
from tests.mutation import BYTES, mutate, mutators_for
from tests.mutation_hdf5 import HDF5, restamp

SEEDS = range(120)
TABLE = pd.DataFrame({"path": ["a.wav", "b.wav", "c.wav"], "label": ["joy", "anger", "joy"], "x": [1.0, 2.0, 3.0]})


def _json(path: Path) -> None:
    path.write_text(json.dumps({"runs": [{"seconds": 1.5, "device": "cpu"}], "study": "small", "steps": [1, 2, 3]}))


def _yaml(path: Path) -> None:
    path.write_text("name: small\ndata:\n  keep: [a, b]\nfinetune: {epochs: 3, enabled: true}\n")


def _h5(path: Path) -> None:
    with h5py.File(path, "w", locking=False) as file:
        file.attrs["layer_names"] = json.dumps(["0", "1"])
        file.create_group("columns").attrs["order"] = json.dumps(["label"])
        file["columns/label"] = ["joy", "anger"]
        file["n_frames"] = np.array([3, 4], dtype="<i4")
        file["embeddings"] = np.arange(8, dtype="<f4").reshape(2, 2, 2)
    restamp(path)


KINDS: dict[str, Callable[[Path], None]] = {
    "x.json": _json,
    "x.yaml": _yaml,
    "x.csv": lambda path: TABLE.to_csv(path, index=False),
    "x.parquet": lambda path: TABLE.to_parquet(path, index=False),
    "x.h5": _h5,
    "x.bin": lambda path: path.write_bytes(bytes(range(200))) and None,
}


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_seed_changes_the_file_the_same_way_each_time(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    KINDS[name](path)
    whole = path.read_bytes()
    said = {}
    for seed in SEEDS:
        path.write_bytes(whole)
        said[seed] = mutate(path, seed)
        changed = path.read_bytes()
        assert changed != whole, said[seed]
        assert said[seed].startswith(f"seed {seed}, {name}, ")
        if seed < 20 and name != "x.h5":  # HDF5 stamps the time of its changes
            path.write_bytes(whole)
            assert mutate(path, seed) == said[seed]
            assert path.read_bytes() == changed, said[seed]
    drawn = {what.split(", ")[2].partition(":")[0] for what in said.values()}
    assert len(drawn) >= 0.8 * len(mutators_for(path))


def test_each_mutator_of_hdf5_applies_and_leaves_a_right_stamp(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    _h5(path)
    whole = path.read_bytes()
    for name, mutator in HDF5.items():
        for seed in range(6):
            path.write_bytes(whole)
            what = mutate(path, seed, {name: mutator})
            with path.open("rb") as stream:
                check_stamp(stream, path)
            assert f", {name}: " in what


def test_a_file_that_cannot_be_changed_is_said(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.write_bytes(b"")
    with pytest.raises(AssertionError, match="No mutator changes"):
        mutate(path, 1, {"truncate": BYTES["truncate"]})
