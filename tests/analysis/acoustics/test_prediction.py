"""Predictions of unheard speakers: what is kept is found, what is not is 0, and the control tells voice from clip."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ser_probe.analysis.acoustics.folds import acoustic_folds, fold_of_clip
from ser_probe.analysis.acoustics.prediction import (
    AcousticTargets,
    group_means,
    predict_unheard,
    prepare_acoustic_targets,
    score_layers,
    training_means,
)
from ser_probe.analysis.acoustics.scores import scores_of
from ser_probe.analysis.probes.families import TEST, TRAIN
from ser_probe.errors import AnalysisError

from .conftest import Voices

SINGLE = 1e-4  # predictions are kept in float32


def test_what_is_kept(voices: Voices, targets: AcousticTargets) -> None:
    ((real, control),) = score_layers(voices.x[None], targets)
    found, null = scores_of(real.sum(axis=0)), scores_of(control.sum(axis=0))
    assert found["r2"][0] > 0.95
    # The gender is 2.25 of 3.25 parts of the second one's variance, and no more can be known.
    assert found["r2"][1] == pytest.approx(2.25 / 3.25, abs=0.1)
    assert 0.3 < found["r2"][2] < 0.6
    assert abs(found["r2"][3]) < 0.06
    assert found["r2_within"][0] > 0.95
    assert abs(found["r2_within"][1]) < 0.06, "the speaker's part is not kept of the clip"
    assert null["r2"][1] == pytest.approx(found["r2"][1], abs=0.05), "the control keeps what the voice tells"
    assert (null["r2_within"] < 0.03).all(), "and nothing of the clip: the floor"
    assert null["r2"][[0, 2, 3]] == pytest.approx([0, 0, 0], abs=0.06)


def test_scikit_learns_predictions(voices: Voices, targets: AcousticTargets) -> None:
    one = AcousticTargets(targets.y, targets.shuffled, targets.speakers, targets.folds, strengths=(30.0,))
    found = predict_unheard(voices.x[None], targets.y, one)[0]
    for parts in targets.folds.parts:
        model = make_pipeline(StandardScaler(), Ridge(alpha=30.0))
        model.fit(voices.x[parts == TRAIN], targets.y[parts == TRAIN])
        expected = model.predict(voices.x[parts == TEST])
        np.testing.assert_allclose(found[parts == TEST], expected, atol=SINGLE)


def test_units_and_chunks_do_not_matter(
    voices: Voices, targets: AcousticTargets, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.stack([voices.x, voices.x[::-1]])
    whole = list(score_layers(x, targets))
    scaled = prepare_acoustic_targets(voices.y * 1e3 + 9, targets.folds, speakers=voices.speakers, n_inner=3)
    monkeypatch.setattr("ser_probe.analysis.acoustics.prediction.PREDICTION_BYTES", 1)
    for (sums, control), (again, control_again) in zip(score_layers(x * 40 - 2, scaled), whole, strict=True):
        for one, other in ((sums, again), (control, control_again)):
            np.testing.assert_allclose(
                scores_of(one.sum(axis=0))["r2"], scores_of(other.sum(axis=0))["r2"], atol=SINGLE
            )


def test_the_control_stays_with_the_speaker(targets: AcousticTargets) -> None:
    for speaker in np.unique(targets.speakers):
        own = targets.speakers == speaker
        np.testing.assert_allclose(np.sort(targets.shuffled[own], axis=0), np.sort(targets.y[own], axis=0))
    moved = (targets.shuffled != targets.y).any(axis=1)
    assert moved.mean() > 0.8
    rows = {tuple(row) for row in targets.y.round(9)}
    assert all(tuple(row) in rows for row in targets.shuffled.round(9)), "a clip's functionals stay together"


def test_without_control(voices: Voices, targets: AcousticTargets) -> None:
    ((real, control),) = score_layers(voices.x[None], targets, control=False)
    assert real.shape == (8, 4, 9)
    assert control.shape == (0, 4, 9)


def test_what_the_gender_alone_tells(voices: Voices, targets: AcousticTargets) -> None:
    y, folds = targets.y, targets.folds
    found = group_means(y, voices.genders, folds)
    fold = fold_of_clip(folds)[5]
    heard = (folds.parts[fold] == TRAIN) & (voices.genders == voices.genders[5])
    np.testing.assert_allclose(found[5], y[heard].mean(axis=0))
    assert 1 - ((y - found) ** 2).sum(axis=0)[1] / (y**2).sum(axis=0)[1] > 0.6
    # A speaker's own mean has never been heard.
    np.testing.assert_array_equal(group_means(y, voices.speakers, folds), training_means(y, folds))


def test_nan_in_a_layer_or_a_functional(voices: Voices, targets: AcousticTargets) -> None:
    x = voices.x.copy()
    x[3, 1] = np.nan
    with pytest.raises(AnalysisError, match="hold NaN or infinite values") as raised:
        next(score_layers(x[None], targets))
    assert "clips 3" in str(raised.value)
    y = voices.y.copy()
    y[4, 0] = np.nan
    with pytest.raises(AnalysisError, match="The acoustic features hold NaN"):
        prepare_acoustic_targets(y, targets.folds, speakers=voices.speakers)


def test_faults(voices: Voices) -> None:
    folds = acoustic_folds(voices.speakers, 4)
    constant = voices.y.copy()
    constant[:, 2] = 7
    with pytest.raises(AnalysisError, match="A functional that does not vary cannot be predicted") as raised:
        prepare_acoustic_targets(constant, folds, speakers=voices.speakers)
    assert raised.value.where == "columns 2"
    with pytest.raises(AnalysisError, match="The inputs do not describe the same clips"):
        prepare_acoustic_targets(voices.y[:-1], folds, speakers=voices.speakers)
