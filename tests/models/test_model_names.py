"""What models are called where they stand side by side."""

from __future__ import annotations

from pathlib import Path

import pytest

from ser_probe.models.model_names import is_folder_name, shown_model, shown_models


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["/data/models/wavlm"], ["wavlm"]),
        (["/a/wavlm", "/b/wavlm", "/b/hubert"], ["a/wavlm", "b/wavlm", "hubert"]),
        (["/a/x/m", "/b/x/m", "/b/y/m"], ["a/x/m", "b/x/m", "y/m"]),
        (["/a/wavlm", "/a/wavlm"], ["wavlm", "wavlm"]),
        (["./a/m", "a/b/m"], ["a/m", "b/m"]),
        (["microsoft/wavlm-large", "tiny-hubert-base"], ["microsoft/wavlm-large", "tiny-hubert-base"]),
        (["eGeMAPSv02"], ["eGeMAPSv02"]),
        (["/a/b/m (random weights, seed 3)", "/a/b/m"], ["m (random weights, seed 3)", "m"]),
        (["/a/b/m (random weights)"], ["m (random weights)"]),
        (["/runs/x/checkpoints/checkpoint-50"], ["x/checkpoint-50"]),
        (["/c/models--facebook--wav2vec2-base/snapshots/0b5b8e868d"], ["facebook/wav2vec2-base"]),
        ([""], [""]),
    ],
)  # fmt: skip
def test_a_folder_is_called_by_its_name_and_by_more_of_its_path_where_two_are_equal(
    names: list[str], shown: list[str]
) -> None:
    assert shown_models(names) == shown


def test_a_folder_of_two_parts_is_told_from_a_hub_model_by_being_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not is_folder_name("runs/mine")
    assert shown_model("runs/mine") == "runs/mine"
    Path("runs/mine").mkdir(parents=True)
    assert is_folder_name("runs/mine")
    assert shown_model("runs/mine") == "mine"
    assert is_folder_name("runs/mine (random weights, seed 1)")
    assert is_folder_name(str(tmp_path / "gone"))
