"""The rows at the head of the report are those of the tables."""

from __future__ import annotations

import pandas as pd
import pytest

from ser_probe.report.drift.headline import drift_headline
from ser_probe.report.headlines import headlines
from ser_probe.report.similarity.headline import similarity_headline
from ser_probe.steps.analyses.figures import report_headlines

from .drawn import Tables

HEADLINES = report_headlines()


def test_each_corpus_has_rows_beside_those_of_all_pooled(tables: Tables) -> None:
    parts = [tables["similarity"].assign(corpus=name) for name in ("all", "berlin", "rome")]
    parts[1]["value"] /= 2
    head = similarity_headline(pd.concat(parts, ignore_index=True))
    assert list(head["corpus"].drop_duplicates()) == ["all, pooled", "berlin", "rome"]
    means = head.groupby("corpus")["mean over layers"].first()
    assert means["berlin"] == pytest.approx(means["rome"] / 2)
    both = drift_headline(pd.concat([tables["drift"].assign(corpus=name) for name in ("all", "berlin")]))
    assert len(both) == 2 * len(drift_headline(tables["drift"]))


def test_files_that_name_no_step_have_a_headline(tables: Tables) -> None:
    bare = tables["similarity"].assign(step_a=float("nan"), step_b=float("nan"))
    ((_, _, _, table), *_) = headlines({"similarity": bare}, HEADLINES)
    assert set(table["step"]) == {"none"}


def test_large_change_is_low_similarity_but_a_norm_far_from_before(tables: Tables) -> None:
    drift = tables["drift"].copy()
    shrunk = (drift["measure"] == "relative_norm_change") & (drift["layer"] == "1") & (drift["step"] == 150)
    drift.loc[shrunk, "value"] = -0.8
    head = drift_headline(drift).set_index("measure")
    assert head.loc["debiased linear CKA", "most changed layer"] == "final"
    assert head.loc["mean cosine", "least changed layer"] == "0"
    assert head.loc["relative change of norm", "most changed layer"] == "1"
    assert head.loc["relative change of norm", "value there"] == -0.8


def test_empty_and_absent_tables_make_no_headline(tables: Tables) -> None:
    assert headlines({}, HEADLINES) == []
    assert headlines({"probe": tables["probe"].head(0), "umap": tables["umap"]}, HEADLINES) == []
    drift = tables["drift"]
    assert headlines({"drift": drift[drift["step"] == 0]}, HEADLINES) == []
    assert len(headlines(tables, HEADLINES)) == len([one for one in HEADLINES if one.table in tables]) >= 4
