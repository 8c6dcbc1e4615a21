"""What a model's name means on disk: each path that is no model is answered by what is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from ser_probe.errors import BackboneError, CheckpointError
from ser_probe.models.catalogue import KNOWN_CHECKPOINTS, TINY_CONFIGS
from ser_probe.models.model_folder import check_name, find_model_folder, is_path, near_names, refuse_non_folder


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a model, weights without a config, and a run of two checkpoints."""
    monkeypatch.chdir(tmp_path)
    for folder in ("model", "bare", "runs/x/checkpoints/checkpoint-0", "runs/x/checkpoints/checkpoint-50"):
        Path(folder).mkdir(parents=True)
    for file in ("model/config.json", "model/model.safetensors", "bare/pytorch_model.bin", "wav2vec_small.pt", "a.txt"):
        Path(file).touch()
    return tmp_path


def test_known_names_hub_ids_and_folders_are_no_fault(work: Path) -> None:
    for name in (*TINY_CONFIGS, *KNOWN_CHECKPOINTS, "some/model"):
        check_name(name)
        assert not is_path(name)
    assert find_model_folder("model") == Path("model")
    assert find_model_folder(work / "model") == work / "model"
    assert find_model_folder("some/model") is None


@pytest.mark.parametrize(
    ("config", "found"),
    [
        (
            '{"peft_type": "LORA", "base_model_name_or_path": "me/base"}',
            "a LORA adapter of me/base: adapter_config.json",
        ),
        ("{}", "a PEFT adapter of BASE: adapter_config.json, adapter_model.safetensors"),
        ("[" * 100_000, "adapter_config.json cannot be read"),
        ("[]", "adapter_config.json cannot be read"),
        (None, "a PEFT adapter of BASE: adapter_model.safetensors"),
    ],
)
def test_an_adapter_is_never_passed_over(work: Path, config: str | None, found: str) -> None:
    for folder, said, advice in (
        ("model", "An adapter lies beside the model's own weights", "without it, move the adapter's files elsewhere"),
        ("bare", "The folder holds an adapter, and no model", "merge_and_unload"),
    ):
        (work / folder / "adapter_model.safetensors").touch()
        if config is not None:
            (work / folder / "adapter_config.json").write_text(config)
        for use in (check_name, find_model_folder):
            with pytest.raises(BackboneError, match=said) as caught:
                use(folder)
        assert found in str(caught.value.found)
        assert advice in str(caught.value.fix)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("model/model.safetensors", "give the folder that it lies in: model$"),
        ("bare/pytorch_model.bin", "put it beside its config.json and give that folder$"),
        ("wav2vec_small.pt", "fairseq .*convert_[*]_original_pytorch_checkpoint_to_pytorch.py"),
        ("a.txt", "give the folder of a model, or of a run"),
    ],
)
def test_a_file_is_called_a_file(work: Path, name: str, advice: str) -> None:
    for given in (name, Path(name), str(work / name)):
        with pytest.raises(BackboneError, match="is a file, and a folder is wanted") as caught:
            check_name(given)
    with pytest.raises(BackboneError, match=f"to do: .*{advice}".replace("$", "")):
        check_name(name)
    assert "config.json and model.safetensors" in str(caught.value.expected)


@pytest.mark.parametrize(
    ("name", "found", "fix"),
    [
        ("runs/x/checkpoints/checkpoint-5", "runs/x/checkpoints holds checkpoint-0, checkpoint-50", "name one of its"),
        ("runs/x/last", "runs/x/checkpoints holds checkpoint-0, checkpoint-50", "name one of its checkpoints"),
        ("runs/y/checkpoints/checkpoint-5", "runs holds x", None),
        ("checkpoint-5", ". holds bare, model, runs", None),
        ("./modle", ". holds bare, model, runs", "did you mean 'model'?"),
        ("modle/", ". holds bare, model, runs", "did you mean 'model'?"),
        ("too/many/parts", ". holds bare, model, runs", None),
        ("runs\\x", ". holds bare, model, runs", None),
        ("bare/nothing/here", "bare holds no folder", None),
    ],
)
def test_a_path_that_leads_nowhere_says_what_is_there(work: Path, name: str, found: str, fix: str | None) -> None:
    with pytest.raises(BackboneError, match="There is no such folder") as caught:
        check_name(name)
    assert caught.value.found == found
    assert (caught.value.fix or "").startswith(fix or "")
    assert "facebook" not in str(caught.value)
    with pytest.raises(CheckpointError, match="There is no such folder"):
        refuse_non_folder(Path(name), CheckpointError)


def test_a_weights_file_that_is_not_there(work: Path) -> None:
    with pytest.raises(BackboneError, match="There is no such file, nor a folder"):
        check_name("wavlm_large.pt")


def test_a_folder_without_a_config_says_what_it_holds(work: Path) -> None:
    with pytest.raises(BackboneError, match=r"no config\.json of its own") as caught:
        check_name("runs/x")
    assert caught.value.found == "runs/x/checkpoints holds checkpoint-0, checkpoint-50"
    with pytest.raises(BackboneError, match=r"has no config\.json") as caught:
        check_name("bare")
    assert caught.value.found == "pytorch_model.bin"
    assert caught.value.fix == "put the config.json of the model beside its weights"


def test_an_unknown_name_has_near_ones_or_the_command_that_lists_all(work: Path) -> None:
    with pytest.raises(BackboneError, match=r"There is no backbone named 'modle', and no such folder[\s\S]*'model'"):
        check_name("modle")
    assert near_names("wavlm-larg").startswith("did you mean 'tiny-wavlm-large'")
    assert near_names("zzz") == "`ser-probe models` lists the models that are known by name"


def test_of_many_checkpoints_the_first_are_shown_by_their_steps(work: Path) -> None:
    for step in range(100, 2000, 100):
        Path(f"runs/x/checkpoints/checkpoint-{step}").mkdir()
    with pytest.raises(BackboneError) as caught:
        check_name("runs/x/checkpoints/checkpoint-5")
    assert "checkpoint-0, checkpoint-50, checkpoint-100, checkpoint-200" in str(caught.value.found)
    assert str(caught.value.found).endswith("(21 in all)")
