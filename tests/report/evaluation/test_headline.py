"""The sentences and rows about the fine-tuned classifier are those of its table, and the first of the report."""

from __future__ import annotations

import pandas as pd
import pytest

from ser_probe.errors import AnalysisError
from ser_probe.report.evaluation.headline import chosen_step, evaluation_headline, evaluation_sentences
from ser_probe.report.headlines import headlines
from ser_probe.steps.analyses.figures import report_figures, report_headlines

from ..drawn import Tables
from ..evaluation_tables import TARGETS, scores_table


def test_the_sentence_gives_score_interval_clips_speakers_and_what_chance_gives() -> None:
    assert evaluation_sentences(scores_table()) == {
        on: "UAR 0.600 (0.500 to 0.700), accuracy 0.620, macro F1 0.570 on 84 clips of 4 speakers, step 100; "
        "before training: UAR 0.200"
        for on in ("test", "validation")
    }


def test_an_untrained_head_is_called_one() -> None:
    scores = scores_table((0,), 0, ("test",))
    assert evaluation_sentences(scores)["test"].endswith("step 0 (an untrained head)")


def test_without_the_best_step_the_last_is_shown() -> None:
    scores = scores_table((0, 50, 150), best=-1)
    assert chosen_step(scores) == 150
    assert evaluation_sentences(scores)["test"].split("; ")[0].endswith("step 150")


def test_corpora_are_told_apart_and_speakers_nobody_knows_are_not_counted() -> None:
    two = pd.concat([scores_table(on=("test",)), scores_table(on=("test",)).assign(corpus="emodb", n_speakers=0, n=1)])
    sentences = evaluation_sentences(two)
    assert list(sentences) == ["test (emovo)", "test (emodb)"]
    assert " on 1 clip, step 100" in sentences["test (emodb)"]


def test_numeric_targets() -> None:
    one = scores_table(on=("test",))
    one = one[one["measure"] == "uar"].assign(measure="ccc", ci_low=float("nan"))
    scores = pd.concat([one.assign(target=name) for name in TARGETS])
    assert evaluation_sentences(scores)["test"] == (
        "arousal CCC 0.600, valence CCC 0.600 on 84 clips of 4 speakers, step 100; "
        "before training: arousal CCC 0.200, valence CCC 0.200"
    )
    assert list(evaluation_headline(scores)["target"]) == ["arousal", "arousal", "valence", "valence"]


def test_the_rows() -> None:
    head = evaluation_headline(scores_table())
    assert list(head["evaluated on"]) == ["test", "test", "validation", "validation"]
    assert list(head["step"]) == [0, "100, the best"] * 2
    assert list(head["UAR"]) == ["0.200 (0.100 to 0.300)", "0.600 (0.500 to 0.700)"] * 2
    with pytest.raises(AnalysisError, match="evaluation table"):
        evaluation_headline(scores_table().drop(columns="best"))


def test_it_comes_first(tables: Tables) -> None:
    assert report_headlines()[0].table == "evaluation"
    assert list(report_figures())[:2] == ["evaluation_scores", "evaluation"]
    _, said, _, rows = headlines(tables, report_headlines())[0]
    assert said[0].startswith("test: UAR 0.600 (0.500 to 0.700)")
    assert len(rows) == 4
