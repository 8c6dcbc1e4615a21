from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ser_probe.errors import ConfigError, SplitError
from ser_probe.models.targets import Targets
from ser_probe.training.settings import SplitClips, TrainingSettings, check_clips
from tests.training.conftest import LABELS, TARGETS, make_clips


def test_all_faults_of_settings_come_at_once() -> None:
    with pytest.raises(ConfigError, match="3 faults") as caught:
        TrainingSettings(batch_size=0, warmup_ratio=1.0, scheduler="steps")
    for part in ("batch_size must be above 0", "warmup_ratio must be in", "linear, cosine, constant, not 'steps'"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": float("nan")}, "learning_rate must be above 0"),
        ({"early_stopping_threshold": -0.1}, "early_stopping_threshold must not be negative"),
        ({"epochs": None, "max_steps": None}, "epochs and max_steps cannot both be None"),
        ({"metric": "f1"}, "metric must be one of loss, accuracy, uar, macro_f1"),
        ({"early_stopping_patience": 0}, "early_stopping_patience must be above 0"),
    ],
)
def test_a_fault_of_settings_says_what_is_right(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainingSettings(**change)  # type: ignore[arg-type]


def test_steps_are_counted_in_whole_batches() -> None:
    # 13 clips are 4 batches of 4, the last with one clip; two batches a step make 2 steps an epoch.
    settings = TrainingSettings(epochs=2.5, batch_size=4, gradient_accumulation=2)
    assert settings.total_steps(13) == 5
    assert dataclasses.replace(settings, max_steps=3).total_steps(13) == 3
    assert dataclasses.replace(settings, max_steps=30).total_steps(13) == 5
    assert dataclasses.replace(settings, epochs=None, max_steps=30).total_steps(13) == 30
    assert TrainingSettings(epochs=1, batch_size=16).total_steps(3) == 1


def test_a_trained_front_end_is_not_cached() -> None:
    clips = make_clips(3, 1)
    assert TrainingSettings().caches_front_end(clips)
    assert not TrainingSettings(trained="all").caches_front_end(clips)
    assert not TrainingSettings(cache_front_end=False).caches_front_end(clips)
    augmented = dataclasses.replace(clips, augment=lambda samples, _seed: samples)
    assert not TrainingSettings().caches_front_end(augmented)


@pytest.mark.parametrize(
    ("train", "validation", "labels", "message"),
    [
        (make_clips(0, 1, labels=[]), make_clips(3, 2), LABELS, "there are no training clips"),
        (make_clips(3, 1), make_clips(0, 2, labels=[]), LABELS, "there are no validation clips"),
        (make_clips(3, 1, labels=[0, 0, 0]), make_clips(3, 2, labels=[0, 0, 0]), ["a"], "there is only one class"),
        (make_clips(3, 1, labels=[0, 1, 0]), make_clips(3, 2), LABELS, r"class 'high' has no training clip \(1 in"),
        (make_clips(3, 1, labels=[0, 1, 3]), make_clips(3, 2), LABELS, r"labels of training clips must be in 0\.\.2"),
        (
            SplitClips(["x"], np.array([0, 1]), np.ones(2), lambda row: np.zeros(1)),
            make_clips(3, 2),
            LABELS,
            "1 ids, 2 tar",
        ),
    ],
)
def test_clips_that_nothing_can_be_learnt_from_are_refused(
    train: SplitClips, validation: SplitClips, labels: list[str], message: str
) -> None:
    with pytest.raises(SplitError, match=message):
        check_clips(train, validation, Targets("classes", tuple(labels)), TrainingSettings())


SHARES = np.array([[0.5, 0.5], [1.0, 0.0]])


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("distribution", SHARES * 2, "must not be negative and must sum to 1"),
        ("distribution", SHARES - 0.1, "must not be negative and must sum to 1"),
        ("distribution", SHARES[:, :1], "must be 2 finite numbers each"),
        ("numeric", SHARES * np.nan, "must be 2 finite numbers each"),
    ],
)
def test_shares_and_numbers_are_checked(kind: str, values: np.ndarray, message: str) -> None:
    numbers = ((0.0, 0.0), (1.0, 1.0)) if kind == "numeric" else ()
    clips = dataclasses.replace(make_clips(2, 1), targets=values)
    with pytest.raises(SplitError, match=message):
        check_clips(clips, clips, Targets(kind, ("a", "b"), *numbers), TrainingSettings())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (TrainingSettings(loss="ccc"), "loss is not for classes targets"),
        (TrainingSettings(metric="rmse"), "no such score of classes targets"),
    ],
)
def test_a_loss_or_score_of_other_targets_is_refused(settings: TrainingSettings, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_clips(make_clips(3, 1), make_clips(3, 2), TARGETS, settings)
