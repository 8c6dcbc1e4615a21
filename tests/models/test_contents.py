"""The record of a checkpoint's files: what was changed since is told, and only where there is a record."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from ser_probe.errors import CheckpointError, DamagedFileError
from ser_probe.files import write_json
from ser_probe.models.contents import CONTENTS, describe_contents, read_contents, refuse_changed_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint of three files, with the record of them."""
    for name, content in (("model.safetensors", b"weights"), ("head.json", b"{}"), ("optimizer.pt", b"state")):
        (tmp_path / name).write_bytes(content)
    write_json(tmp_path / CONTENTS, {"step": 5, **describe_contents(tmp_path)})
    return tmp_path


def test_the_record_is_of_the_bytes(folder: Path) -> None:
    sizes, hashes = read_contents(folder)
    assert sizes == {"head.json": 2, "model.safetensors": 7, "optimizer.pt": 5}
    assert hashes["model.safetensors"] == hashlib.sha256(b"weights").hexdigest()
    refuse_changed_files(folder)
    refuse_changed_files(folder, but=())


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"weightz", "found: [0-9a-f]{16}\\n"),
        (b"weight", "found: 6 bytes"),
        (None, "found: missing: model.safetensors"),
    ],
)
def test_a_changed_file_is_refused(folder: Path, content: bytes | None, found: str) -> None:
    path = folder / "model.safetensors"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"not as fine-tuning wrote it(.|\n)*{found}") as caught:
        refuse_changed_files(folder)
    assert "delete checkpoint.json" in str(caught.value.fix)
    (folder / CONTENTS).unlink()
    refuse_changed_files(folder)  # then nothing says what it was


def test_what_only_resuming_reads_stops_nobody_else(folder: Path) -> None:
    (folder / "optimizer.pt").write_bytes(b"other")
    refuse_changed_files(folder)
    with pytest.raises(CheckpointError, match=r"optimizer.pt(.|\n)*SHA-256"):
        refuse_changed_files(folder, but=())


@pytest.mark.parametrize("text", ["[]", "{", '{"files": 3}', '{"files": {"model.safetensors": "big"}}', ""])
def test_a_damaged_record_is_refused_beside_a_classifier_alone(folder: Path, text: str) -> None:
    (folder / CONTENTS).write_text(text)
    with pytest.raises(DamagedFileError, match=CONTENTS):
        read_contents(folder)
    with pytest.raises(CheckpointError, match=rf"{CONTENTS}(.|\n)*delete it to use the checkpoint unchecked"):
        refuse_changed_files(folder)
    # Others may have a file of this name for anything.
    (folder / "head.json").unlink()
    refuse_changed_files(folder)


def test_a_record_of_an_older_release_has_sizes_alone(folder: Path) -> None:
    sizes, _ = read_contents(folder)
    (folder / CONTENTS).write_text(json.dumps({"step": 5, "files": sizes}))
    (folder / "model.safetensors").write_bytes(b"weightz")
    refuse_changed_files(folder)
    (folder / "model.safetensors").write_bytes(b"weight")
    with pytest.raises(CheckpointError, match="found: 6 bytes"):
        refuse_changed_files(folder)


def test_a_name_that_leads_out_of_the_folder_is_not_followed(folder: Path) -> None:
    (folder / CONTENTS).write_text(json.dumps({"files": {"../secret": 1}, "sha256": {"../secret": "0"}}))
    (folder.parent / "secret").write_text("of another size")
    refuse_changed_files(folder)
    (folder / CONTENTS).write_text(json.dumps({"files": {"secret": 1}, "sha256": {"secret": "0"}}))
    with pytest.raises(CheckpointError, match="missing: secret"):
        refuse_changed_files(folder)
