"""Damaged and foreign manifests of every format: read, checked and split, or refused with a message."""

from __future__ import annotations

import hashlib
import random
import zipfile
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from ser_probe.data.identities import spelling_key
from ser_probe.data.manifest import read_manifest, write_manifest
from ser_probe.data.manifest_check import check_manifest
from ser_probe.data.splits import audit_splits, split_speakers, summarise_audit
from ser_probe.errors import SerProbeError
from ser_probe.steps.study.stages import file_states
from tests.data.conftest import Facts
from tests.mutation import BYTES, Mutator, mutate, mutators_for

FORMATS = ("csv", "tsv", "parquet", "xlsx")
N_QUICK, N_SLOW = 60, 1500
"""Of each format."""


def clips() -> pd.DataFrame:
    rows = [
        (
            f"wav/{speaker}{label}{take}.wav",
            label,
            f"{speaker:02d}",
            "fm"[speaker % 2],
            "AB"[speaker // 3],
            take,
            0.1 * n,
        )
        for n, (speaker, label, take) in enumerate(
            (speaker, label, take) for speaker in range(6) for label in ("joy", "sad") for take in (1, 2)
        )
    ]
    columns = ["path", "emotion", "actor", "gender", "corpus", "sentence", "valence"]
    return pd.DataFrame(rows, columns=columns).assign(
        split=["train", "train", "train", "test"] * 6, clip_id="x", note="well, yes"
    )


def write(table: pd.DataFrame, path: Path) -> None:
    if path.suffix == ".xlsx":
        pytest.importorskip("openpyxl", reason="the extra excel is not installed")
        table.to_excel(path, index=False)
    else:
        write_manifest(table, path)


def member(path: Path, rng: random.Random) -> str:
    """Change one file inside a workbook, whose archive stays whole."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(sorted(contents))
    inner = path.with_name("member.xml")
    inner.write_bytes(contents[name])
    what = mutate(inner, rng.randrange(2**31), BYTES)
    contents[name] = inner.read_bytes()
    with zipfile.ZipFile(path, "w") as archive:
        for each, content in contents.items():
            archive.writestr(each, content)
    return f"{name}: {what}"


WORKBOOK: dict[str, Mutator] = {f"member {number}": member for number in range(8)}


def look(path: Path) -> Facts:
    """Tell a clip by its path: nothing is decoded here."""
    name = hashlib.blake2b(str(path).encode(errors="replace"), digest_size=16).hexdigest()
    return Facts(name, 1.0, 16_000, 1, name)


def use(path: Path) -> str:
    """Do with a manifest what all commands do, and return how it ended."""
    try:
        manifest = read_manifest(path, audio_root=path.parent / "audio")
        file_states(manifest.reachable_paths())
        report = check_manifest(manifest, look, n_threads=1)
        report.summary()
        report.raise_for_faults()
        table = report.manifest.table
        table = table.assign(split=split_speakers(table, scheme="study_e", n_tries=3))
        summarise_audit(audit_splits(table))
    except SerProbeError as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert "np." not in refused
        assert len(refused.splitlines()) < 40
        return "refused"
    people = table["speaker"].map(spelling_key)
    if "corpus" not in table:
        assert (table["split"].groupby(people).nunique() == 1).all()
    assert (table["split"].groupby(table["speaker"]).nunique() == 1).all()
    written = write_manifest(table, path.with_name("written.csv"))
    again = read_manifest(written, audio_root=path.parent / "audio")
    assert again.table["speaker"].tolist() == table["speaker"].tolist()
    assert again.table["label"].tolist() == table["label"].tolist()
    return "used"


def run(folder: Path, suffix: str, seeds: range) -> Counter[str]:
    source = folder / f"source.{suffix}"
    write(clips(), source)
    for written in clips()["path"]:
        (folder / "audio" / written).parent.mkdir(parents=True, exist_ok=True)
        (folder / "audio" / written).write_bytes(b"RIFF")
    assert use(source) == "used"
    path = folder / f"m.{suffix}"
    ends: Counter[str] = Counter()
    for seed in seeds:
        path.write_bytes(source.read_bytes())
        done = mutate(path, seed, mutators_for(path) | (WORKBOOK if suffix == "xlsx" else {}))
        try:
            ends[use(path)] += 1
        except Exception as error:
            raise AssertionError(f"{done}: {type(error).__name__}: {error}") from error
    return ends


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_damaged_manifest_is_used_or_refused(tmp_path: Path, suffix: str) -> None:
    ends = run(tmp_path, suffix, range(N_QUICK))
    assert sum(ends.values()) == N_QUICK
    assert ends["refused"] > N_QUICK / 4


@pytest.mark.slow
@pytest.mark.parametrize("suffix", FORMATS)
def test_thousands_of_damaged_manifests(tmp_path: Path, suffix: str) -> None:
    ends = run(tmp_path, suffix, range(N_QUICK, N_QUICK + N_SLOW))
    assert sum(ends.values()) == N_SLOW
    print(suffix, dict(ends))
