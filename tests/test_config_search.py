"""The section search: what is read, what may be drawn, and that a drawn value makes a study or a clear fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ser_probe.config import StudyConfig, check_options, load_study, study_yaml
from ser_probe.config.search import DEFAULT_SPACE, SearchConfig
from ser_probe.config.space import SAME_IN_ALL, check_space, put_values, search_metric, search_section
from ser_probe.errors import ConfigError

LEAST: dict[str, Any] = {"name": "least", "data.manifest": "m.csv", "backbone.name": "tiny-wavlm-base"}
RATE = {"low": 1e-5, "high": 1e-3, "log": True}


def study_with(space: dict[str, Any] | None = None, *overrides: str, **search: Any) -> StudyConfig:
    options = {**LEAST, "search": {**({} if space is None else {"space": space}), **search}}
    return check_options(StudyConfig, options, list(overrides))


def faults_of(space: dict[str, Any], *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        check_space(study_with(space, *overrides))
    return [line.removeprefix("  - ") for line in str(caught.value).splitlines()[1:]]


def test_defaults() -> None:
    config = search_section(check_options(StudyConfig, LEAST))
    assert config == SearchConfig()
    assert (config.trials, config.fraction, config.pruning) == (20, 0.5, "median")
    assert config.metric is config.seed is None
    assert config.space == DEFAULT_SPACE
    rate = config.space["finetune.learning_rate"]
    assert (rate.low, rate.high, rate.log) == (5e-5, 1e-3, True)
    check_space(check_options(StudyConfig, LEAST))


def test_it_is_read_from_yaml_and_written_back(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(
        "name: s\ndata: {manifest: m.csv}\nbackbone: {name: tiny-wavlm-base}\n"
        "search:\n  trials: 7\n  space:\n    finetune.learning_rate: {low: 5e-5, high: 1e-3, log: true}\n"
        "    finetune.batch_size: {choices: [8, 16]}\n    finetune.head.dropout: {low: 0.0, high: 0.5}\n"
    )
    study = load_study(path)
    config = search_section(study)
    assert config.trials == 7
    assert list(config.space) == ["finetune.learning_rate", "finetune.batch_size", "finetune.head.dropout"]
    assert config.space["finetune.batch_size"].choices == (8, 16)
    again = tmp_path / "again.yaml"
    again.write_text(study_yaml(study))
    assert load_study(again) == study
    check_space(study)


def test_keys_may_be_nested_as_set_writes_them() -> None:
    config = search_section(
        check_options(StudyConfig, LEAST, ["search.space.finetune.head.dropout={low: 0.1, high: 0.4}"])
    )
    assert list(config.space) == ["finetune.head.dropout"]
    config = search_section(
        check_options(StudyConfig, LEAST, [f"search.space.finetune.epochs.{end}" for end in ("low=1", "high=4")])
    )
    assert (config.space["finetune.epochs"].low, config.space["finetune.epochs"].high) == (1, 4)


def test_whole_numbers_stay_whole() -> None:
    drawn = search_section(study_with({"finetune.batch_size": {"low": 4, "high": 16}})).space["finetune.batch_size"]
    assert (type(drawn.low), type(drawn.high)) == (int, int)
    drawn = search_section(study_with({"finetune.epochs": {"low": 4.0, "high": 16}})).space["finetune.epochs"]
    assert (type(drawn.low), type(drawn.high)) == (float, int)


@pytest.mark.parametrize(
    ("drawn", "fault"),
    [
        ({"low": 1}, "give low and high, or choices"),
        ({"log": True}, "give low and high, or choices"),
        ({"low": 1, "high": 2, "choices": [1, 2]}, "give choices, or low and high, not both"),
        ({"choices": [1, 2], "log": True}, "give choices, or low and high, not both"),
        ({"low": 2, "high": 2}, "low (2) must be below high (2)"),
        ({"low": 0.0, "high": 2.0, "log": True}, "low must be above 0 where log is true, found 0"),
        ({"choices": [1]}, "expected a list with at least 2, found [1]"),
        ({"low": "1", "high": 2}, "expected a whole number or a number, found '1'"),
        ({"low": 1, "high": 2, "step": 3}, "unknown key"),
    ],
)
def test_ranges_that_are_none(drawn: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        study_with({"finetune.learning_rate": drawn})
    assert fault in str(caught.value)
    assert "search.space.finetune.learning_rate" in str(caught.value)


def test_an_empty_space_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"search\.space .*: name at least one key, such as finetune\.learning_rate"):
        study_with({})


@pytest.mark.parametrize(
    ("space", "faults"),
    [
        (
            {"finetune.learning_rte": RATE},
            ["finetune.learning_rte (search.space): unknown key; did you mean 'learning_rate' or "],
        ),
        ({"learning_rate": RATE}, ["learning_rate (search.space): unknown key; did you mean "]),
        ({"fine_tune.learning_rate": RATE}, ["fine_tune: unknown key; did you mean 'finetune'?"]),
        ({"extract.storage": {"choices": ["float16", "float32"]}}, ["only keys of audio, backbone, finetune can be"]),
        ({"split.seed": {"low": 0, "high": 9}}, ["search.space, split.seed: only keys of audio, backbone, finetune"]),
        ({"finetune.seed": {"low": 0, "high": 9}}, ["search.space, finetune.seed: must be the same in all trials"]),
        (
            {"finetune.batch_size": {"low": 0, "high": 4}, "finetune.scheduler": {"choices": ["linear", "cosin"]}},
            [
                "finetune.batch_size (search.space): expected 1 or more, found 0",
                "finetune.scheduler (search.space): expected 'linear', 'cosine' or 'constant', found 'cosin'; did you "
                "mean 'cosine'?",
            ],
        ),
        ({"finetune.warmup_ratio": {"low": 0.0, "high": 1.0}}, ["expected a number below 1, found 1.0"]),
        ({"finetune.batch_size": {"low": 1.5, "high": 4.5}}, ["expected a whole number, found 1.5", "found 4.5"]),
        (
            {"finetune.batch_size.low": {"low": 1, "high": 4}},
            ["finetune.batch_size.low (search.space): batch_size is a value and has no keys below it"],
        ),
        ({"finetune.label_smoothing": {"low": 0.0, "high": 0.2}}, ["changes what the loss measures; choose another"]),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_said_before_any_training(space: dict[str, Any], faults: list[str]) -> None:
    found = faults_of(space)
    assert len(found) == len(faults)
    for line, fault in zip(found, faults, strict=True):
        assert fault in line


def test_values_that_clash_only_with_each_other_are_found() -> None:
    space = {
        "finetune.trained": {"choices": ["encoder", "all"]},
        "finetune.batch_size": {"choices": [4, 8]},
    }
    (fault,) = faults_of(space, "finetune.cache_front_end=true")
    assert "a front end that is trained changes at every step" in fault
    check_space(study_with(space))
    # Neither key alone is at fault, both together are.
    both = {
        "finetune.trained": {"choices": ["encoder", "lora"]},
        "finetune.lora.rank": {"choices": [4, 8]},
    }
    (fault,) = faults_of(both, "finetune.trained=lora")
    assert "set finetune.trained to 'lora'" in fault


def test_the_same_in_all_are_keys() -> None:
    study = check_options(StudyConfig, LEAST)
    for key in SAME_IN_ALL:
        section, name = key.split(".")
        assert name in type(getattr(study, section)).model_fields, key


def test_values_are_put_where_they_belong() -> None:
    study = study_with()
    before = {"finetune.learning_rate": study.finetune.learning_rate, "finetune.head.dropout": 0.0}
    changed = put_values(study, {"finetune.learning_rate": 3e-4, "finetune.head.dropout": 0.2, "finetune.lora": None})
    assert (changed.finetune.learning_rate, changed.finetune.head.dropout) == (3e-4, 0.2)
    assert put_values(changed, before) == study
    without = check_options(StudyConfig, LEAST, ["finetune.early_stopping=null"])
    stopping = put_values(without, {"finetune.early_stopping.patience": 3}).finetune.early_stopping
    assert stopping is not None
    assert stopping.patience == 3


def test_values_that_make_no_study_are_named() -> None:
    with pytest.raises(ConfigError, match=r"do not make a study \(finetune.batch_size = 0\)(.|\n)*1 or more, found 0"):
        put_values(study_with(), {"finetune.batch_size": 0})


NUMERIC = ("finetune.targets=numeric", "finetune.target_columns=[arousal]")


@pytest.mark.parametrize(
    ("overrides", "metric"),
    [
        ((), ("loss", False)),
        (("finetune.early_stopping.metric=macro_f1",), ("macro_f1", True)),
        (("finetune.early_stopping=null",), ("uar", True)),
        (("finetune.early_stopping=null", *NUMERIC), ("ccc", True)),
        (("search.metric=rmse", *NUMERIC), ("rmse", False)),
    ],
)
def test_the_metric_that_decides(overrides: tuple[str, ...], metric: tuple[str, bool]) -> None:
    assert search_metric(check_options(StudyConfig, LEAST, list(overrides))) == metric


def test_a_metric_must_be_of_the_targets() -> None:
    with pytest.raises(ConfigError, match=r"classes targets have no metric 'war'(.|\n)*did you mean 'uar'"):
        search_metric(study_with(metric="war"))
    with pytest.raises(ConfigError, match="numeric targets have no metric 'uar'"):
        check_space(check_options(StudyConfig, LEAST, ["search.metric=uar", *NUMERIC]))
