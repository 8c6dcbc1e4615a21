"""What is known of real corpora is found: from lists of lengths and rates, or built as their files were measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_probe.analysis.audit.shortcuts import find_shortcuts

NAMES = Path(__file__).resolve().parents[4] / "shared" / "data" / "names"


def listed(corpus: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return rates and clips of a corpus from its list."""
    path = NAMES / f"{corpus}.tsv.gz"
    if not path.is_file():
        pytest.skip(f"the list of {corpus} is not at hand")
    table = pd.read_csv(path, sep="\t", dtype=str)
    properties = pd.DataFrame({"file_rate_hz": table["sample_rate_hz"].astype(float)})
    return properties, table.rename(columns={"emotion": "label"})[["label", "speaker"]]


def row_of(table: pd.DataFrame, target: str, group: str) -> pd.Series:
    (row,) = [row for _, row in table.iterrows() if (row["target"], row["properties"]) == (target, group)]
    return row


def test_emozionalmente_44_khz_is_disgust() -> None:
    """150 of 6902 clips: the UAR hardly moves, and each of them is named."""
    table = find_shortcuts(*listed("emozionalmente"), permutations=199)
    row = row_of(table, "label", "rate and container")
    assert row["giveaway"] == "150 of 150 clips with a sampling rate of 44100 Hz are disgust (14% of all clips)"
    assert (row["named_clips"], row["verdict"], row["alarm"]) == (150, "clear", True)
    assert 0 < row["skill"] < 0.05
    assert not row_of(table, "speaker", "rate and container")["alarm"]


def test_emovdb_44_khz_is_one_speaker() -> None:
    table = find_shortcuts(*listed("emovdb"), permutations=199)
    row = row_of(table, "speaker", "rate and container")
    assert "with a sampling rate of 44100 Hz are speaker bea" in row["giveaway"]
    assert (row["verdict"], row["alarm"]) == ("strong", True)
    assert row_of(table, "label", "rate and container")["verdict"] == "none"


def test_shemo_22_khz_tells_a_speaker_and_no_label() -> None:
    """Most clips at 22.05 kHz are neutral, since speakers with that rate mostly spoke so: a habit, and no alarm."""
    table = find_shortcuts(*listed("shemo"), permutations=199)
    assert row_of(table, "speaker", "rate and container")["p_adjusted"] < 0.05
    label = row_of(table, "label", "rate and container")
    assert "with a sampling rate of 22050 Hz are neutral" in label["giveaway"]
    assert (label["verdict"], label["alarm"]) == ("none", False)


def test_tess_one_clip_at_96_khz_is_no_shortcut() -> None:
    properties, clips = listed("tess")
    assert (properties["file_rate_hz"] == 96_000).sum() == 1
    table = find_shortcuts(properties, clips, permutations=199)
    assert set(table["verdict"]) == {"none"}


def test_savee_offset_tells_the_speaker(rng: np.random.Generator) -> None:
    """Offsets above 0.01, up to 0.045, in all clips of three speakers and in none of the fourth."""
    speaker = np.repeat(["DC", "JE", "JK", "KL"], 120)
    offset = np.where(speaker == "KL", rng.uniform(-0.005, 0.005, 480), rng.uniform(0.011, 0.045, 480))
    label = np.tile(np.repeat(["a", "d", "f", "h", "sa", "su", "n", "n"], 15), 4)
    clips = pd.DataFrame({"speaker": speaker, "label": label})
    table = find_shortcuts(pd.DataFrame({"dc_offset": offset}), clips, permutations=199)
    row = row_of(table, "speaker", "DC offset")
    assert row["giveaway"].startswith("120 of 120 clips with an offset up to ")
    assert "are speaker KL" in row["giveaway"]
    assert (row["verdict"], row["alarm"]) == ("strong", True)
    assert row_of(table, "label", "DC offset")["verdict"] == "none"


def test_ased_length_tells_the_emotion(rng: np.random.Generator) -> None:
    """Lengths of one emotion each, but for 3.0 s, which is shared by two in five clips."""
    only = {"happy": [2.9], "angry": [2.4], "fearful": [3.9, 2.3], "sad": [3.5], "neutral": [3.7]}
    label = rng.choice(list(only), 500)
    shared = (rng.random(500) < 0.42) & (label != "happy")
    length = np.where(shared, 3.0, [rng.choice(only[name]) for name in label])
    clips = pd.DataFrame({"label": label, "speaker": (np.arange(500) % 20).astype(str)})
    table = find_shortcuts(pd.DataFrame({"duration_s": length}), clips, permutations=199)
    row = row_of(table, "label", "duration")
    assert "clips with a length of 2.9 s are happy" in row["giveaway"]
    assert row["named_clips"] == (~shared).sum()
    assert (row["verdict"], row["alarm"]) == ("strong", True)
    assert row["words"].startswith("Duration gives the label away")


def test_emodb_peaks_say_nothing(rng: np.random.Generator) -> None:
    """All peaks lie at full scale but for the last steps of a sample; lower where the label is sadness."""
    label = np.tile(["W", "T", "N"], 100)
    peak = 20 * np.log10(1 - (rng.integers(1, 16, 300) + (label == "T")) / 32768)
    clips = pd.DataFrame({"label": label, "speaker": np.repeat(np.arange(10), 30).astype(str)})
    table = find_shortcuts(pd.DataFrame({"peak_dbfs": peak}), clips, permutations=19)
    assert set(table["verdict"]) == {"constant"}
