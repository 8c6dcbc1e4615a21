from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ser_probe.data.corpora import import_corpus
from ser_probe.data.schemes import FRACTIONS, SCHEMES, SPLITS
from ser_probe.data.splits import audit_splits, check_splits, speaker_folds, split_speakers, summarise_audit
from ser_probe.errors import SplitError


def make_table(n_women: int, n_men: int, clips: list[int] | None = None) -> pd.DataFrame:
    """Speakers w00, m00, ... with as many clips as given in turn, labels in turn, row numbers as index."""
    clips = clips or [6]
    speakers = [f"w{i:02}" for i in range(n_women)] + [f"m{i:02}" for i in range(n_men)]
    rows = [
        (f"{speaker}-{clip}.wav", "abc"[clip % 3], speaker, "female" if speaker[0] == "w" else "male", f"s{clip}", 1.8)
        for position, speaker in enumerate(speakers)
        for clip in range(clips[position % len(clips)])
    ]
    return pd.DataFrame(rows, columns=["path", "label", "speaker", "gender", "sentence", "duration_s"])


tables = st.builds(
    make_table,
    st.integers(0, 14),
    st.integers(0, 14),
    st.lists(st.integers(1, 7), min_size=1, max_size=9),
)
schemes = st.sampled_from(["study_e", "study_b", "kfold", "loso"]) | st.just({"train": 0.8, "test": 0.2})


@settings(deadline=None)
@given(table=tables, scheme=schemes, seed=st.integers(0, 10**6), shuffle=st.integers(0, 99))
def test_splits_in_general(table: pd.DataFrame, scheme: str | dict[str, float], seed: int, shuffle: int) -> None:
    n_speakers = table["speaker"].nunique()
    assume(n_speakers >= 5)
    split = split_speakers(table, scheme=scheme, seed=seed, n_tries=3)
    assert split.index.equals(table.index)
    assert set(split) == (set(SPLITS) if isinstance(scheme, str) else {"train", "test"})
    assert (split.groupby(table["speaker"]).nunique() == 1).all()
    audit = audit_splits(table.assign(split=split))
    assert (audit.loc[audit["measure"] == "shared_speakers", "value"] == 0).all()
    if isinstance(scheme, str) and scheme in FRACTIONS:
        for gender in ("female", "male"):
            members = table["gender"] == gender
            if table.loc[members, "speaker"].nunique() >= len(SPLITS):
                assert set(split[members]) == set(SPLITS)
    shuffled = table.sample(frac=1, random_state=shuffle)
    pd.testing.assert_series_equal(split_speakers(shuffled, scheme=scheme, seed=seed, n_tries=3).sort_index(), split)


@settings(deadline=None)
@given(table=tables, k=st.integers(2, 6), seed=st.integers(0, 99))
def test_folds_in_general(table: pd.DataFrame, k: int, seed: int) -> None:
    n_speakers = table["speaker"].nunique()
    assume(n_speakers >= k)
    folds = speaker_folds(table, k, seed, n_tries=2)
    assert set(folds) == set(range(k))
    speakers = table["speaker"].groupby(folds).nunique()
    assert speakers.sum() == n_speakers
    assert speakers.max() - speakers.min() <= 2  # each gender may be one off


def test_seeds_matter_and_repeat() -> None:
    table = make_table(12, 12)
    splits = [tuple(split_speakers(table, seed=seed)) for seed in range(5)]
    assert len(set(splits)) == 5
    assert splits[3] == tuple(split_speakers(table, seed=3))


def test_search_brings_labels_nearer_than_chance() -> None:
    # Half of the speakers never say 'c': chance alone leaves splits uneven.
    table = make_table(10, 10, clips=[2, 9])
    whole = table["label"].value_counts(normalize=True)

    def unevenness(n_tries: int) -> float:
        split = split_speakers(table, seed=1, n_tries=n_tries)
        parts = table["label"].groupby(split).value_counts(normalize=True).unstack(fill_value=0)
        return float((parts - whole).abs().to_numpy().sum())

    assert unevenness(200) < unevenness(1)


def test_columns_that_are_not_needed_may_be_missing() -> None:
    table = make_table(4, 4)[["path", "speaker"]]
    assert set(split_speakers(table)) == set(SPLITS)


def test_every_speaker_tests_once_and_validates_once_when_left_out() -> None:
    table = make_table(3, 2)
    splits = [split_speakers(table, scheme="loso", fold=fold) for fold in range(5)]
    for role in ("test", "validation"):
        assert sorted(table["speaker"][split == role].unique().item() for split in splits) == sorted(
            table["speaker"].unique()
        )


def test_each_fold_tests_once() -> None:
    table = make_table(6, 6)
    tested = [set(table["path"][split_speakers(table, scheme="kfold", k=4, fold=f) == "test"]) for f in range(4)]
    assert sum(map(len, tested)) == len(set().union(*tested)) == len(table)


def test_the_manifests_own_splits_are_taken_as_they_are() -> None:
    table = make_table(3, 3)
    table["split"] = table["speaker"].str[1:].map({"00": "train", "01": "validation", "02": "test"})
    pd.testing.assert_series_equal(split_speakers(table, scheme="manifest"), table["split"])


