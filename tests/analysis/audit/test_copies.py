"""Copies, and what they break: planted truths, a clean corpus, and the true list of CREMA-D's bytes."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest

from ser_probe.analysis.audit.copies import find_copies, judge_copies, judge_speakers, shared_speakers
from tests.conftest import SHARED_DATA

LIST = SHARED_DATA / "names" / "cremad_sha256.tsv.gz"


def corpus(n_clips: int = 24) -> pd.DataFrame:
    """Return a clean corpus: four speakers, three labels, a split of speakers."""
    numbers = np.arange(n_clips)
    speakers = [f"s{number % 4}" for number in numbers]
    return pd.DataFrame({
        "path": [f"{number:02}.wav" for number in numbers],
        "clip_id": [f"{number:032x}" for number in numbers],
        "label": np.array(["anger", "joy", "fear"])[numbers // 4 % 3],
        "speaker": speakers,
        "split": ["test" if speaker == "s3" else "train" for speaker in speakers],
        "corpus": "a",
    })  # fmt: skip


def checks(clips: pd.DataFrame, **more: object) -> dict[str, str]:
    return {finding.check: finding.severity for finding in judge_copies(find_copies(clips, **more))}  # type: ignore[arg-type]


def test_a_clean_corpus_has_no_copies(rng: np.random.Generator) -> None:
    clips = corpus()
    prints = [rng.integers(0, 2**32, 60, dtype=np.uint32) for _ in range(len(clips))]
    copies = find_copies(clips, clips["clip_id"], prints)
    assert copies.empty
    assert judge_copies(copies) == []
    assert shared_speakers(copies, clips).empty


def test_identical_files_say_what_they_break() -> None:
    clips = corpus()
    clips.loc[7, "clip_id"] = clips.loc[0, "clip_id"]  # another label, speaker and split
    copies = find_copies(clips)
    assert list(copies["path"]) == ["00.wav", "07.wav"]
    assert set(copies["same"]) == {"bytes"}
    assert set(copies["breaks"]) == {"label, speaker, split"}
    assert checks(clips) == {
        "label_conflict": "error", "copies_across_splits": "error", "copies_across_speakers": "warning",
    }  # fmt: skip
    (conflict,) = [each for each in judge_copies(copies) if each.check == "label_conflict"]
    assert "00.wav (anger) = 07.wav (joy)" in conflict.words
    assert conflict.clips == ("00.wav", "07.wav")


def test_identical_samples_in_other_bytes() -> None:
    clips = corpus()
    samples = clips["clip_id"].tolist()
    samples[12] = samples[0]  # same label, speaker and split
    copies = find_copies(clips, samples)
    assert set(copies["same"]) == {"samples"}
    assert checks(clips, audio_ids=samples) == {"copies": "note"}


def test_the_same_sound_in_two_corpora(rng: np.random.Generator) -> None:
    clips = corpus()
    prints = [rng.integers(0, 2**32, 60, dtype=np.uint32) for _ in range(len(clips))]
    prints[12] = prints[0].copy()
    prints[12][:30] ^= np.uint32(1)
    clips.loc[12, "corpus"] = "b"
    copies = find_copies(clips, clips["clip_id"], prints)
    assert set(copies["same"]) == {"sound"}
    assert copies["wrong_bits"].iloc[0] == pytest.approx(0.5 / 32)
    assert [finding.check for finding in judge_copies(copies)] == ["copies_across_corpora"]


def test_groups_are_joined_by_bytes_samples_and_sound(rng: np.random.Generator) -> None:
    clips = corpus()
    samples = clips["clip_id"].tolist()
    prints = [rng.integers(0, 2**32, 60, dtype=np.uint32) for _ in range(len(clips))]
    clips.loc[4, "clip_id"] = clips.loc[0, "clip_id"]
    samples[4] = samples[0]
    samples[8] = samples[4]
    prints[4] = prints[8] = prints[20] = prints[0]
    copies = find_copies(clips, samples, prints)
    assert list(copies["path"]) == ["00.wav", "04.wav", "08.wav", "20.wav"]
    assert set(copies["group"]) == {0}
    assert set(copies["same"]) == {"sound"}


def test_two_ids_of_one_person_are_named() -> None:
    """As in BAVED, where all clips of speaker 46 are there again as speaker 53."""
    clips = corpus(40)
    first, second = clips.index[clips["speaker"] == "s0"], clips.index[clips["speaker"] == "s1"]
    clips.loc[second, "clip_id"] = clips.loc[first, "clip_id"].to_numpy()
    clips.loc[clips.index[clips["speaker"] == "s2"][0], "clip_id"] = clips.loc[first[0], "clip_id"]
    shared = shared_speakers(find_copies(clips), clips)
    (finding,) = judge_speakers(shared, clips)
    assert "s0 and s1 are one person: 10 recordings" in finding.words
    assert len(finding.clips) == 20
    # One recording in common is a slip, not a person.
    assert len(shared) == 3


@pytest.mark.skipif(not LIST.is_file(), reason="the list of CREMA-D's bytes is not at hand")
def test_the_identical_pairs_of_crema_d() -> None:
    with gzip.open(LIST, "rt") as stream:
        listed = pd.read_csv(stream, sep="\t", dtype=str)
    waves = listed[listed.iloc[:, 0].str.endswith(".wav")]
    path = waves.iloc[:, 0]
    stems = path.str.rpartition("/")[2].str.removesuffix(".wav").str.split("_")
    clips = pd.DataFrame({
        "path": path, "clip_id": waves["sha256"], "label": stems.str[2], "speaker": stems.str[0],
        "sentence": stems.str[1],
    })  # fmt: skip
    assert len(clips) == 7442
    copies = find_copies(clips)
    (finding,) = judge_copies(copies)
    assert finding.check == "label_conflict"
    groups = copies["path"].str.extract(r"(\d{4}_\w{3}_\w{3}_\w\w)")[0].groupby(copies["group"]).agg(list)
    assert list(groups) == [
        ["1006_TIE_HAP_XX", "1006_TIE_NEU_XX"],
        ["1013_WSI_DIS_XX", "1013_WSI_SAD_XX"],
        ["1017_IWW_ANG_XX", "1017_IWW_FEA_XX"],
    ]
    assert shared_speakers(copies, clips).empty
