"""Probes as estimators: scikit-learn's own checks, and the same fit as the family's."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from ser_probe.analysis.probes.families import Folds
from ser_probe.analysis.probes.logistic import fit_logistic
from ser_probe.analysis.probes.ridge import fit_ridge
from ser_probe.library.estimators import LinearProbe, LogisticProbe, RidgeProbe

from .conftest import Tiny

PROBES = [LinearProbe(), LogisticProbe(), RidgeProbe()]
EVERYBODY = Folds(("fit",), np.zeros((1, 72), np.int8))
ROUNDING = 1e-5
"""Weights are float32: of outputs of size 1 they leave about 1e-7 times the number of features."""


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: type(probe).__name__)
def test_the_checks_of_scikit_learn(probe: BaseEstimator) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checks = check_estimator(probe, on_skip=None, on_fail=None)
    assert {check["check_name"]: check["exception"] for check in checks if check["status"] == "failed"} == {}
    assert sum(check["status"] == "passed" for check in checks) > 40


def test_the_fits_are_those_of_the_families(tiny: Tiny) -> None:
    x, codes = tiny.before[1], pd.factorize(tiny.labels, sort=True)[0]
    probes = fit_logistic(x[None], codes[None], EVERYBODY, groups=tiny.speakers, n_classes=3)
    logistic = LogisticProbe().fit(x, tiny.labels, groups=tiny.speakers)
    np.testing.assert_allclose(logistic.decision_function(x), probes.logits[0, 0, 0], atol=ROUNDING)
    assert logistic.strength_ == probes.strength[0, 0, 0]
    numbers = fit_ridge(x[None], tiny.features.to_numpy(), EVERYBODY, groups=tiny.speakers)
    ridge = RidgeProbe().fit(x, tiny.features, groups=tiny.speakers)
    np.testing.assert_allclose(ridge.predict(x), numbers.predictions[0, 0], atol=ROUNDING)
    assert ridge.coef_.shape == (2, 6)


def test_they_work_in_pipelines_and_searches(tiny: Tiny) -> None:
    x = tiny.before[1]
    pipeline = make_pipeline(StandardScaler(), LogisticProbe(n_inner=2))
    grid = {"logisticprobe__strengths": [(1.0,), (1e4,)]}
    search = GridSearchCV(pipeline, grid, cv=GroupKFold(4)).fit(x, tiny.labels, groups=tiny.speakers)
    assert search.best_params_ == {"logisticprobe__strengths": (1.0,)}
    assert search.best_score_ > 0.8
    assert clone(LinearProbe(patience=3)).get_params()["patience"] == 3


def test_the_linear_probe_stops_by_speakers_that_do_not_train(tiny: Tiny) -> None:
    x = tiny.before[1]
    probe = LinearProbe(random_state=1).fit(x, tiny.labels, groups=tiny.speakers)
    assert probe.score(x, tiny.labels) > 0.8
    np.testing.assert_allclose(probe.predict_proba(x).sum(axis=1), 1)
    # Without speakers single clips stop it: another probe.
    other = LinearProbe(random_state=1).fit(x, tiny.labels)
    assert (probe.coef_ != other.coef_).any()
    with pytest.raises(ValueError, match=r"'validation_fraction' must be between 0 and 1\. Got 1\.5 instead"):
        LinearProbe(validation_fraction=1.5).fit(x, tiny.labels)
    with pytest.raises(ValueError, match="No group can stop training"):
        LinearProbe().fit(x, tiny.labels, groups=np.zeros(72))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        LinearProbe().fit(x, tiny.labels, groups=tiny.speakers[1:])
