from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ser_probe.embeddings.key import CacheKey, check_key, explain_difference
from ser_probe.errors import CacheError

CHANGES: dict[str, Any] = {
    "kind": "features",
    "weights": "00" * 32,
    "architecture": {"model_type": "wavlm", "hidden_size": 9},
    "model_input": {"normalise": False},
    "audio": {"sample_rate_hz": 16000, "loudness_lufs": -23.0},
    "pooling": "max",
    "precision": "bf16",
    "layer_contract": 2,
    "storage": "float16",
    "extra": {"chunk_s": 30},
}


def test_every_ingredient_has_a_change_to_test() -> None:
    assert set(CHANGES) == {field.name for field in dataclasses.fields(CacheKey)}


@pytest.mark.parametrize("name", CHANGES)
def test_each_ingredient_changes_the_key_and_is_explained(key: CacheKey, name: str) -> None:
    other = dataclasses.replace(key, **{name: CHANGES[name]})
    assert other != key
    assert other.digest != key.digest
    assert len(explain_difference(key, other)) == 1


def test_difference_is_said_in_words(key: CacheKey) -> None:
    other = dataclasses.replace(key, audio=CHANGES["audio"], pooling="max")
    assert explain_difference(key, other) == [
        "the audio preprocessing (loudness_lufs): none against -23.0",
        "the pooling: mean against max",
    ]


def test_long_values_are_cut_short(key: CacheKey) -> None:
    other = dataclasses.replace(key, weights="00" * 32)
    assert explain_difference(key, other) == [f"the model's weights: {'5e' * 12}... against {'00' * 12}..."]


def test_equal_content_has_an_equal_key_whatever_the_order_and_container(key: CacheKey) -> None:
    shuffled = dict(reversed(list(key.audio.items())))
    ours = dataclasses.replace(key, audio=shuffled, architecture={**key.architecture, "kernels": (10, 3)})
    theirs = dataclasses.replace(key, architecture={"kernels": [10, 3], **key.architecture})
    assert ours == theirs
    assert hash(ours) == hash(theirs)
    assert explain_difference(ours, theirs) == []


def test_key_survives_the_trip_through_its_ingredients(key: CacheKey) -> None:
    assert CacheKey(**key.ingredients) == key


def test_key_is_the_same_in_another_process(key: CacheKey) -> None:
    code = f"from ser_probe.embeddings.key import CacheKey; print(CacheKey(**{key.ingredients!r}).digest)"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    printed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == key.digest


def test_a_value_that_json_does_not_know_is_refused(key: CacheKey) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        _ = dataclasses.replace(key, audio={"root": Path("clips")}).digest


def test_unknown_storage_is_refused(key: CacheKey) -> None:
    with pytest.raises(CacheError, match=r"(?s)storage of a cache is not known.*float32 or float16.*float61"):
        dataclasses.replace(key, storage="float61")


def test_refusal_holds_both_keys_and_the_reason(key: CacheKey) -> None:
    other = dataclasses.replace(key, pooling="max")
    check_key(key, key, where="x.h5")
    with pytest.raises(CacheError, match=r"(?s)made from something else.*pooling: mean against max") as caught:
        check_key(key, other, where="x.h5")
    assert key.digest in str(caught.value)
    assert other.digest in str(caught.value)
