"""The extras of the analysis `probe`: planted truth comes out, each table is written on request only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_probe.analysis.probes.families import Folds
from ser_probe.config import ProbeConfig, check_options
from ser_probe.config.analyze_probe import ANALYSIS
from ser_probe.report.probes.figures import PROBES_FIGURES
from ser_probe.steps.analyses.probe_extras import wants_extras, write_probe_extras
from ser_probe.steps.analyses.representations import Joined, join_caches
from ser_probe.steps.tables import read_table

from ..conftest import Said, tuned

Write = Callable[..., Path]
FLAGS = ("description_length", "learning_curve", "transfer", "directions")
EXTRA_TABLES = ANALYSIS.tables[ANALYSIS.tables.index("probe_description_length") :]


@pytest.fixture
def joined(write_cache: Write, clips: pd.DataFrame) -> Joined:
    """Layer 1 says the label in the same features at both steps, layer 0 is noise; two corpora of three speakers."""
    clips = clips.assign(corpus=np.where(clips["speaker"].isin(["s0", "s2", "s4"]), "emovo", "emodb"))
    return join_caches([write_cache(f"step-{step}", clips, tuned(step)) for step in (0, 50)])


@pytest.fixture
def folds() -> Folds:
    """The last two of six speakers test, the two before them validate: each corpus has a part of everything."""
    return Folds(["study"], np.array([0, 0, 1, 1, 2, 2], np.int8)[np.arange(72) % 6][None])


def written(joined: Joined, folds: Folds, output: Path, said: Said | None = None, **options: object) -> list[str]:
    probe = check_options(
        ProbeConfig, {**dict.fromkeys(FLAGS, False), "max_epochs": 60, "initialisations": 2, **options}
    )  # fmt: skip
    files = write_probe_extras(
        joined, output, probe=probe, labels=joined.column("label"), groups=joined.column("speaker"), folds=folds,
        context={"corpus": "both", "run_seed": 7, "target": "label"}, progress=said or Said(),
    )  # fmt: skip
    return [path.stem for path in files if path.suffix == ".parquet"]


def test_what_is_planted_is_found(joined: Joined, folds: Folds, tmp_path: Path) -> None:
    assert written(joined, folds, tmp_path, **dict.fromkeys(FLAGS, True)) == [*EXTRA_TABLES]
    tables = {name: read_table(tmp_path, name) for name in EXTRA_TABLES}
    for table in tables.values():
        assert set(table["target"]) == {"label"}
        assert set(table["corpus"]) == {"both"}
        assert set(table["layer"]) == {"0", "1"}
    lengths = tables["probe_description_length"]
    compression = lengths[lengths["measure"] == "compression"].groupby("layer")["value"].mean()
    assert compression["1"] > 1.5
    assert compression["0"] < 1.05
    assert set(lengths["family"]) == {"logistic"}
    curve = tables["probe_curve"]
    whole = curve[(curve["measure"] == "uar") & (curve["fraction"] == 1)].groupby("layer")["value"].mean()
    assert whole["1"] > 0.85
    assert whole["0"] < 0.6
    transfer = tables["probe_transfer"]
    away = transfer[(transfer["measure"] == "uar") & (transfer["trained_on"] != transfer["tested_on"])]
    value = away[away["alignment"] == "none"].groupby("layer")["value"].mean()
    assert value["1"] > 0.85
    assert value["0"] < 0.6
    directions = tables["probe_directions"]
    across = directions[directions["step_a"] != directions["step_b"]].groupby("layer")["value"].mean()
    assert across["1"] > 0.5 > across["0"] + 0.1
    corpora = tables["probe_corpus_transfer"]
    carried = corpora[(corpora["measure"] == "uar") & (corpora["trained_on"] != corpora["tested_on"])]
    assert carried[carried["layer"] == "1"]["value"].mean() > 0.8
    drawn = [spec for spec in PROBES_FIGURES.values() if spec.table in tables]
    assert len(drawn) == 5
    for spec in drawn:
        spec.draw(tables[spec.table]).draw_without_rendering()


@pytest.mark.parametrize(
    ("flag", "tables"),
    [
        ("learning_curve", ["probe_curve"]),
        ("transfer", ["probe_transfer", "probe_corpus_transfer"]),
        ("directions", ["probe_directions"]),
    ],
)
def test_each_on_request(joined: Joined, folds: Folds, tmp_path: Path, flag: str, tables: list[str]) -> None:
    assert written(joined, folds, tmp_path, **{flag: True}) == tables
    assert wants_extras(check_options(ProbeConfig, {**dict.fromkeys(FLAGS, False), flag: True}))


def test_none_on_request(joined: Joined, folds: Folds, tmp_path: Path) -> None:
    assert written(joined, folds, tmp_path) == []
    assert not wants_extras(check_options(ProbeConfig, dict.fromkeys(FLAGS, False)))
    assert not list(tmp_path.glob("*.parquet"))


def test_what_cannot_be_done_is_said_and_the_rest_is_done(
    write_cache: Write, clips: pd.DataFrame, folds: Folds, tmp_path: Path
) -> None:
    said = Said()
    # The test speakers are a corpus of their own, so no probe can be trained on it.
    apart = clips.assign(corpus=np.where(clips["speaker"].isin(["s4", "s5"]), "emovo", "emodb"))
    alone = join_caches([write_cache("alone", apart, tuned(0))])
    assert written(alone, folds, tmp_path, said, transfer=True, directions=True) == [], "one checkpoint goes nowhere"
    assert sum("probe_corpus_transfer: left out" in line for line in said.lines) == 1, "once, not for every layer"
    few = alone.clips["speaker"].isin(["s0", "s4"])
    unused = Folds(["two"], np.where(few, folds.parts, -1).astype(np.int8))
    assert written(alone, unused, tmp_path, said, description_length=True) == []
    assert any("probe_description_length: left out. The labels cannot be sent" in line for line in said.lines)
