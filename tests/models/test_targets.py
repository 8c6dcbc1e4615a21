"""What the outputs of a classifier mean: units, round trips, and a message for each fault."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from ser_probe.models.targets import KINDS, NUMERIC, Targets, numeric_targets

NAMES = ("arousal", "valence", "dominance")

EXAMPLES = [
    Targets("classes", ("joy", "anger", "tristezza è qui")),
    Targets("distribution", ("joy", "anger")),
    Targets("numeric", ("arousal", "valence"), (3.25, -0.1), (1.5, 1 / 3)),
]


@pytest.fixture
def values(rng: np.random.Generator) -> np.ndarray:
    """Ratings of 50 clips, [N, K], on scales that differ."""
    return rng.normal((3.0, -20.0, 0.5), (1.0, 40.0, 0.01), size=(50, 3))


def test_the_examples_are_of_every_kind() -> None:
    assert {targets.kind for targets in EXAMPLES} == {*KINDS}
    assert [targets.is_numeric for targets in EXAMPLES] == [False, False, True]


@pytest.mark.parametrize("targets", EXAMPLES)
def test_json_gives_the_same_targets(targets: Targets) -> None:
    assert Targets.from_json(json.loads(json.dumps(targets.as_json()))) == targets


def test_numeric_targets_are_z_scores_of_the_training_clips(values: np.ndarray) -> None:
    targets = numeric_targets(NAMES, values)
    outputs = targets.standardise(values)
    assert (targets.kind, targets.names) == (NUMERIC, NAMES)
    assert outputs.dtype == np.float32
    np.testing.assert_allclose(outputs.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(outputs.std(axis=0), 1, rtol=1e-6)


def test_outputs_come_back_in_their_units(values: np.ndarray) -> None:
    targets = numeric_targets(NAMES, values)
    np.testing.assert_allclose(targets.restore(targets.standardise(values)), values, rtol=1e-5)
    np.testing.assert_allclose(targets.restore(np.zeros((1, 3))), values.mean(axis=0)[None])
    assert Targets("numeric", ("x",), (10.0,), (2.0,)).restore(np.array([[-1.5]])) == 7.0


def test_a_target_that_does_not_vary_keeps_its_scale() -> None:
    """Where dividing by its deviation would give nan."""
    targets = numeric_targets(("arousal", "valence"), np.array([[4.0, 1.0], [4.0, 3.0]]))
    assert targets.scales == (1.0, 1.0)
    assert targets.offsets == (4.0, 2.0)
    assert targets.standardise(np.array([[4.0, 1.0]])).tolist() == [[0.0, -1.0]]


def test_new_values_are_measured_by_the_training_clips(values: np.ndarray) -> None:
    """The counter-case to z-scores of their own."""
    targets = numeric_targets(NAMES, values)
    other = values[:10] + 5 * values.std(axis=0)
    assert (targets.standardise(other).mean(axis=0) > 4).all()


def test_a_kind_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="kind must be one of classes, distribution, numeric, not 'ordinal'"):
        Targets("ordinal", ("low", "high"))


@pytest.mark.parametrize(
    ("kind", "offsets", "scales", "message"),
    [
        ("numeric", (), (), "numeric targets have 2 offsets and scales"),
        ("numeric", (0.0, 0.0), (1.0,), "numeric targets have 2 offsets and scales"),
        ("classes", (0.0, 0.0), (1.0, 1.0), "classes targets have 0 offsets and scales"),
        ("distribution", (), (1.0, 1.0), "distribution targets have 0 offsets and scales"),
    ],
)
def test_offsets_and_scales_are_of_numeric_targets(kind: str, offsets: Any, scales: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Targets(kind, ("a", "b"), offsets, scales)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["joy", "anger"], "not the targets of a classifier: expected kind and names, found"),
        (None, "not the targets of a classifier"),
        ({"kind": "classes"}, "not the targets of a classifier: 'names'"),
        ({"names": ["joy"]}, "not the targets of a classifier: 'kind'"),
        ({"kind": "classes", "names": 3}, "not the targets of a classifier"),
        ({"kind": "numeric", "names": ["x"], "offsets": None, "scales": [1]}, "not the targets of a classifier"),
        ({"kind": "numeric", "names": ["x"], "offsets": ["much"], "scales": [1]}, "expected a number, found 'much'"),
        ({"kind": "numeric", "names": ["x"]}, "numeric targets have 1 offsets and scales"),
        ({"kind": "emotions", "names": ["joy"]}, "kind must be one of"),
    ],
)
def test_values_that_are_no_targets(values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Targets.from_json(values)


def test_a_config_can_be_checked_without_torch() -> None:
    code = "import sys, ser_probe.models.targets; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
