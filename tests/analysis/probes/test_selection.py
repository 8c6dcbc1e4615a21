from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ser_probe.analysis.inputs import RepresentationKey
from ser_probe.analysis.probes.families import TEST, VALIDATION
from ser_probe.analysis.probes.fitting import Probes, scored_clips
from ser_probe.analysis.probes.scoring import score_part
from ser_probe.analysis.probes.selection import best_layers, choose_layer, score_choice

from .conftest import LABELS, Study


def planted(probes: Probes, right: dict[tuple[int, int, int], float]) -> Probes:
    """Return probes that are right on a share of the clips of each (part, layer, fold); elsewhere never."""
    answers = {}
    for part in (VALIDATION, TEST):
        fold, truth = scored_clips(probes.folds, part).fold, probes.truth(part)
        given = np.tile((truth + 1) % len(LABELS), (*probes.answers[part].shape[:2], 1))
        for (own, layer, f), share in right.items():
            clips = np.flatnonzero(fold == f)
            if own == part:
                hit = clips[: round(share * len(clips))]
                given[layer, :, hit] = truth[hit][:, None]
        answers[part] = given.astype(np.int16)
    return replace(probes, answers=answers)


def test_the_layer_is_chosen_on_validation_and_scored_on_test(study: Study) -> None:
    probes = planted(study.fit(), {
        (VALIDATION, 0, 0): 0.5, (VALIDATION, 1, 0): 0.75, (VALIDATION, 2, 0): 0.75,
        (TEST, 0, 0): 0.25, (TEST, 1, 0): 0.5, (TEST, 2, 0): 1.0,
    })  # fmt: skip
    choice = choose_layer(probes, [0, 1, 2], measure="accuracy")
    assert choice.index == 1, "of equals the first; layer 2 is only lucky on test"
    value, low, high = score_choice(probes, choice, measure="accuracy")
    assert (choice.validation, value) == (0.75, 0.5)
    assert low <= 0.5 <= high
    assert choose_layer(probes, [0, 2], measure="accuracy").index == 2
    table = best_layers(probes, score_part(probes), measure="accuracy")
    assert table["layer"].tolist() == ["weak"]
    assert table["chosen_by"].tolist() == ["weak: 1 of 1"]


def test_each_fold_chooses_for_itself(study: Study) -> None:
    right = {(VALIDATION, layer, fold): 0.25 for layer in range(3) for fold in range(3)}
    right |= {(VALIDATION, 0, 0): 1.0, (VALIDATION, 2, 1): 1.0, (VALIDATION, 2, 2): 1.0}
    right |= {(TEST, 0, 0): 0.5, (TEST, 2, 1): 0.75, (TEST, 2, 2): 0.25, (TEST, 1, 0): 1.0, (TEST, 0, 1): 1.0}
    probes = planted(study.fit(folds=study.rotated), right)
    choice = choose_layer(probes, [0, 1, 2], measure="accuracy")
    assert choice.per_fold == (0, 2, 2)
    assert choice.index == 2
    assert choice.validation == 1
    test, *_ = score_choice(probes, choice, measure="accuracy")
    assert test == pytest.approx((0.5 + 0.75 + 0.25) / 3, abs=0.01)


def test_pooling_before_choosing_would_flatter(study: Study, rng: np.random.Generator) -> None:
    """The counter-case: of many useless layers, one chosen by clips that are also tested looks useful."""
    fitted = study.fit(folds=study.rotated)
    n_layers, nested, pooled = 40, [], []
    test, validation = scored_clips(fitted.folds, TEST), scored_clips(fitted.folds, VALIDATION)
    for _ in range(30):
        # A useless layer has its luck with clips, whichever fold's probe answers.
        own = rng.integers(0, len(LABELS), (n_layers, 1, len(study.y)))
        answers = {TEST: own[..., test.clip].astype(np.int16), VALIDATION: own[..., validation.clip].astype(np.int16)}
        names = [str(layer) for layer in range(n_layers)]
        probes = replace(fitted, names=names, seeds=[0], answers=answers)
        nested.append(score_choice(probes, choose_layer(probes, range(n_layers)), n_resamples=2)[0])
        scores = score_part(probes, n_resamples=1).values["uar"].mean(axis=1)
        chosen = score_part(probes, VALIDATION, n_resamples=1).values["uar"].mean(axis=1).argmax()
        pooled.append(scores[chosen])
    assert np.mean(nested) == pytest.approx(0.25, abs=0.02)
    assert np.mean(pooled) > 0.29


def test_the_best_layers_of_a_study(study: Study) -> None:
    probes = study.fit()
    assert best_layers(probes, score_part(probes))["layer"].tolist() == ["strong"]
    keys = [RepresentationKey("m", f"step-{step}", step, "0") for step in range(2)]
    keys.append(RepresentationKey("egemaps", "", float("nan"), "functionals"))
    table = best_layers(replace(probes, names=keys), score_part(probes))
    assert table["checkpoint"].tolist() == ["step-0", "step-1", ""]
    np.testing.assert_allclose(table["test_value"], score_part(probes).values["uar"].mean(axis=1))
