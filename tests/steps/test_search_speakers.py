"""Which speakers a search trains on: so many, of both genders, of every class, and never one of the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_probe.data.manifest import Manifest
from ser_probe.errors import SplitError
from ser_probe.steps.search_speakers import draw_speakers


def speakers_table(n_speakers: int, *, labels: tuple[str, ...] = ("anger", "joy")) -> pd.DataFrame:
    rows = [
        (f"s{speaker:02d}", label, ("female", "male")[speaker % 2], "train", f"{speaker}/{label}/{take}.wav")
        for speaker in range(n_speakers) for label in labels for take in range(3)
    ]  # fmt: skip
    rows += [("v0", label, "female", "validation", f"v0/{label}.wav") for label in labels]
    rows += [("t0", label, "female", "test", f"t0/{label}.wav") for label in labels]
    return pd.DataFrame(rows, columns=["speaker", "label", "gender", "split", "path"])


def drawn_from(table: pd.DataFrame, fraction: float = 0.5, seed: int = 0, *, every_class: bool = True) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return draw_speakers(Manifest(table, Path()), fraction, rng, every_class=every_class).table


@pytest.mark.parametrize("n_speakers", [2, 3, 4, 5, 8, 20])
@pytest.mark.parametrize("fraction", [0.01, 0.5, 0.7, 1.0])
def test_a_share_of_the_training_speakers_is_drawn(n_speakers: int, fraction: float) -> None:
    table = speakers_table(n_speakers)
    found = drawn_from(table, fraction)
    training = found[found["split"] == "train"]
    speakers = set(training["speaker"])
    assert len(speakers) == max(2, round(fraction * n_speakers))
    assert len(training) == 6 * len(speakers), "all clips of a speaker, and each once"
    pd.testing.assert_frame_equal(
        found[found["split"] == "validation"].reset_index(drop=True),
        table[table["split"] == "validation"].reset_index(drop=True),
    )
    assert "test" not in set(found["split"]), "nobody looks at the test speakers"
    if n_speakers % 2 == 0:
        women = training.loc[training["gender"] == "female", "speaker"].nunique()
        assert abs(2 * women - len(speakers)) <= 1, "genders are shared out evenly"


def test_the_draw_depends_on_the_seed() -> None:
    table = speakers_table(20)

    def drawn(seed: int) -> set[str]:
        found = drawn_from(table, seed=seed)
        return set(found.loc[found["split"] == "train", "speaker"])

    assert drawn(1) == drawn(1)
    assert len({frozenset(drawn(seed)) for seed in range(5)}) == 5
    shuffled = table.sample(frac=1, random_state=0).reset_index(drop=True)
    found = drawn_from(shuffled, seed=1)
    assert set(found.loc[found["split"] == "train", "speaker"]) == drawn(1), "whatever the order of the rows"


def test_speakers_are_drawn_so_that_no_class_is_lost() -> None:
    """One of eight speakers alone has a third label: the draw takes it, or says that it cannot."""
    table = speakers_table(8)
    table.loc[table["speaker"] == "s03", "label"] = "fear"
    for seed in range(5):
        found = drawn_from(table, seed=seed)
        assert set(found.loc[found["split"] == "train", "label"]) == {"anger", "joy", "fear"}
    table["label"] = table["speaker"].where(table["split"] == "train", "s00")
    with pytest.raises(SplitError, match=r"The 4 of 8 training speakers that the search takes lack a class"):
        drawn_from(table)
    assert len(drawn_from(table, 1.0)) == 8 * 6 + 2
    assert len(drawn_from(table, every_class=False)) == 4 * 6 + 2, "where numbers are learnt there are no classes"


def test_one_training_speaker_is_too_few() -> None:
    with pytest.raises(SplitError, match="too few training speakers to search with"):
        drawn_from(speakers_table(1))
