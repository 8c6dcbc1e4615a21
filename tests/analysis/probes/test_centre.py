from __future__ import annotations

import numpy as np
import pytest

from ser_probe.analysis.probes.centre import centre_of_gravity, expected_layer, layer_positions

ROUNDING = 1e-12


def test_depths_are_layer_numbers_and_final_lies_below_the_last() -> None:
    assert layer_positions(["0", "1", "2", "final"]).tolist() == [0, 1, 2, 3]
    assert layer_positions(["0", "6", "12"]).tolist() == [0, 6, 12]
    assert layer_positions(["conv", "encoder"]).tolist() == [0, 1]


def test_the_centre_is_the_mean_depth_weighted_by_gain() -> None:
    positions = np.arange(4.0)
    assert centre_of_gravity(np.array([0, 0, 1, 0]), positions) == 2
    assert centre_of_gravity(np.array([0.1, 0.1, 0.1, 0.1]), positions) == pytest.approx(1.5, abs=ROUNDING)
    gains = np.array([0.1, 0.2, 0.4, 0.3])
    found = centre_of_gravity(gains, positions)
    assert found == pytest.approx(1.9, abs=ROUNDING)
    assert centre_of_gravity(3 * gains, positions) == pytest.approx(found, abs=ROUNDING)
    assert centre_of_gravity(gains + 1, positions) < found, "adding to all layers draws it to the middle"
    assert centre_of_gravity(np.array([-5, 0, 1, -1]), positions) == 2, "below the control is no gain"


def test_nothing_read_has_no_centre() -> None:
    assert np.isnan(centre_of_gravity(np.array([-0.1, 0.0, -0.2]), np.arange(3.0)))
    assert np.isnan(expected_layer(np.array([0.5, 0.4, 0.5]), np.arange(3.0)))


def test_the_expected_layer_is_where_the_score_rises() -> None:
    positions = np.arange(4.0)
    # By hand: the best so far rises by 0.2 at layer 1 and by 0.1 at layer 3.
    scores = np.array([0.3, 0.5, 0.4, 0.6])
    assert expected_layer(scores, positions) == pytest.approx((0.2 * 1 + 0.1 * 3) / 0.3, abs=ROUNDING)
    assert expected_layer(2 * scores + 1, positions) == pytest.approx(5 / 3, abs=ROUNDING)
    assert expected_layer(np.array([0.3, 0.5, 0.4, 0.3]), positions) == 1
    assert expected_layer(scores[::-1].copy(), positions) != pytest.approx(5 / 3)


def test_many_curves_at_once(rng: np.random.Generator) -> None:
    scores, positions = rng.random((5, 3, 7)), np.arange(7.0)
    for function in (centre_of_gravity, expected_layer):
        found = function(scores, positions)
        assert found.shape == (5, 3)
        assert found[2, 1] == pytest.approx(float(function(scores[2, 1], positions)), abs=ROUNDING)
