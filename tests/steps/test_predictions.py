"""Predictions: of a clip alone and in any batch the same, in the units of the targets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from ser_probe.audio.load import AudioSpec, inspect_clip, load_clip
from ser_probe.embeddings.computation import ClipInput
from ser_probe.embeddings.passes import ClipList
from ser_probe.errors import AudioError, BackboneError
from ser_probe.models.heads import SerClassifier
from ser_probe.models.targets import Targets
from ser_probe.steps import predictions
from ser_probe.steps.predictions import PredictionSettings, predict_clips, read_outputs

from ..classifiers import CLASSES, make_classifier
from ..voices import voice

# Of float32 through a few layers; the outputs are of the order of 1.
EXACT = 1e-5
DURATIONS_S = (0.3, 2.0, 0.5, 1.1)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipList:
    folder = tmp_path_factory.mktemp("clips")
    paths = [folder / f"{row}.wav" for row in range(len(DURATIONS_S))]
    for row, path in enumerate(paths):
        soundfile.write(path, voice(row, 120 + 30 * row, DURATIONS_S[row]), 16_000, subtype="PCM_16")
    ids = [inspect_clip(path).clip_id for path in paths]
    table = pd.DataFrame({"clip_id": ids, "path": [path.name for path in paths], "duration_s": DURATIONS_S})
    return ClipList(table, paths)


def test_probabilities_do_not_depend_on_the_batch(clips: ClipList) -> None:
    classifier = make_classifier()
    together = predict_clips(classifier, clips, AudioSpec()).values
    alone = predict_clips(classifier, clips, AudioSpec(), PredictionSettings(max_clips=1)).values
    np.testing.assert_allclose(together, alone, rtol=0, atol=EXACT)
    np.testing.assert_allclose(together.sum(axis=1), 1, rtol=0, atol=1e-12)
    assert np.ptp(together, axis=0).max() > 0.01, "clips that are told apart"
    # The counter-case: clips padded with zeros to one length, as a plain batch has them.
    samples = [load_clip(path, AudioSpec()).samples for path in clips.paths]
    padded = [np.pad(clip, (0, max(map(len, samples)) - len(clip))) for clip in samples]
    with torch.inference_mode():
        plain = read_outputs(classifier(padded).double().numpy(), CLASSES)
        exact = read_outputs(classifier(samples).double().numpy(), CLASSES)
    np.testing.assert_allclose(exact, alone, rtol=0, atol=EXACT)
    longest = int(np.argmax(DURATIONS_S))
    np.testing.assert_allclose(plain[longest], alone[longest], rtol=0, atol=EXACT)
    assert np.abs(plain - alone).max() > 100 * EXACT


def test_the_order_of_the_clips_is_the_order_of_the_rows(clips: ClipList) -> None:
    classifier = make_classifier()
    forth = predict_clips(classifier, clips, AudioSpec()).values
    turned = ClipList(clips.table[::-1].reset_index(drop=True), clips.paths[::-1])
    np.testing.assert_allclose(predict_clips(classifier, turned, AudioSpec()).values[::-1], forth, rtol=0, atol=EXACT)


def test_numeric_targets_are_in_their_units(clips: ClipList) -> None:
    plain = Targets("numeric", ("arousal", "valence"), (0.0, 0.0), (1.0, 1.0))
    scaled = Targets("numeric", ("arousal", "valence"), (3.0, -1.0), (2.0, 0.5))
    z_scores, values = (predict_clips(make_classifier(each), clips, AudioSpec()).values for each in (plain, scaled))
    np.testing.assert_allclose(values, z_scores * [2.0, 0.5] + [3.0, -1.0], rtol=1e-6)


def test_probabilities_are_the_softmax_even_of_large_outputs() -> None:
    outputs = np.array([[0.0, np.log(3), 0.0], [2000.0, 0.0, -2000.0]])
    np.testing.assert_allclose(read_outputs(outputs, CLASSES), [[0.2, 0.6, 0.2], [1, 0, 0]], rtol=0, atol=1e-12)


def test_clips_are_decoded_as_the_spec_says(clips: ClipList, caplog: pytest.LogCaptureFixture) -> None:
    found = predict_clips(make_classifier(), clips, AudioSpec(peak_dbfs=-30.0, max_duration_s=1.0))
    assert np.isnan(found.values).any(axis=1).tolist() == [duration_s > 1 for duration_s in DURATIONS_S]
    (line,) = [each for each in caplog.messages if "no sample exceeds" in each]
    assert "(2 clips, the first: 2.wav)" in line, "the batch of the longest clips comes first"


def test_a_clip_without_a_finite_answer_is_left_out_by_name(clips: ClipList, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = predictions._forward

    def overflow(classifier: SerClassifier, items: Sequence[tuple[int, ClipInput]]) -> np.ndarray:
        found = forward(classifier, items)
        found[[row in bad for row, _ in items]] = np.nan
        return found

    monkeypatch.setattr(predictions, "_forward", overflow)
    bad = [2]
    found = predict_clips(make_classifier(), clips, AudioSpec())
    assert [reject.row for reject in found.rejects] == bad
    assert np.isnan(found.values).all(axis=1).tolist() == [False, False, True, False]
    with pytest.raises(AudioError, match=rf"(?s)answer is not a number.*{clips.paths[2]}"):
        predict_clips(make_classifier(), clips, AudioSpec(), PredictionSettings(strict=True))
    bad = [0, 1, 2, 3]
    with pytest.raises(BackboneError, match=r"(?s)answer is not a number.*so for 3 more, from tiny"):
        predict_clips(make_classifier(), clips, AudioSpec())


def test_clips_that_cannot_be_used(clips: ClipList, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(clips.paths[0].read_bytes()[:60])
    mixed = ClipList(clips.table, [clips.paths[0], broken, *clips.paths[2:]])
    found = predict_clips(make_classifier(), mixed, AudioSpec())
    assert np.isnan(found.values).all(axis=1).tolist() == [False, True, False, False]
    assert [reject.row for reject in found.rejects] == [1]
    assert any(message.startswith("left out: The clip is not the one") for message in caplog.messages)
    with pytest.raises(AudioError, match="The clip is not the one"):
        predict_clips(make_classifier(), mixed, AudioSpec(), PredictionSettings(strict=True))
