from __future__ import annotations

import pandas as pd
import pytest

from ser_probe.data.joined_labels import SettledLabels, describe_left_out, settle_labels
from ser_probe.errors import ManifestError

CLIPS = [
    ("iemocap", "excitement", 2), ("iemocap", "anger", 1), ("iemocap", "sadness", 1),
    ("mine", "Joy", 2), ("mine", "angry", 3), ("mine", "odd", 1), ("mine", "", 1),
]  # fmt: skip


def settle(clips: list[tuple[str, str, int]] = CLIPS, **options: object) -> SettledLabels:
    rows = [(corpus, label) for corpus, label, n in clips for _ in range(n)]
    table = pd.DataFrame(rows, columns=["corpus", "label"])
    return settle_labels(table["label"], table["corpus"], **options)  # type: ignore[arg-type]


def left_out(settled: SettledLabels) -> dict[tuple[str, str], tuple[int, str]]:
    return {(corpus, label): (n, reason) for corpus, label, n, reason in settled.left_out.itertuples(index=False)}


def test_labels_of_every_corpus_are_kept_and_the_others_counted() -> None:
    settled = settle()
    assert settled.labels.tolist() == ["", "", "anger", ""] + [""] * 2 + ["anger"] * 3 + ["", ""]
    assert left_out(settled) == {
        ("iemocap", "excitement"): (2, "not in every corpus"),
        ("iemocap", "sadness"): (1, "not in every corpus"),
        ("mine", "Joy"): (2, "not in every corpus"),
        ("mine", "odd"): (1, "not in every corpus"),
        ("mine", ""): (1, "no label"),
    }
    assert settled.renamed == {"mine": ["angry -> anger (3)"]}
    assert settled.unknown == ["odd"]
    assert len(settled.labels) == (settled.labels != "").sum() + settled.left_out["n"].sum()


def test_a_map_makes_two_emotions_one() -> None:
    settled = settle(label_map={"excitement": "happiness"})
    assert settled.labels.tolist()[:2] == ["happiness"] * 2
    assert settled.labels.tolist()[4:6] == ["happiness"] * 2
    # By the word of the table as by its shared name, and in any case.
    assert settle(label_map={"JOY": "excitement"}).labels.tolist()[4:6] == ["excitement"] * 2
    assert settle(label_map={"happiness": "excitement"}).labels.tolist()[4:6] == ["excitement"] * 2


def test_an_entry_for_a_corpus_goes_before_one_for_all() -> None:
    settled = settle(label_map={"anger": "fear", "mine:angry": "disgust"}, keep="all")
    assert settled.labels.tolist()[2] == "fear"
    assert settled.labels.tolist()[6:9] == ["disgust"] * 3


def test_a_label_can_be_mapped_out_or_to_a_name_of_the_users() -> None:
    settled = settle(label_map={"odd": "-", "sadness": "blue"}, keep="all")
    assert left_out(settled)["mine", "odd"] == (1, "left out by the map")
    assert settled.labels.tolist()[3] == "blue"
    assert settled.unknown == []


def test_a_list_of_labels() -> None:
    settled = settle(keep=["happy", "sad"])
    assert set(settled.labels) == {"", "happiness", "sadness"}
    assert left_out(settled)["mine", "angry"] == (3, "not among the labels that are kept")
    with pytest.raises(ManifestError, match=r"no corpus has: 1 fault\n  - 'sadnes': did you mean 'sadness'"):
        settle(keep=["sadnes"])


def test_no_shared_label() -> None:
    with pytest.raises(ManifestError, match=r"share no label\n  found: a: anger; b: woe\n  to do: .*--map old=new"):
        settle([("a", "anger", 1), ("b", "woe", 1)])
    with pytest.raises(ManifestError, match=r"share no label\n  found: no labels"):
        settle([("a", "", 1)])


def test_a_map_of_labels_that_are_not_there() -> None:
    with pytest.raises(
        ManifestError, match=r"--map names labels that no clip has: 2 faults(.|\n)*'angr': did you mean"
    ):
        settle(label_map={"angr": "anger", "iemocap:odd": "anger", "odd": "anger"})


def test_what_is_left_out_is_said_by_corpus() -> None:
    assert describe_left_out(settle().left_out) == [
        "iemocap: 3 clips, not in every corpus: excitement 2, sadness 1",
        "mine: 1 clips, no label: (none) 1",
        "mine: 3 clips, not in every corpus: Joy 2, odd 1",
    ]
