"""Damaged files of a study: the report leaves out what is not as the study wrote it, and `run` makes it anew."""

from __future__ import annotations

import collections
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ser_probe.cli.main import app
from ser_probe.data.parquet import read_parquet
from ser_probe.errors import ConfigError, DamagedFileError, SerProbeError
from ser_probe.steps.report import write_report
from ser_probe.steps.study.extractions import read_listing
from ser_probe.steps.study.files import StudyFiles, read_rejects, read_runs
from ser_probe.steps.study.run import run_study
from ser_probe.steps.study.stages import written_contents
from ser_probe.steps.tables import read_table, write_table
from tests.mutation import mutate

from ..conftest import Said, small_study

FOLDER = Path("runs/small")
BEST = {"step": int, "metric": str, "value": float}
TABLES = ("training", "probe", "similarity", "drift", "split_audit")
# What is of the right kind and stands nowhere else: a record of runs, which nothing is computed from.
LEGITIMATE = ("record.json", "training.json")


def read_all(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Return everything that a report reads of a study, and what it says of it."""
    files = StudyFiles(folder)
    read: dict[str, Any] = {name: files.table(name) for name in TABLES}
    read |= {"manifest": files.clips(), "rejects": files.rejects(), "best": files.json("best.json", BEST)}
    read |= {"record": files.last_run(), "trained": files.trained_part()}
    plain = {name: value.to_csv() if isinstance(value, pd.DataFrame) else value for name, value in read.items()}
    return plain, files.notes


def study_paths(folder: Path) -> list[Path]:
    names = ("manifest.csv", "rejects.csv", "best.json", "record.json", "training.json", "caches.json")
    tables = [folder / "tables" / f"{name}.parquet" for name in TABLES]
    return [*(folder / name for name in names), *tables, *sorted((folder / ".stages").glob("*.json"))]


def try_mutations(folder: Path, seeds: range) -> collections.Counter[str]:
    """Change one file for each seed: what is read of the study is what it wrote, or its name is said."""
    right, notes = read_all(folder)
    assert not notes
    paths = study_paths(folder)
    count: collections.Counter[str] = collections.Counter()
    for seed in seeds:
        path = paths[seed % len(paths)]
        whole = path.read_bytes()
        what = mutate(path, seed)
        try:
            found, notes = read_all(folder)
        except Exception as error:
            raise AssertionError(what) from error
        finally:
            path.write_bytes(whole)
        if found == right:
            count["the same"] += 1
        elif notes:
            assert all(str(path) in note for note in notes), what
            count["said"] += 1
        else:
            assert path.name in LEGITIMATE, what
            count["another record"] += 1
    return count


@pytest.fixture
def folder(finished_once: Path, tmp_path: Path) -> Path:
    """A copy of the finished study's own folder."""
    shutil.copytree(finished_once / FOLDER, tmp_path / "small", ignore=shutil.ignore_patterns("checkpoints"))
    return tmp_path / "small"


def test_no_mutation_is_taken_for_what_the_study_wrote(folder: Path) -> None:
    count = try_mutations(folder, range(120))
    assert count["said"] > 40


@pytest.mark.slow
def test_no_mutation_of_thousands(folder: Path) -> None:
    assert try_mutations(folder, range(1000, 4000))["said"] > 1000


def test_report_says_what_it_leaves_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (folder / "tables").glob("*.parquet"):  # those that nothing is tried on: drawing takes seconds
        if path.stem not in ("training", "probe", "drift", "split_audit"):
            path.unlink()
    (folder / "tables" / "probe.parquet").write_bytes(b"PAR1")
    (folder / "rejects.csv").write_text("")
    (folder / "best.json").write_text("[" * 100_000)
    (folder / "record.json").write_text('{"runs": [3]}')
    (folder / "training.json").write_text('{"finished": null}')
    drift = folder / "tables" / "drift.parquet"
    pd.read_parquet(drift).assign(value=0.5).to_parquet(drift)
    with pytest.raises(SystemExit) as ended:
        app(["report", str(folder)], prog_name="ser-probe")
    assert ended.value.code in (0, None)
    said = capsys.readouterr().err
    page = (folder / "report.html").read_text(encoding="utf-8")
    for name in ("tables/probe.parquet", "tables/drift.parquet", "rejects.csv", "best.json", "record.json"):
        assert f"{folder / name} is left out" in said
        assert f"{name} is left out" in page
    assert "run the study again: only what is damaged is made anew" in said
    assert "Traceback" not in said


def test_report_of_a_damaged_config_says_how_to_get_it_back(folder: Path) -> None:
    (folder / "config.yaml").write_bytes(b"name: \xff\n")
    with pytest.raises(ConfigError, match=r"(?s)UTF-8.*config\.yaml.*run the study again from its own YAML"):
        write_report(folder)


@pytest.mark.slow
def test_run_makes_damaged_files_anew(finished: Path, finished_once: Path) -> None:
    """Every kind of file at once: the study ends as it did, and says why each stage ran."""
    right = {path: path.read_bytes() for path in study_paths(FOLDER) if path.parent.name != ".stages"}
    (FOLDER / "config.yaml").write_bytes(b"\xff")
    (FOLDER / "record.json").write_text("[]")
    (FOLDER / "best.json").write_text('{"step": 99}')
    (FOLDER / "caches.json").write_text('[{"path": 3}]')
    (FOLDER / "rejects.csv").write_bytes(b"\0")
    (FOLDER / "tables" / "drift.csv").write_text("")
    similarity = FOLDER / "tables" / "similarity.parquet"
    similarity.write_bytes(similarity.read_bytes()[:100])
    stamp = FOLDER / ".stages" / "probe.json"
    known = json.loads(stamp.read_text())
    known["outputs"] = {}
    stamp.write_text(json.dumps(known))
    said = Said()
    run_study(small_study(), progress=said)
    assert f"probe: its stamp {stamp} is damaged or of an earlier version; runs again" in said.lines
    for stage, name in (
        ("prepare", "rejects.csv"), ("finetune", "best.json"), ("extract", "caches.json"),
    ):  # fmt: skip
        assert f"stale, because {name} is gone or was changed" in said.of(stage)
    for stage in ("similarity", "drift"):  # the embeddings name their clips' paths anew: the corpus lies elsewhere now
        assert "stale, because changed: embeddings" in said.of(stage)
    assert any("record.json is damaged and begun anew" in line for line in said.lines)
    for path, content in right.items():
        if path.name not in ("record.json", "training.json"):
            same = read_table(path.parent, path.stem).equals(_parquet(content)) if path.suffix == ".parquet" else None
            moved = content.replace(bytes(finished_once), bytes(finished))  # the corpus was copied with the study
            assert same or path.read_bytes() in (content, moved), path
    assert set(written_contents(FOLDER)) >= {"rejects.csv", "best.json", "caches.json", "tables/probe.parquet"}
    assert not read_all(FOLDER)[1]


def _parquet(content: bytes) -> pd.DataFrame:
    import io

    return pd.read_parquet(io.BytesIO(content))


READERS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "rejects": (read_rejects, "path\nx\n", r"rejected clips.*CSV with the columns path and reason.*found: path"),
    "no rejects": (read_rejects, "", r"rejected clips cannot be read.*found: No columns"),
    "runs": (read_runs, '{"runs": [1]}', r"does not hold what it should.*1 in place of runs\.0"),
    "listing": (read_listing, "{}", r"caches.json lists no embedding files.*delete it and run again"),
    "entry": (read_listing, '[{"path": 1}]', r"entry 0\.path is 1"),
    "parquet": (read_parquet, "PAR1", r"The table cannot be read.*expected: Parquet"),
}


@pytest.mark.parametrize("name", READERS)
def test_readers_name_the_file(name: str, tmp_path: Path) -> None:
    read, content, message = READERS[name]
    path = tmp_path / "caches.json"
    path.write_text(content)
    with pytest.raises(DamagedFileError, match=rf"(?s){message}") as raised:
        read(path)
    assert raised.value.where == path


def test_a_table_has_a_name_for_each_column(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "t.parquet"
    pyarrow.parquet.write_table(pyarrow.table([[1], [2]], names=["a", "a"]), path)
    with pytest.raises(SerProbeError, match="The table cannot be read"):
        read_parquet(path)
    write_table(pd.DataFrame({"a": [1]}), tmp_path, "t")
    assert read_table(tmp_path, "t")["a"].tolist() == [1]
    path.write_bytes(b"")
    with pytest.raises(DamagedFileError, match=r"(?s)t\.parquet.*run the analysis that writes it again"):
        read_table(tmp_path, "t")
