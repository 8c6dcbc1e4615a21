"""The sample corpus: complete, the same every time, and spoken as its table says."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
import wave
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ser_probe.data import espeak, sample
from ser_probe.data.espeak import Utterance, speak
from ser_probe.data.labels import EMOTIONS
from ser_probe.data.sample import DELIVERIES, RECORD, SENTENCES, SPEAKERS, plan_utterance, write_sample_corpus
from ser_probe.errors import CorpusError, MissingExtraError
from ser_probe.files import content_id
from ser_probe.runtime import Silent

pytest.importorskip("espeakng_loader")

SMALL: dict[str, Any] = {"n_speakers": 4, "n_sentences": 2}
HELLO = Utterance(
    voice="en-us+f1", ssml="<speak>Hello there</speak>", rate_wpm=170, pitch=50, pitch_range=50, volume=40
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    write_sample_corpus(folder, **SMALL)
    return folder


def ids(folder: Path, table: pd.DataFrame) -> dict[str, str]:
    return {path: content_id(folder / path) for path in table["path"]}


def read_wav(path: Path) -> tuple[np.ndarray, int]:
    with wave.open(str(path)) as stream:
        assert (stream.getnchannels(), stream.getsampwidth()) == (1, 2)
        samples = np.frombuffer(stream.readframes(stream.getnframes()), dtype="<i2") / 2**15
        return samples, stream.getframerate()


def test_the_whole_corpus_is_balanced(tmp_path: Path) -> None:
    table = write_sample_corpus(tmp_path, n_sentences=6)
    assert len(table) == len(SPEAKERS) * len(DELIVERIES) * len(SENTENCES) == 576
    assert set(table["label"]) <= set(EMOTIONS)
    assert table.groupby(["speaker", "label"]).size().eq(6).all()
    assert table.drop_duplicates("speaker")["gender"].value_counts().to_dict() == {"female": 8, "male": 8}
    assert sorted(table["path"]) == sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.wav"))
    assert len(set(ids(tmp_path, table).values())) == len(table)
    for path in table["path"]:
        samples, rate_hz = read_wav(tmp_path / path)
        assert rate_hz == 22_050
        assert 1 < len(samples) / rate_hz < 6.5, path
        assert 0.02 < np.abs(samples).max() < 0.99, f"{path} is silent or clipped"


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(root: Path, tmp_path: Path) -> None:
    first = ids(root, write_sample_corpus(root, **SMALL))
    again, other = tmp_path / "again", tmp_path / "other"
    assert ids(again, write_sample_corpus(again, **SMALL)) == first
    assert not set(ids(other, write_sample_corpus(other, seed=1, **SMALL)).values()) & set(first.values())


def test_a_speaker_sounds_the_same_whoever_else_speaks(root: Path, tmp_path: Path) -> None:
    pair = write_sample_corpus(tmp_path, n_speakers=2, n_sentences=2)
    assert set(pair["speaker"]) == {"f01", "m01"}
    assert ids(tmp_path, pair) == ids(root, pair)


class Counting(Silent):
    """A progress that remembers what was done."""

    def __init__(self) -> None:
        self.total, self.done = 0.0, 0.0

    def start(self, what: str, total: float, unit: str) -> None:
        self.total = total

    def advance(self, amount: float = 1, **fields: object) -> None:
        self.done += amount


def test_what_is_there_is_kept_and_what_is_damaged_is_made_again(tmp_path: Path) -> None:
    table = write_sample_corpus(tmp_path, **SMALL)
    whole = ids(tmp_path, table)
    idle = Counting()
    pd.testing.assert_frame_equal(write_sample_corpus(tmp_path, progress=idle, **SMALL), table)
    assert idle.total == 0

    (tmp_path / table["path"][0]).unlink()
    changed = tmp_path / table["path"][20]
    changed.write_bytes(changed.read_bytes()[:-2] + b"\1\1")
    mending = Counting()
    write_sample_corpus(tmp_path, progress=mending, **SMALL)
    assert mending.done == mending.total == 24  # the two speakers concerned
    assert ids(tmp_path, table) == whole

    for damaged in ("{", "[]", json.dumps({"speakers": {"f01": 3}})):
        (tmp_path / RECORD).write_text(damaged)
        anew = Counting()
        write_sample_corpus(tmp_path, progress=anew, **SMALL)
        assert anew.done == 48
        assert ids(tmp_path, table) == whole


def test_another_delivery_is_another_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sample_corpus(tmp_path, **SMALL)
    monkeypatch.setitem(DELIVERIES, "fear", sample.Delivery(rate=2.0))
    remade = Counting()
    write_sample_corpus(tmp_path, progress=remade, **SMALL)
    assert remade.done == 48


def test_a_failure_half_way_leaves_whole_clips_and_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_for_men(utterances: list[Utterance]) -> tuple[int, list[bytes]]:
        if "+m" in utterances[0].voice:
            raise CorpusError("espeak-ng failed")
        return speak(utterances)

    monkeypatch.setattr(sample, "speak", fail_for_men)
    with pytest.raises(CorpusError, match="espeak-ng failed"):
        write_sample_corpus(tmp_path, **SMALL)
    assert not (tmp_path / RECORD).exists()
    assert all(len(read_wav(path)[0]) for path in tmp_path.rglob("*.wav"))
    assert not list(tmp_path.rglob("*partial*"))
    monkeypatch.undo()
    assert len(write_sample_corpus(tmp_path, **SMALL)) == len(list(tmp_path.rglob("*.wav")))


def test_emotions_go_in_the_direction_of_the_table(tmp_path: Path) -> None:
    from ser_probe.embeddings.opensmile_sets import feature_names, functionals

    pytest.importorskip("opensmile")
    table = write_sample_corpus(tmp_path, n_speakers=6, n_sentences=1)
    clips = [read_wav(tmp_path / path)[0].astype(np.float32) for path in table["path"]]
    names = feature_names()
    features = functionals(clips, 22_050)
    table["pitch_st"] = features[:, names.index("F0semitoneFrom27.5Hz_sma3nz_amean")]
    table["pitch_range"] = features[:, names.index("F0semitoneFrom27.5Hz_sma3nz_pctlrange0-2")]
    table["level_db"] = [10 * np.log10(np.mean(clip**2)) for clip in clips]
    table["duration_s"] = [len(clip) / 22_050 for clip in clips]
    mean = table.groupby("label")[["pitch_st", "pitch_range", "level_db", "duration_s"]].mean()
    shift = mean - mean.loc["neutral"]
    for label in ("anger", "fear", "happiness"):
        assert shift["pitch_st"][label] > 0.8
        assert shift["duration_s"][label] < 0
    assert shift["pitch_st"]["sadness"] < -0.8
    assert shift["duration_s"]["sadness"] > 0.4
    assert shift["level_db"]["sadness"] < -3 < 3 < shift["level_db"]["anger"]
    assert shift["pitch_range"]["sadness"] < 0 < shift["pitch_range"]["anger"]
    assert shift["pitch_range"]["fear"] < 0 < shift["pitch_range"]["happiness"]
    assert table.groupby("gender")["pitch_st"].mean().diff()["male"] < -6


def test_clips_of_one_emotion_vary_within_and_between_speakers() -> None:
    same = {plan_utterance("f01", "anger", sentence, 0).pitch for sentence in SENTENCES}
    assert len(same) > 1
    means = [np.mean([plan_utterance(who, "anger", name, 0).rate_wpm for name in SENTENCES]) for who in SPEAKERS]
    assert np.std(means) > 5
    plans = [plan_utterance(who, label, "s1", seed) for who in SPEAKERS for label in DELIVERIES for seed in range(20)]
    assert all(80 <= plan.rate_wpm <= 450 and 0 <= plan.pitch <= 99 and plan.volume <= 105 for plan in plans)


@pytest.mark.slow
def test_emotion_is_neither_trivial_nor_hopeless_across_speakers(tmp_path: Path) -> None:
    pytest.importorskip("opensmile")
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from ser_probe.embeddings.opensmile_sets import functionals

    table = write_sample_corpus(tmp_path)
    features = functionals([read_wav(tmp_path / path)[0] for path in table["path"]], 22_050)
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=3_000))
    predicted = cross_val_predict(probe, features, table["label"], groups=table["speaker"], cv=LeaveOneGroupOut())
    assert 0.55 < balanced_accuracy_score(table["label"], predicted) < 0.85


@pytest.mark.parametrize(("option", "number"), [("n_speakers", 1), ("n_speakers", 17), ("n_sentences", 0)])
def test_a_number_out_of_range_is_refused(option: str, number: int, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=f"no such {option}(.|\n)*found: {number}"):
        write_sample_corpus(tmp_path, **{option: number})


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CorpusError, match="needs a folder"):
        write_sample_corpus(tmp_path / "file")


def test_without_espeak_the_extra_is_named_and_a_finished_corpus_still_serves(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    assert len(write_sample_corpus(root, **SMALL)) == 48
    with pytest.raises(MissingExtraError, match=r"ser-probe\[sample\]"):
        write_sample_corpus(tmp_path, **SMALL)


def test_espeak_s_own_failures_become_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CorpusError, match=r"espeak-ng failed(.|\n)*no voice 'xx-none'"):
        speak([dataclasses.replace(HELLO, voice="xx-none")])
    missing = SimpleNamespace(get_library_path=lambda: str(tmp_path / "none.so"), get_data_path=lambda: "")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "espeakng_loader", missing)
        with pytest.raises(CorpusError, match=r"espeak-ng failed(.|\n)*none.so"):
            speak([HELLO])
    monkeypatch.setattr(espeak, "_TIMEOUT_S", 0.001)
    with pytest.raises(CorpusError, match="does not come to an end"):
        speak([HELLO])


def test_breathy_voices_do_not_depend_on_the_time_of_day() -> None:
    # espeak-ng seeds their noise with the time in seconds.
    breathy = [dataclasses.replace(HELLO, voice=f"en-us+{SPEAKERS[speaker]}") for speaker in ("f02", "f03", "f05")]
    first = speak(breathy)
    time.sleep(1.1)
    assert speak(breathy) == first


def test_speech_depends_on_what_was_said_before_and_not_on_the_process() -> None:
    # The reason why a speaker's clips are spoken in one go by a fresh process.
    rate_hz, (first, second) = speak([HELLO, HELLO])
    assert rate_hz == 22_050
    assert first != second
    assert speak([HELLO]) == (rate_hz, [first])
