"""What a command takes of a study: other keys are refused by name, and what is set twice is not guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ser_probe.config import NULL, SimilarityConfig, StudyConfig, UmapConfig, check_options, load_study
from ser_probe.config.commands import COMMANDS, unused_key
from ser_probe.errors import ConfigError

from .keys import walk_keys

OPTIONS: dict[str, Any] = {"data.manifest": "m.csv", "backbone.name": "tiny-wavlm-base"}
DEFAULTS = {"name": "out", "split.scheme": "manifest", "analyze.umap": NULL}


def finetune(*overrides: str, **options: Any) -> StudyConfig:
    given = OPTIONS | {key.replace("__", "."): value for key, value in options.items()}
    return check_options(StudyConfig, given, overrides, command="finetune", defaults=DEFAULTS)


def test_every_name_of_a_command_is_a_key() -> None:
    keys = [*walk_keys(), "audio.sample_rate_hz", "extract.layers"]
    for command, found in COMMANDS.items():
        for name in (*found.uses, *found.but, *found.given):
            assert any(key == name or key.startswith(f"{name}.") for key in keys), f"{command}: {name}"


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        (
            "extract.pooling=max",
            r"--set extract\.pooling: `finetune` does not use this key; `extract`, `search` and `run` do",
        ),
        ("analyze=null", r"--set analyze: `finetune` does not use this key; `search` and `run` do"),
        (
            "data={labels: [a, b], root: x}",
            r"--set data\.root: `finetune` does not use this key; `search` and `run` do",
        ),
        ("search.trials=3", r"--set search\.trials: `finetune` does not use this key; `search` does"),
        ("data.options.labels=vote", r"--set data\.options\.labels: `finetune` does not use this key; "),
        ("data.manifest=n.csv", r"--set data\.manifest: give it to `finetune` as the argument MANIFEST"),
        ("backbone.name=tiny-hubert-base", r"--set backbone\.name: give it to `finetune` as --model"),
        ("extract.poling=max", r"extract\.poling \(--set\): unknown key; did you mean 'pooling'"),
        ("extraction=1", r"extraction \(--set\): unknown key"),
    ],
)
def test_what_a_command_does_not_use_is_refused_by_name(override: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=f"- {fault}"):
        finetune(override)


@pytest.mark.parametrize(
    ("override", "options", "option"),
    [
        ("finetune.epochs=3", {"finetune__epochs": 2.0}, "finetune.epochs"),
        ("finetune={batch_size: 2}", {"finetune__epochs": 2.0}, "finetune.epochs"),
        ("finetune.early_stopping.patience=2", {"finetune__early_stopping": NULL}, "finetune.early_stopping"),
        ("data.labels=[a, b]", {"data__labels": ["a", "c"]}, "data.labels"),
    ],
)
def test_a_key_is_not_set_by_an_option_and_by_set(override: str, options: dict[str, Any], option: str) -> None:
    expected = f"{option} is also set by an option of the command; leave one out"
    with pytest.raises(ConfigError, match=expected):
        finetune(override, **options)


def test_an_option_may_turn_on_what_set_fills() -> None:
    study = finetune("finetune.early_stopping.patience=2", finetune__early_stopping={})
    assert study.finetune.early_stopping is not None
    assert study.finetune.early_stopping.patience == 2


def test_a_commands_defaults_give_way_key_by_key() -> None:
    assert finetune("split={seed: 3}").split.scheme == "manifest"
    assert finetune("split.scheme=loso").split.scheme == "loso"
    assert finetune(split__scheme="loso").split.scheme == "loso"
    assert finetune().analyze.umap is None
    with pytest.raises(ConfigError, match="split"):
        finetune("split=3")


def test_null_is_a_value() -> None:
    assert finetune(extract__max_clips=NULL).extract.max_clips is None
    assert finetune(finetune__early_stopping=NULL).finetune.early_stopping is None
    assert finetune(finetune__early_stopping=None).finetune.early_stopping is not None


def test_a_study_may_hold_what_a_command_does_not_use_but_not_be_given_it(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("name: x\ndata: {manifest: m.csv}\nbackbone: {name: tiny-wavlm-base}\nsearch: {trials: 7}\n")
    assert load_study(path, command="run").search is not None
    with pytest.raises(ConfigError, match=r"search\.trials: `run` does not use this key; `search` does"):
        load_study(path, ["search.trials=3"], command="run")


@pytest.mark.parametrize(("key", "value"), [("data.keep.language", ["it"]), ("data", {}), ("nothing", 1)])
def test_used_or_unknown(key: str, value: Any) -> None:
    assert unused_key("finetune", key, value) is None


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("split.folds=4", r"split\.folds \(--set\): would be ignored by split\.scheme 'manifest': .* to 'kfold'"),
        ("split.fold=1", r"split\.fold \(--set\): would be ignored by split\.scheme 'manifest': .* 'kfold' or 'loso'"),
        ("finetune.head.mix=pooled", r"finetune\.head\.mix \(--set\): would be ignored: there is nothing to mix"),
        (
            "finetune.augment={mode: union, probability: 0.9, transforms: [{name: FrequencyMask}]}",
            r"finetune\.augment\.probability \(--set\): would be ignored by finetune\.augment\.mode 'union'",
        ),
        ("backbone.revision=main", "'tiny-wavlm-base' is built here and has no revision"),
    ],
)
def test_a_value_that_another_one_switches_off_is_refused(override: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        finetune(override)


def test_a_folder_has_no_revision(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder and has no revision"):
        finetune(backbone__name=str(tmp_path), backbone__revision="main")


def test_the_overlap_of_chunks_needs_chunks() -> None:
    with pytest.raises(
        ConfigError, match=r"extract\.chunk_overlap_s .*would be ignored by extract\.long_clips 'whole'"
    ):
        check_options(StudyConfig, {**OPTIONS, **DEFAULTS, "analyze.umap": None, "extract.long_clips": "whole",
                                    "extract.chunk_overlap_s": 1.0})  # fmt: skip


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (
            {"rdm": "euclidean"},
            "analyze.similarity.rdm would be ignored: none of analyze.similarity.measures is rsa or rsa_pearson",
        ),
        (
            {"neighbours": 5, "measures": ["rsa"]},
            "analyze.similarity.neighbours would be ignored: none of analyze.similarity.measures is mutual_knn",
        ),
        (
            {"permutations": 0, "permute": "speakers"},
            "permute and analyze.similarity.permuted would be ignored: analyze.similarity.permutations is 0",
        ),
    ],
)
def test_options_of_measures_need_one_of_them(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        check_options(SimilarityConfig, options)


def test_options_of_measures_that_are_there() -> None:
    chosen = check_options(SimilarityConfig, {"rdm": "euclidean", "measures": ["rsa", "cka"], "batch": 99})
    assert (chosen.rdm, chosen.batch) == ("euclidean", 99)


@pytest.mark.parametrize(
    ("options", "fault"),
    [({"embed_mb": 9}, "embed_audio is false"), ({"embed_audio": True, "page": False}, "page is false")],
)
def test_audio_in_a_page_needs_both(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=f"would be ignored: analyze.umap.{fault}"):
        check_options(UmapConfig, options)
