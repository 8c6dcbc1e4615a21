"""How clips are divided for probes where nobody says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_probe.config import ProbeConfig, check_options
from ser_probe.errors import AnalysisError
from ser_probe.steps.analyses.inputs import Inputs
from ser_probe.steps.analyses.probe import run
from ser_probe.steps.analyses.probe_division import any_fine_tuned, embedded_clips, settle_division
from ser_probe.steps.analyses.representations import NamedCache
from ser_probe.steps.tables import read_table

from ..conftest import Said, tuned

AUTO = ProbeConfig()


def of_speakers(n: int, test: int, *, others: tuple[str, ...] = ("train", "validation")) -> pd.DataFrame:
    speaker = np.arange(2 * n) % n
    split = np.where(speaker < test, "test", np.array(others)[speaker % len(others)])
    return pd.DataFrame({"speaker": [f"s{each}" for each in speaker], "split": split})


@pytest.mark.parametrize(
    ("clips", "fine_tuned", "splits", "reason"),
    [
        (of_speakers(6, 3), True, "heldout", "the test part has 3 speakers"),
        (of_speakers(6, 2), True, "study", "fine-tuning has seen the others"),
        (of_speakers(6, 2), False, "loso", "each of the 6 speakers is left out in turn"),
        (of_speakers(6, 2, others=("train",)), True, "loso", "too few to be divided anew"),
        (of_speakers(6, 0, others=("train",)), True, "loso", "the test part has 0 of the speakers"),
        (of_speakers(13, 2), False, "kfold", "the 13 speakers are left out in turn, a group at a time"),
        (of_speakers(6, 2).drop(columns="split"), True, "loso", "the clips name no splits"),
    ],
)
def test_what_auto_is(clips: pd.DataFrame, fine_tuned: bool, splits: str, reason: str) -> None:
    division = settle_division(AUTO, clips, fine_tuned=fine_tuned)
    assert division.probe.division == splits
    assert reason in division.reason
    assert division.line().startswith(f"probe: division {splits}")
    if splits in ("loso", "kfold"):
        assert division.probe.among == "all"


def test_what_is_asked_for_is_not_changed() -> None:
    probe = check_options(ProbeConfig, {"division": "heldout"})
    division = settle_division(probe, of_speakers(2, 1), fine_tuned=False)
    assert division.probe is probe
    assert division.line() == ""


def test_too_few_speakers_for_any_way() -> None:
    with pytest.raises(AnalysisError, match="There are too few speakers for probes") as raised:
        settle_division(AUTO, of_speakers(2, 1), fine_tuned=False)
    assert raised.value.found == "2: s0, s1"


def test_a_checkpoint_after_step_0_was_fine_tuned(write_cache: Callable[..., Path], clips: pd.DataFrame) -> None:
    first, later = write_cache("first", clips, tuned(0)), write_cache("later", clips, tuned(50))
    assert not any_fine_tuned([first, NamedCache(later, "tiny", "step-0", 0)])
    assert any_fine_tuned([first, later])


def test_clips_without_embeddings_do_not_count(write_cache: Callable[..., Path], clips: pd.DataFrame) -> None:
    cache = write_cache("test-only", clips[clips["split"] == "test"], tuned(0))
    assert set(embedded_clips([cache], clips)["split"]) == {"test"}
    assert len(embedded_clips([], clips)) == len(clips)


def test_the_choice_is_said_and_stands_in_the_tables(
    write_cache: Callable[..., Path], clips: pd.DataFrame, tmp_path: Path
) -> None:
    said = Said()
    probe = check_options(ProbeConfig, {"initialisations": 1, "max_epochs": 5, "controls": []})
    cache = write_cache("first", clips, tuned(0))
    outcome = run(Inputs(tmp_path / "t", caches=[cache], progress=said), probe)
    (line,) = [line for line in said.lines if line.startswith("probe: division")]
    assert line == (
        "probe: division loso, because the test part has 1 of the speakers, too few to be divided anew: "
        "each of the 6 speakers is left out in turn"
    )
    assert f"probe: division {outcome.summary['division']}" == line
    for name in ("probe", "probe_summary", "best_layers", "probe_confusion"):
        table = read_table(tmp_path / "t", name)
        assert set(table["division"]) == {"loso"}
        assert table["division_reason"].str.startswith("the test part has 1").all()
