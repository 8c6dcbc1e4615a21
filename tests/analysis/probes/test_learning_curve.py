"""Learning curves: what is drawn, what stays, and that more data helps where there is something to learn."""

from __future__ import annotations

import numpy as np
import pytest

from ser_probe.analysis.metrics import confusion_matrices, confusion_scores
from ser_probe.analysis.probes.families import TEST, TRAIN, VALIDATION, ClassProbes, Folds
from ser_probe.analysis.probes.learning_curve import learning_curve
from ser_probe.errors import AnalysisError

from .least_squares import fit_least_squares

N, N_SPEAKERS, N_CLASSES, WIDTH = 320, 16, 4, 30


@pytest.fixture
def clips(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Sixteen speakers, of whom ten train; a layer where speakers differ more than labels, and one of noise."""
    labels, groups = np.arange(N) % N_CLASSES, np.arange(N) // (N // N_SPEAKERS)
    # Voices differ in six ways, which a probe can learn to ignore from as many speakers.
    voices = 2 * (rng.standard_normal((N_SPEAKERS, 6)) @ rng.standard_normal((6, WIDTH)))[groups]
    own = 1.5 * np.eye(N_CLASSES, WIDTH)[labels]
    noise = rng.standard_normal((N, WIDTH))
    return {"labels": labels, "groups": groups, "x": np.stack([own + voices + noise / 2, noise])}


@pytest.fixture
def folds(clips: dict[str, np.ndarray]) -> Folds:
    return Folds(["study"], np.select([clips["groups"] < 10, clips["groups"] < 12], [TRAIN, VALIDATION], TEST)[None])


def test_more_speakers_help_where_there_is_something_to_learn(clips: dict[str, np.ndarray], folds: Folds) -> None:
    table = learning_curve(**clips, folds=folds, fit=fit_least_squares, names=["layer", "noise"])
    table = table[table["measure"] == "uar"].set_index(["layer", "by", "fraction"])
    value = table["value"]
    assert value["layer", "speakers", 1.0] > value["layer", "speakers", 0.2] + 0.15
    assert value["layer", "clips", 0.2] > value["layer", "speakers", 0.2] + 0.1, "as many clips, of more voices"
    assert value["layer", "speakers", 1.0] == value["layer", "clips", 1.0], "the whole is the whole"
    assert abs(value["noise"] - 0.25).max() < 0.12
    assert table.loc[("layer", "speakers", 0.2), "train_speakers"] == 2
    assert table.loc[("layer", "clips", 0.2), "train_speakers"] == 10
    assert table.loc[("layer", "speakers", 0.2), "train_clips"] == table.loc[("layer", "clips", 0.2), "train_clips"]
    assert (table["n"] == 80).all()
    assert (table["n_speakers"] == 4).all()
    assert (table.xs(1.0, level="fraction")["n_draws"] == 1).all()
    assert table.xs(1.0, level="fraction")["sd_over_draws"].isna().all()
    assert (table.xs(0.4, level="fraction")["n_draws"] == 5).all()
    assert (table.xs(0.4, level="fraction")["sd_over_draws"] > 0).all()


def test_the_whole_is_what_a_single_fit_gives(clips: dict[str, np.ndarray], folds: Folds) -> None:
    table = learning_curve(**clips, folds=folds, fit=fit_least_squares, names=["layer", "noise"], fractions=[1.0])
    logits = fit_least_squares(clips["x"], clips["labels"], folds, groups=clips["groups"], n_classes=N_CLASSES).logits
    test = folds.test(0)
    confusion = confusion_matrices(clips["labels"][test], logits[:, 0, 0][:, test].argmax(axis=-1), N_CLASSES)
    np.testing.assert_allclose(table[table["measure"] == "uar"]["value"][:2], confusion_scores(confusion)["uar"])


def test_draws_are_nested_repeatable_and_leave_validation_and_test_alone(
    clips: dict[str, np.ndarray], folds: Folds
) -> None:
    seen: list[Folds] = []

    def fit(x: np.ndarray, labels: np.ndarray, smaller: Folds, **options: object) -> ClassProbes:
        seen.append(smaller)
        return fit_least_squares(x, labels, smaller, groups=clips["groups"], n_classes=N_CLASSES)

    tables = [learning_curve(**clips, folds=folds, fit=fit, names=["a", "b"], seed=4) for _ in range(2)]
    assert tables[0].equals(tables[1])
    parts = dict(zip(seen[0].names, seen[0].parts, strict=True))
    for part in parts.values():
        kept = part != -1
        np.testing.assert_array_equal(part[kept], folds.parts[0][kept])
        assert kept[folds.parts[0] != TRAIN].all()
    for by in ("speakers", "clips"):
        smaller, larger = (parts[f"{by}-{fraction}-2"] == TRAIN for fraction in (0.2, 0.6))
        assert (larger | ~smaller).all()
        assert larger.sum() > smaller.sum()


def test_draws_take_turns_over_folds(clips: dict[str, np.ndarray]) -> None:
    turned = [np.select([(clips["groups"] + 4 * f) % 16 < 10, (clips["groups"] + 4 * f) % 16 < 12], [0, 1], 2)
              for f in range(3)]  # fmt: skip
    folds = Folds(["a", "b", "c"], np.stack(turned))
    table = learning_curve(**clips, folds=folds, fit=fit_least_squares, names=["a", "b"], fractions=[0.5, 1.0])
    assert (table.loc[table["fraction"] == 1, "n_draws"] == 3).all()
    assert (table.loc[table["fraction"] == 0.5, "n_draws"] == 5).all()


def test_shares_of_two_speakers_are_one_or_both(clips: dict[str, np.ndarray], folds: Folds) -> None:
    two = Folds(["two"], np.where((folds.parts == TRAIN) & (clips["groups"] > 1), -1, folds.parts))
    table = learning_curve(**clips, folds=two, fit=fit_least_squares, names=["a", "b"], fractions=[0.1, 0.6, 1.0])
    table = table[(table["by"] == "speakers") & (table["measure"] == "uar")]
    assert table.groupby("fraction")["train_speakers"].first().to_dict() == {0.6: 1, 1.0: 2}


def test_shares_that_cannot_be(clips: dict[str, np.ndarray], folds: Folds) -> None:
    for fractions in ([0.0], [1.5], []):
        with pytest.raises(AnalysisError, match="needs shares of the training part"):
            learning_curve(**clips, folds=folds, fit=fit_least_squares, names=["a", "b"], fractions=fractions)


def test_speakers_of_one_class_each_have_no_curve_over_few_of_them(clips: dict[str, np.ndarray], folds: Folds) -> None:
    own = {**clips, "labels": clips["groups"] % N_CLASSES}
    table = learning_curve(**own, folds=folds, fit=fit_least_squares, names=["a", "b"], fractions=[0.2, 1.0])
    assert set(table.loc[table["by"] == "speakers", "fraction"]) == {1.0}, "two speakers cannot show four classes"
    assert set(table.loc[table["by"] == "clips", "fraction"]) == {0.2, 1.0}


def test_nothing_to_draw_from(clips: dict[str, np.ndarray], folds: Folds) -> None:
    nothing = Folds(["empty"], np.where(folds.parts == TRAIN, -1, folds.parts))
    with pytest.raises(AnalysisError, match="no training clips to take shares of"):
        learning_curve(**clips, folds=nothing, fit=fit_least_squares, names=["a", "b"])