def test_the_manifests_own_splits_are_refused_if_they_share_a_speaker() -> None:
    table = make_table(3, 3).assign(split="train")
    table.loc[[0, 7, 20], "split"] = ["test", "tset", ""]
    with pytest.raises(SplitError, match="cannot be used: 5 faults") as caught:
        check_splits(table)
    for part in (
        "split 'tset' (1 clips): did you mean 'test'?",
        "split '' (1 clips)",
        "speaker 'w00' is in test and train",
        "speaker 'w01' is in train and tset",
    ):
        assert part in str(caught.value)
    with pytest.raises(SplitError, match="no column 'split'"):
        check_splits(make_table(3, 3))


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (make_table(2, 0), {}, r"too few speakers for 3 splits(.|\n)*at least 3(.|\n)*found: 2"),
        (make_table(1, 1), {"scheme": "loso"}, r"too few speakers for a fold to test(.|\n)*at least 3"),
        (make_table(1, 0), {"scheme": "loso"}, r"too few speakers for leave-one-speaker-out(.|\n)*at least 2"),
        (make_table(2, 2), {"scheme": "kfold"}, r"too few speakers for 5 splits(.|\n)*found: 4"),
        (make_table(2, 2), {"scheme": "kfold", "k": 1}, "at least two groups"),
        (make_table(3, 3), {"scheme": "kfold", "k": 3, "fold": 3}, r"no such fold(.|\n)*0 to 2"),
        (make_table(3, 3), {"scheme": "loso", "fold": -1}, "no such fold"),
        (make_table(3, 3), {"scheme": "study_a"}, r"no such split scheme(.|\n)*did you mean 'study_"),
        (make_table(3, 3), {"scheme": {"train": 0.5, "dev": 0.5}}, r"name that is not known(.|\n)*'dev'"),
        (make_table(3, 3), {"scheme": {"train": 0.5, "test": 0.6}}, "add up to 1"),
        (make_table(3, 3), {"scheme": {"train": 1.5, "test": -0.5}}, "above 0"),
        (make_table(3, 3), {"scheme": {}}, "above 0"),
        (make_table(3, 3).drop(columns="speaker"), {}, "add a column 'speaker'"),
        (make_table(3, 3).replace({"speaker": {"w00": ""}}), {}, "6 clips name no speaker"),
        (make_table(3, 3).replace({"speaker": {"w00": "m00"}}), {}, r"two genders(.|\n)*'m00'"),
    ],
)
def test_what_cannot_be_split(table: pd.DataFrame, options: dict[str, object], message: str) -> None:
    with pytest.raises(SplitError, match=message):
        split_speakers(table, **options)


def test_presets_are_whole() -> None:
    for name, fractions in FRACTIONS.items():
        assert sum(fractions.values()) == pytest.approx(1)
        assert tuple(fractions) == SPLITS
        assert name in SCHEMES
    assert FRACTIONS["study_b"]["test"] == pytest.approx(0.2)
    assert FRACTIONS["study_b"]["validation"] == pytest.approx(0.8 * 0.2)


def test_audit_counts_who_and_what() -> None:
    table = make_table(2, 1).assign(
        split=lambda rows: rows["speaker"].map({"w00": "train", "w01": "test", "m00": "test"})
    )
    audit = audit_splits(table)
    assert list(audit.columns) == ["split", "measure", "level", "value"]
    values = audit.set_index(["split", "measure", "level"])["value"]
    assert values["test", "clips", ""] == 12
    assert values["test", "hours", ""] == pytest.approx(12 * 1.8 / 3600)
    assert values["test", "speakers", ""] == 2
    assert values["train", "speakers_by_gender", "male"] == 0
    assert values["test", "clips_by_gender", "male"] == 6
    assert values["train", "clips_by_label", "a"] == 2
    assert values["train", "shared_sentences", ""] == values["train", "sentences", ""] == 6
    assert values["test", "shared_speakers", ""] == 0
    text = summarise_audit(audit)
    assert text.splitlines()[0].split() == ["train", "test"]
    assert text.endswith("No speaker is in two splits.")


def test_audit_shows_a_shared_speaker_where_there_is_one() -> None:
    table = make_table(2, 2).assign(split=["train", "test"] * 12)
    audit = audit_splits(table)
    assert (audit.loc[audit["measure"] == "shared_speakers", "value"] == 4).all()
    assert "4 SPEAKERS ARE IN MORE THAN ONE SPLIT" in summarise_audit(audit)


def test_audit_needs_splits_and_speakers() -> None:
    with pytest.raises(SplitError, match="An audit needs the column 'split'"):
        audit_splits(make_table(2, 2))


@pytest.mark.parametrize("scheme", ["study_e", "study_b"])
@pytest.mark.parametrize("seed", range(5))
def test_emovo_keeps_both_genders_everywhere(emovo_root: Path, scheme: str, seed: int) -> None:
    table = import_corpus("emovo", emovo_root).table
    audit = audit_splits(table.assign(split=split_speakers(table, scheme=scheme, seed=seed)))
    per_gender = audit.loc[audit["measure"] == "speakers_by_gender", "value"]
    assert per_gender.tolist() == [1] * 6
    assert (audit.loc[audit["measure"] == "clips", "value"] == 196).all()
    assert (audit.loc[audit["measure"] == "clips_by_label", "value"] == 28).all()


def test_a_gender_blank_in_some_rows_is_no_second_gender() -> None:
    table = pd.DataFrame({"speaker": ["a", "a", "b", "c"], "gender": ["female", "", "", "male"], "label": "x"})
    assert set(split_speakers(table, scheme="study_e")) == {"train", "validation", "test"}
    torn = table.assign(gender=["female", "male", "", ""])
    with pytest.raises(SplitError, match=r"two genders: 1 fault(.|\n)*'a': female, male(.|\n)*mend the column"):
        split_speakers(torn, scheme="study_e")
