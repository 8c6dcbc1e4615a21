"""The tables of names: what they name exists, in their words, and every page of the docs that lists them knows all."""

from __future__ import annotations

from pathlib import Path

import pytest

from ser_probe.analysis.drift.measures import MEASURES as DRIFT_MEASURES
from ser_probe.analysis.probes.family_table import FAMILIES as PROBE_FAMILIES
from ser_probe.analysis.similarity.measures import MEASURES as SIMILARITY_MEASURES
from ser_probe.errors import ConfigError
from ser_probe.models.frame_pooling import HEAD_POOLINGS
from ser_probe.models.pooling import parse_pooling
from ser_probe.models.precision import PRECISIONS as MODEL_PRECISIONS
from ser_probe.models.targets import KINDS
from ser_probe.names.measures import DRIFT, MEASURES, SIMILARITY
from ser_probe.names.named import Named
from ser_probe.names.poolings import HEAD, POOLINGS, STORED
from ser_probe.names.probes import CONTROLS, FAMILIES
from ser_probe.names.training import LOSSES, PRECISIONS, SCHEDULERS, TARGETS
from ser_probe.training.settings import SCHEDULERS as TRAINED_SCHEDULERS

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize(
    ("named", "computed"),
    [
        (SIMILARITY, SIMILARITY_MEASURES),
        (DRIFT, DRIFT_MEASURES),
        (FAMILIES, PROBE_FAMILIES),
        (HEAD, HEAD_POOLINGS),
        (PRECISIONS, MODEL_PRECISIONS),
        (TARGETS, KINDS),
        (SCHEDULERS, TRAINED_SCHEDULERS),
    ],
)
def test_what_is_named_is_what_there_is(named: dict[str, Named], computed: object) -> None:
    assert set(named) == set(computed)  # type: ignore[call-overload]


@pytest.mark.parametrize("name", POOLINGS)
def test_poolings_that_are_stored(name: str) -> None:
    spelled = name.replace("K", "3")
    if name in STORED:
        assert parse_pooling(spelled).name == spelled
    else:
        with pytest.raises(ConfigError, match="no such pooling"):
            parse_pooling(spelled)


def test_titles_tell_measures_apart() -> None:
    assert len({named.title for named in MEASURES.values()}) == len(MEASURES)
    assert all(named.source for named in SIMILARITY.values())
    assert {name for name, named in SIMILARITY.items() if named.distance} == {"procrustes", "angular_shape"}


def test_each_kind_of_target_has_a_loss() -> None:
    assert {kind for loss in LOSSES.values() for kind in loss.targets} == {*TARGETS}


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("analysis/similarity.md", SIMILARITY),
        ("analysis/drift.md", DRIFT),
        ("analysis/probe.md", {**FAMILIES, **CONTROLS}),
        ("finetuning.md", {**HEAD, **LOSSES, **TARGETS}),
        ("extraction.md", {**dict.fromkeys(STORED), **PRECISIONS}),
    ],
)
def test_docs_name_them_all(page: str, names: dict[str, object]) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    assert [name for name in names if name not in text] == []
