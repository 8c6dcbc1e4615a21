"""Labels of other corpora: what is mapped, what is left out and counted, and what is never guessed."""

from __future__ import annotations

from typing import Any

import pytest

from ser_probe.data.label_map import EMPTY, MAPPED_OUT, NO_CLASS, MappedLabels, map_labels
from ser_probe.errors import ConfigError

CLASSES = ("anger", "joy", "sadness")
LABELS = ["anger", "rage", "boredom", "rage", "", "joy"]
CORPORA = ["a", "a", "a", "b", "b", "b"]


def mapped(label_map: dict[str, Any]) -> MappedLabels:
    return map_labels(LABELS, CORPORA, CLASSES, label_map)


def left_out(found: MappedLabels) -> list[tuple[str, str, int, str]]:
    return list(found.left_out.itertuples(index=False, name=None))


def test_nothing_is_guessed() -> None:
    found = mapped({})
    assert found.classes.tolist() == ["anger", "", "", "", "", "joy"]
    assert left_out(found) == [
        ("a", "rage", 1, NO_CLASS), ("a", "boredom", 1, NO_CLASS), ("b", "rage", 1, NO_CLASS), ("b", "", 1, EMPTY),
    ]  # fmt: skip
    assert found.absent == {"a": ["joy", "sadness"], "b": ["anger", "sadness"]}


def test_a_map_for_all_corpora_and_for_one() -> None:
    found = mapped({"rage": "anger", "b": {"rage": "sadness"}})
    assert found.classes.tolist() == ["anger", "anger", "", "sadness", "", "joy"]
    assert found.unused == []


@pytest.mark.parametrize("nothing", [None, "-"])
def test_a_label_can_be_left_out_even_if_it_is_a_class(nothing: str | None) -> None:
    found = mapped({"joy": nothing, "rage": "anger", "boredom": nothing, "a": {"rage": nothing}})
    assert found.classes.tolist() == ["anger", "", "", "anger", "", ""]
    reasons = {(corpus, label): reason for corpus, label, _, reason in left_out(found)}
    assert reasons == {
        ("a", "rage"): MAPPED_OUT, ("a", "boredom"): MAPPED_OUT, ("b", ""): EMPTY, ("b", "joy"): MAPPED_OUT,
    }  # fmt: skip


def test_a_map_goes_before_the_class_of_the_same_name() -> None:
    assert mapped({"joy": "sadness"}).classes[-1] == "sadness"


def test_a_label_may_bear_the_name_of_a_corpus() -> None:
    found = map_labels(["a", "joy"], ["a", "a"], CLASSES, {"a": {"a": "anger"}})
    assert found.classes.tolist() == ["anger", "joy"]
    assert map_labels(["a"], ["b"], CLASSES, {"a": {"a": "anger"}}).classes.tolist() == [""]


def test_entries_that_no_clip_has_are_named() -> None:
    assert mapped({"rgae": "anger", "b": {"boredom": "joy"}}).unused == ["rgae", "boredom"]


def test_classes_that_do_not_exist_are_refused_together() -> None:
    with pytest.raises(ConfigError, match=r"classes that the model does not have: 2 faults") as raised:
        mapped({"rage": "angre", "b": {"boredom": "calm"}, "joy": "joy"})
    assert "rage -> angre: did you mean 'anger'" in str(raised.value)
    assert "b: boredom -> calm: known: anger, joy, sadness" in str(raised.value)


def test_a_word_is_the_same_in_any_spelling() -> None:
    found = map_labels(
        ["Anger", "JOY ", "Sorrow", "sad"], ["a"] * 4, ["anger", "joy", "sadness"], {"sorrow": "sadness"}
    )
    assert found.classes.tolist() == ["anger", "joy", "sadness", ""]
    assert found.unused == []
    assert found.left_out["label"].tolist() == ["sad"]
