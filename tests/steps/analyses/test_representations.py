"""Joining files on clip id: the same clips in the same order, whatever order each file has them in."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.errors import AnalysisError, CacheError
from ser_probe.steps.analyses.representations import join_caches

from ..conftest import FEATURES, tuned

Write = Callable[..., Path]


def test_rows_are_matched_by_clip_whatever_their_order(write_cache: Write, clips: pd.DataFrame) -> None:
    late = write_cache("late", clips.iloc[::-1].reset_index(drop=True), tuned(50))
    first = write_cache("first", clips, tuned(0))
    joined = join_caches([late, first])
    assert [one.checkpoint for one in joined.checkpoints] == ["step-0", "step-50"], "by step, not as given"
    assert [one.step for one in joined.checkpoints] == [0.0, 50.0]
    assert joined.n_dropped == 0
    for one in joined.checkpoints:
        with EmbeddingCache.open(one.path) as cache:
            wanted = joined.clips["clip_id"]
            for name, layer in zip(one.layer_names, one.layers(), strict=True):
                np.testing.assert_array_equal(layer, cache.layer(name, wanted))
        np.testing.assert_array_equal(one.layer("final"), one.layer("1"))
        assert one.key("1") == ("tiny", one.checkpoint, one.step, "1")


def test_clips_that_are_not_everywhere_are_left_out_and_said(
    write_cache: Write, clips: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    whole, part = write_cache("whole", clips, tuned(0)), write_cache("part", clips.iloc[10:], tuned(2))
    features = write_cache("features", clips.iloc[:60], FEATURES, layers=("functionals",))
    with caplog.at_level(logging.WARNING, "ser_probe"):
        joined = join_caches([whole, part], features=features)
    assert list(joined.clips["clip_id"]) == list(clips["clip_id"][10:60])
    assert joined.n_dropped == 22
    assert "22 of 72 clips are not in all of the files and are left out" in caplog.text
    assert joined.features is not None
    assert np.isnan(joined.features.step)
    assert joined.features.checkpoint == ""
    assert joined.features.layer_names == ("functionals",)


def test_features_of_an_earlier_version_are_told_of(
    write_cache: Write, clips: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    model = write_cache("model", clips, tuned(0), contract=1)
    for contract, is_told in ((2, False), (1, True)):
        features = write_cache(f"features-{contract}", clips, FEATURES, layers=("functionals",), contract=contract)
        join_caches([model], features=features)
        assert (f"features-{contract}.h5 is of an earlier version" in caplog.text) is is_told


def test_clips_that_only_a_later_file_has_are_counted_too(write_cache: Write, clips: pd.DataFrame) -> None:
    part, whole = write_cache("part", clips.iloc[10:], tuned(0)), write_cache("whole", clips, tuned(2))
    assert join_caches([part, whole]).counts() == {"clips": 62, "clips not in all files, left out": 10}
    # A file that is shared by studies holds clips of others; the study's own are what counts.
    assert join_caches([part, whole], clips=clips.iloc[20:]).counts() == {"clips": 52}
    bare = write_cache("bare", clips.drop(columns="split"), tuned(4))
    assert join_caches([whole, bare], splits=["test"]).n_dropped == 0


def test_the_studys_clips_are_the_truth(write_cache: Write, clips: pd.DataFrame) -> None:
    path = write_cache("a", clips, tuned(0))
    relabelled = clips.assign(label="calm")[::-1]
    joined = join_caches([path], clips=relabelled, splits=["test"])
    assert set(joined.column("label")) == {"calm"}
    assert set(joined.column("speaker")) == {"s5"}
    repeated = pd.concat([clips, clips.head(3)], ignore_index=True)
    assert len(join_caches([path], clips=repeated).clips) == len(clips), "one recording is one observation"


def test_no_shared_clip(write_cache: Write, clips: pd.DataFrame) -> None:
    one, other = write_cache("one", clips.head(36), tuned(0)), write_cache("other", clips.tail(36), tuned(2))
    with pytest.raises(AnalysisError, match="No clip is in all of the files") as raised:
        join_caches([one, other])
    assert raised.value.fix == "extract the same manifest with each model"
    assert "0 shared" in str(raised.value.found)


def test_columns_that_are_not_there(write_cache: Write, clips: pd.DataFrame) -> None:
    joined = join_caches([write_cache("a", clips, tuned(0))])
    with pytest.raises(AnalysisError, match="The clips have no column 'lable'") as raised:
        joined.column("lable")
    assert raised.value.fix == "did you mean 'label'?"
    gaps = clips.assign(valence=[None] * 3 + [0.5] * (len(clips) - 3))
    with pytest.raises(AnalysisError, match="3 clips have no valence"):
        join_caches([write_cache("b", clips, tuned(0))], clips=gaps).column("valence")


def test_splits_that_are_not_there(write_cache: Write, clips: pd.DataFrame) -> None:
    with pytest.raises(AnalysisError, match="The clips have no column 'split'"):
        join_caches([write_cache("a", clips.drop(columns="split"), tuned(0))], splits=["test"])
    with pytest.raises(AnalysisError, match="No clip is in the split test") as raised:
        join_caches([write_cache("b", clips.assign(split="train"), tuned(0))], splits=["test"])
    assert raised.value.found == "72 clips in train"


def test_frames_are_refused_with_what_to_do(write_cache: Write, clips: pd.DataFrame) -> None:
    pooled, frames = write_cache("pooled", clips, tuned(0)), write_cache("frames", clips, tuned(2), frames=3)
    with pytest.raises(AnalysisError, match="needs one vector a clip") as raised:
        join_caches([pooled, frames])
    assert raised.value.where == frames
    assert "216 frames of 72 clips" in str(raised.value)
    assert "--pooling mean" in str(raised.value.fix)
    with pytest.raises(AnalysisError, match="needs one vector a clip"):
        join_caches([pooled], features=frames)


def test_nothing_to_join(tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match="There is nothing to analyse"):
        join_caches([])
    with pytest.raises(CacheError, match="There is no embedding cache here"):
        join_caches([tmp_path / "none.h5"])


def test_columns_are_found_by_their_aliases(write_cache: Write, clips: pd.DataFrame) -> None:
    joined = join_caches([write_cache("first", clips, tuned(0))])
    assert joined.name_of("emotion") == "label"
    assert joined.known_names(["Actor", "speaker", "egemaps:F0"]) == ("speaker", "egemaps:F0")
    np.testing.assert_array_equal(joined.column("actor"), joined.column("speaker"))
    with pytest.raises(AnalysisError, match="no column 'age'"):
        joined.name_of("age")
