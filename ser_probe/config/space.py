"""A study with other values: which keys a search may draw, and the study that drawn values make, checked as a whole."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from ser_probe.config.faults import describe_errors
from ser_probe.config.search import DrawnConfig, SearchConfig
from ser_probe.config.study import StudyConfig
from ser_probe.errors import ConfigError, collect, did_you_mean
from ser_probe.training.settings import METRICS, METRICS_OF

SEARCHABLE = ("audio", "backbone", "finetune")
"""The sections that reach the training; others change nothing in it, or who is trained and validated on."""

SAME_IN_ALL = (
    *("audio.min_duration_s", "audio.max_duration_s", "finetune.enabled", "finetune.seed", "finetune.targets"),
    *("finetune.target_columns", "finetune.device", "finetune.cache_front_end", "finetune.cache_audio"),
    "finetune.keep_optimizer",
)
"""Keys of these sections that would make trials incomparable, or make no difference."""

SCALES_OF_LOSS = ("finetune.loss", "finetune.class_weights", "finetune.label_smoothing")
"""Keys that change what the loss measures."""

_MOST_COMBINATIONS = 256
_ORIGIN = "search.space"


def search_section(study: StudyConfig) -> SearchConfig:
    """Return the section `search` of a study, its defaults where there is none."""
    return study.search or SearchConfig()


def search_metric(study: StudyConfig) -> tuple[str, bool]:
    """Return the metric that decides, and whether more of it is better.

    Raises:
        ConfigError: If the targets have no such metric.
    """
    kind, stopping = study.finetune.targets, study.finetune.early_stopping
    usual = stopping.metric if stopping else {"numeric": "ccc"}.get(kind, "uar")
    metric = search_section(study).metric or usual
    if metric not in METRICS_OF[kind]:
        raise ConfigError(
            f"search.metric: {kind} targets have no metric {metric!r}", fix=did_you_mean(metric, METRICS_OF[kind])
        )
    return metric, METRICS[metric]


def check_space(study: StudyConfig) -> None:
    """See that every key may be drawn and that what is drawn makes a study: the ends of all ranges, and all choices.

    Raises:
        ConfigError: With all faults: unknown keys with near names, keys that no trial may change, values that are not
            of the key, alone or with each other.
    """
    space = search_section(study).space
    metric, _ = search_metric(study)
    faults = {key: list(_key_faults(study, key, space[key], metric)) for key in space}
    listed = [fault for key_faults in faults.values() for fault in key_faults]
    if not listed:
        listed = list(_clashes(study, space))
    if listed:
        raise collect(ConfigError, "The search cannot be run", listed)


def put_values(study: StudyConfig, values: Mapping[str, Any]) -> StudyConfig:
    """Return a study with other values.

    Args:
        study: The study.
        values: Value by dotted key.

    Raises:
        ConfigError: If a key is unknown, or the values do not make a study.
    """
    changed, faults = _changed(study, values)
    if changed is None:
        shown = ", ".join(f"{key} = {value!r}" for key, value in values.items())
        raise collect(ConfigError, f"The values drawn do not make a study ({shown})", faults)
    return changed


def _key_faults(study: StudyConfig, key: str, drawn: DrawnConfig, metric: str) -> Iterator[str]:
    section = key.split(".")[0]
    if key in SAME_IN_ALL:
        yield f"{_ORIGIN}, {key}: must be the same in all trials"
    elif section in StudyConfig.model_fields and section not in SEARCHABLE:
        yield f"{_ORIGIN}, {key}: only keys of {', '.join(SEARCHABLE)} can be searched"
    elif key in SCALES_OF_LOSS and metric == "loss":
        yield f"{_ORIGIN}, {key}: changes what the loss measures; choose another search.metric"
    else:
        faults = (fault for value in _ends(drawn) for fault in _changed(study, {key: value})[1])
        yield from dict.fromkeys(faults)


def _clashes(study: StudyConfig, space: Mapping[str, DrawnConfig]) -> Iterator[str]:
    """Yield the faults of values together, each once."""
    combinations = itertools.product(*(_ends(drawn) for drawn in space.values()))
    faults: dict[str, None] = {}
    for values in itertools.islice(combinations, _MOST_COMBINATIONS):
        faults |= dict.fromkeys(_changed(study, dict(zip(space, values, strict=True)))[1])
    yield from faults


def _ends(drawn: DrawnConfig) -> tuple[Any, ...]:
    return (drawn.low, drawn.high) if drawn.choices is None else drawn.choices


def _changed(study: StudyConfig, values: Mapping[str, Any]) -> tuple[StudyConfig | None, list[str]]:
    """Return a study with other values, None where there is none; and why not."""
    document = study.model_dump(mode="json")
    for key, value in values.items():
        *above, last = key.split(".")
        section = document
        for part in above:
            if section.get(part) is None:
                section[part] = {}
            section = section[part]
            if not isinstance(section, dict):
                return None, [f"{key} ({_ORIGIN}): {part} is a value and has no keys below it"]
        section[last] = value
    try:
        return StudyConfig.model_validate(document), []
    except ValidationError as error:
        origins: dict[tuple[str | int, ...], str] = {tuple(key.split(".")): _ORIGIN for key in values}
        return None, describe_errors(error, StudyConfig, document, origins)
