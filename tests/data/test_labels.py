from __future__ import annotations

import pytest

from ser_probe.data.corpora.emovo import CODES
from ser_probe.data.labels import name_emotions
from ser_probe.errors import ManifestError


def test_codes_become_shared_names() -> None:
    assert name_emotions(["gio", "rab", "gio"], CODES) == ["happiness", "anger", "happiness"]


def test_unknown_codes_are_named_once_with_those_near() -> None:
    with pytest.raises(ManifestError, match=r"2 faults\n.*'giox' \(2 clips\): did you mean 'gio'\?") as caught:
        name_emotions(["giox", "dis", "giox", "zzz"], CODES, where="here")
    assert "'zzz' (1 clips): known: dis, gio" in str(caught.value)
    assert "here" in str(caught.value)
