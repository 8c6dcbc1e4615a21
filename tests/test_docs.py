"""The examples of a page of docs run in their order, as its reader would run them."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
from matplotlib import pyplot

from ser_probe.cli.main import app
from ser_probe.steps.tables import read_table

PAGES = Path(__file__).resolve().parents[1] / "docs"
EXAMPLE = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run_examples(page: str, *, at_least: int = 6) -> dict[str, object]:
    """Run a page's examples in the current folder; return the names that its Python has made."""
    names: dict[str, object] = {}
    examples = EXAMPLE.findall((PAGES / page).read_text(encoding="utf-8"))
    assert len(examples) >= at_least
    for language, text in examples:
        if language == "python":
            exec(compile(text, f"docs/{page}", "exec"), names)
            continue
        for command in text.splitlines():
            program, *words = shlex.split(command, comments=True)
            assert program == "ser-probe"
            with pytest.raises(SystemExit) as ended:
                app(words)
            assert ended.value.code in (0, None), command
    return names


@pytest.mark.skipif(importlib.util.find_spec("espeakng_loader") is None, reason="the sample needs espeakng-loader")
@pytest.mark.skipif(importlib.util.find_spec("opensmile") is None, reason="the features need opensmile")
def test_the_examples_of_extraction_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run_examples("extraction.md")
    assert {"x", "five", "places", "table", "parts", "frames"} <= names.keys()
    # The second worker finished the file, and nothing is left beside the caches.
    assert (tmp_path / "cache" / "large.h5").is_file()
    assert not list(tmp_path.glob("cache/*.shards"))


@pytest.mark.skipif(importlib.util.find_spec("espeakng_loader") is None, reason="the sample needs espeakng-loader")
@pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="adapters need peft")
def test_the_examples_of_fine_tuning_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    table = run_examples("finetuning.md")["table"]
    assert table["predicted"].notna().all()  # type: ignore[index]
    assert (tmp_path / "curves" / "training_runs.png").is_file()
    assert (tmp_path / "evaluation" / "tables" / "scores.csv").is_file()


@pytest.mark.skipif(importlib.util.find_spec("espeakng_loader") is None, reason="the sample needs espeakng-loader")
def test_the_examples_of_the_library_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run_examples("library.md")
    assert {path.name for path in tmp_path.iterdir()} == {"audio", "runs", "panels.png"}, "nothing else is written"
    assert len(names["checkpoints"]) == 3  # type: ignore[arg-type]
    pyplot.close("all")


@pytest.mark.skipif(importlib.util.find_spec("espeakng_loader") is None, reason="the sample needs espeakng-loader")
@pytest.mark.skipif(importlib.util.find_spec("opensmile") is None, reason="the features need opensmile")
@pytest.mark.skipif(importlib.util.find_spec("openpyxl") is None, reason="a workbook needs openpyxl")
@pytest.mark.slow  # each of its commands has tests of its own
def test_the_jobs_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_examples("jobs.md", at_least=4)
    across = read_table(tmp_path / "scores" / "across" / "tables", "scores")
    assert (across["n_speakers"] <= 4).all(), "the other corpus alone"
    models = read_table(tmp_path / "answers", "probe_models")
    assert {*models["model_a"], *models["model_b"]} == {"tiny-wavlm-base", "eGeMAPSv02"}
    models = read_table(tmp_path / "versus" / "probe", "probe_models")
    assert set(models["n_speakers"]) == {6}
    similar = read_table(tmp_path / "versus" / "similarity", "similarity")
    assert (similar["model_a"] != similar["model_b"]).all()
