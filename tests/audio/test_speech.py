"""Speech: the stretches that silero-vad gives, frames that follow time, and no trace left in the process."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ser_probe.audio import speech
from ser_probe.audio.load import AudioSpec, load_clip
from ser_probe.audio.speech import find_speech, frames_within, speech_frames
from ser_probe.data.sample import write_sample_corpus
from ser_probe.errors import AudioError, MissingExtraError
from tests.conftest import SHARED_DATA

for package in ("silero_vad", "espeakng_loader"):
    if importlib.util.find_spec(package) is None:  # importing silero_vad here would set this process's threads
        pytest.skip(f"{package} is not installed", allow_module_level=True)

IN_A_FRESH_PROCESS = """
import sys, warnings
import numpy as np, torch
torch.set_num_threads(3)
torch.manual_seed(5)
state, filters = torch.get_rng_state(), list(warnings.filters)
from ser_probe.audio.speech import ingredients, speech_frames
ingredients()
clips = np.load(sys.argv[1])
values = [speech_frames(clip, len(clip) // 320) for clip in clips]
assert torch.get_num_threads() == 3, torch.get_num_threads()
assert torch.equal(torch.get_rng_state(), state)
assert list(warnings.filters) == filters
np.save(sys.argv[2], values)
"""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    """Synthesised speech and, where it is at hand, acted speech; at 16 kHz."""
    folder = tmp_path_factory.mktemp("sample")
    table = write_sample_corpus(folder, n_speakers=2, n_sentences=1)
    paths = [folder / path for path in table["path"]][::4]
    paths += sorted((SHARED_DATA / "EMOVO").rglob("*.wav"))[::120]
    return [load_clip(path, AudioSpec()).samples for path in paths]


def test_stretches_are_those_of_the_package(clips: list[np.ndarray]) -> None:
    speech.ingredients()  # imports the package without its hold on the threads
    import silero_vad

    model = silero_vad.load_silero_vad()
    for clip in clips:
        stretches = silero_vad.get_speech_timestamps(torch.from_numpy(clip), model)
        assert find_speech(clip) == [(stretch["start"], stretch["end"]) for stretch in stretches]
    assert all(find_speech(clip) for clip in clips)


def test_speech_lies_where_it_was_put(clips: list[np.ndarray]) -> None:
    silence, noise = np.zeros(16_000, np.float32), np.random.default_rng(0).standard_normal(16_000) * 1e-4
    (start, end), *_, (_, last) = 2 * find_speech(clips[0])
    for quiet in (silence, noise.astype(np.float32)):
        shifted = find_speech(np.concatenate([quiet, clips[0], quiet]))
        assert shifted[0][0] == pytest.approx(16_000 + start, abs=2_000)
        assert shifted[-1][1] == pytest.approx(16_000 + last, abs=4_000)
    assert end > start
    found = speech_frames(np.concatenate([silence, clips[0], silence]), 50 + len(clips[0]) // 320 + 50)
    assert found.dtype == bool
    assert not found[:40].any()
    assert not found[-30:].any()
    assert found[50:-50].mean() > 0.5


def test_a_frame_is_speech_where_its_centre_is() -> None:
    stretches = [(200, 840), (1_161, 1_480)]
    expected = [any(start <= 320 * frame + 200 < end for start, end in stretches) for frame in range(6)]
    assert expected == [True, True, False, False, False, False]
    assert frames_within(stretches, 6).tolist() == expected
    assert frames_within([(201, 841)], 4).tolist() == [False, True, True, False]
    assert frames_within(stretches, 3, hop_samples=640, receptive=1_280).tolist() == [True, True, False]
    assert frames_within([], 3).tolist() == [False] * 3
    assert frames_within(stretches, 0).shape == (0,)


def test_a_clip_does_not_depend_on_those_before_nor_on_threads(clips: list[np.ndarray]) -> None:
    forward = [find_speech(clip) for clip in clips]
    assert [find_speech(clip) for clip in clips[::-1]][::-1] == forward
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert [find_speech(clip) for clip in clips] == forward
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_fresh_process_finds_the_same_and_is_left_as_it_was(clips: list[np.ndarray], tmp_path: Path) -> None:
    length = min(len(clip) for clip in clips)
    np.save(tmp_path / "clips.npy", [clip[:length] for clip in clips[:3]])
    done = subprocess.run(
        [sys.executable, "-c", IN_A_FRESH_PROCESS, str(tmp_path / "clips.npy"), str(tmp_path / "values.npy")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    expected = [speech_frames(clip[:length], length // 320) for clip in clips[:3]]
    np.testing.assert_array_equal(np.load(tmp_path / "values.npy"), expected)


@pytest.mark.parametrize("n_samples", [0, 1, 511, 512, 513, 16_000])
def test_silence_of_any_length_holds_no_speech(n_samples: int) -> None:
    assert speech_frames(np.zeros(n_samples, np.float32), 5).tolist() == [False] * 5


def test_under_a_quarter_of_a_second_nothing_is_speech(clips: list[np.ndarray]) -> None:
    middle = max(find_speech(clips[0]), key=lambda stretch: stretch[1] - stretch[0])
    start = sum(middle) // 2
    assert not speech_frames(clips[0][start : start + 3_900], 12).any()
    assert speech_frames(clips[0][slice(*middle)], (middle[1] - middle[0]) // 320).any()


def test_ingredients_name_what_decides() -> None:
    assert speech.ingredients() == {
        "detector": "silero-vad", "silero_vad": importlib.metadata.version("silero-vad"), "model": "silero_vad.jit",
        "sample_rate_hz": 16_000, "threshold": 0.5, "min_speech_ms": 250, "min_silence_ms": 100, "speech_pad_ms": 30,
        "rule": 1,
    }  # fmt: skip


def test_another_sampling_rate_is_refused() -> None:
    with pytest.raises(AudioError, match=r"one sampling rate only(.|\n)*16000 Hz(.|\n)*found: 8000 Hz"):
        speech_frames(np.zeros(8_000, np.float32), 5, sample_rate_hz=8_000)


@pytest.mark.parametrize("call", [speech.ingredients, lambda: find_speech(np.zeros(600))])
def test_without_silero_vad_the_extra_is_named(call: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "silero_vad", None)
    with pytest.raises(MissingExtraError, match=r"ser-probe\[vad\]"):
        call()
