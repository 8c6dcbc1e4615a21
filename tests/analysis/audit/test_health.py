"""Faults of files by their properties, counts, the table of models, and the table of findings."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from ser_probe.analysis.audit.findings import Finding, clips_table, failing, findings_table, listed
from ser_probe.analysis.audit.health import count_clips, judge_health
from ser_probe.analysis.audit.known_training import MODELS, judge_models, models_trained_on, plain_name

SOUND = {
    "duration_s": 2.0, "clipped_share": 0.0, "dc_offset": 0.001, "file_rate_hz": 16_000, "file_format": "WAV PCM_16",
    "channels": 1, "channel_difference_db": math.nan, "silent_channel": 0, "notes": "", "fault": "", "unreadable": "",
}  # fmt: skip


def properties(*changes: dict[str, Any]) -> pd.DataFrame:
    rows = [{**SOUND, "path": "a.wav"}, {**SOUND, "path": "b.wav"}]
    return pd.DataFrame([*rows, *({**SOUND, "path": f"{place}.wav", **each} for place, each in enumerate(changes))])


def found(*changes: dict[str, Any]) -> dict[str, str]:
    return {each.check: each.severity for each in judge_health(properties(*changes), min_duration_s=0.1)}


def test_a_sound_corpus_has_no_finding() -> None:
    assert found() == {}


def test_each_fault_is_named() -> None:
    unreadable = {name: math.nan for name in SOUND if name not in ("notes", "fault", "unreadable")}
    assert found({**unreadable, "unreadable": "cut short"}) == {"unreadable": "error"}
    assert found({"fault": "The clip is silent"}) == {"unusable": "error"}
    assert found({"duration_s": 0.05}) == {"too_short": "warning"}
    assert found({"clipped_share": 0.002}) == {"clipped": "warning"}
    assert found({"clipped_share": 0.0001}) == {"clipped": "note"}
    assert found({"dc_offset": -0.03}) == {"dc_offset": "note"}
    assert found({"notes": "AIFF named .wav"}) == {"misnamed": "warning"}
    assert found({"notes": "the RIFF size is 8 bytes too large"}) == {"header": "warning"}
    assert found({"file_rate_hz": 44_100}) == {"mixed_rate_hz": "note"}
    assert found({"channels": 2, "channel_difference_db": -3.0}) == {
        "mixed_channels": "note",
        "channels_differ": "note",
    }
    assert found({"channels": 2, "silent_channel": 1})["silent_channel"] == "warning"


def test_the_reason_stands_in_the_words() -> None:
    silent = {"fault": "The clip is silent"}
    (finding,) = judge_health(properties(silent, silent), min_duration_s=0.1)
    assert "2 clips hold nothing for a model to hear: The clip is silent (0.wav, 1.wav)" in finding.words


def test_counts_are_of_what_there_is() -> None:
    clips = pd.DataFrame({"path": ["a", "b", "c"], "label": ["joy", "joy", "fear"], "gender": ["male", "male", None]})
    counts = count_clips(clips)
    assert counts.to_dict("records") == [
        {"label": "fear", "gender": "", "n_clips": 1}, {"label": "joy", "gender": "male", "n_clips": 2},
    ]  # fmt: skip
    assert count_clips(clips[["path"]])["n_clips"].tolist() == [3]


def test_models_are_found_by_any_spelling_and_have_a_source() -> None:
    table = models_trained_on(pd.Series(["IEMOCAP", "iemocap", "nobody's", None]))
    assert set(table["corpus"]) == {"IEMOCAP", "iemocap"}
    assert plain_name("EMO-DB") == plain_name("emo_db") == "emodb"
    assert all(model.source and model.corpora == tuple(map(plain_name, model.corpora)) for model in MODELS)
    assert [each.severity for each in judge_models(table)] == ["note", "note"]


def test_the_gravest_finding_is_first_and_notes_fail_nothing() -> None:
    note, error = (
        Finding("health", "a", "note", "x", ("1.wav",)),
        Finding("leak", "b", "error", "y", ("1.wav", "2.wav")),
    )
    table = findings_table([note, error])
    assert table["check"].tolist() == ["b", "a"]
    assert table["n_clips"].tolist() == [2, 1]
    assert len(clips_table([note, error])) == 3
    assert failing([note, error], ["leak", "health"]) == [error]
    assert failing([note, error], ["health"]) == []
    assert findings_table([]).empty
    assert listed("abcdef", 2) == "a, b, and 4 more"
