from __future__ import annotations

import pytest

from ser_probe.data import labels
from ser_probe.data.labels import EMOTIONS, name_emotions
from ser_probe.errors import ManifestError

TABLES = [labels.EMOVO_CODES, labels.EMODB_CODES, labels.CREMA_D_CODES, labels.CREMA_D_VOTES]


@pytest.mark.parametrize("table", TABLES)
def test_every_table_maps_to_the_shared_names(table: dict[str, str]) -> None:
    assert set(table.values()) <= set(EMOTIONS)


def test_codes_become_shared_names() -> None:
    assert name_emotions(["gio", "rab", "gio"], labels.EMOVO_CODES) == ["happiness", "anger", "happiness"]


def test_votes_are_the_initials_of_the_codes() -> None:
    assert labels.CREMA_D_VOTES == {
        "A": "anger", "D": "disgust", "F": "fear", "H": "happiness", "N": "neutral", "S": "sadness",
    }  # fmt: skip


def test_unknown_codes_are_named_once_with_those_near() -> None:
    with pytest.raises(ManifestError, match=r"2 faults\n.*'giox' \(2 clips\): did you mean 'gio'\?") as caught:
        name_emotions(["giox", "dis", "giox", "zzz"], labels.EMOVO_CODES, where="here")
    assert "'zzz' (1 clips): known: dis, gio" in str(caught.value)
    assert "here" in str(caught.value)
