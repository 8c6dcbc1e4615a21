from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ser_probe.errors import ConfigError, DamagedFileError, SerProbeError
from ser_probe.files import (
    MAX_JSON_BYTES,
    MAX_JSON_DEPTH,
    atomic_path,
    check_entries,
    content_id,
    distinct_names,
    distinct_slugs,
    fingerprint,
    is_lfs_pointer,
    lock,
    read_json,
    slug,
    write_json,
    write_text,
)
from ser_probe.output_paths import check_output_file, check_output_folder


def test_a_file_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "table.csv"
    with atomic_path(path) as temporary:
        temporary.write_text("a,b\n")
        assert temporary.suffix == ".csv"
        assert not path.exists()
    assert path.read_text() == "a,b\n"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")

    def write_half() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("ne")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_comes_back(tmp_path: Path) -> None:
    value = {"név": [1, 2.5, None], "nested": {"a": "ü"}}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert "név" in (tmp_path / "a.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "an empty file"),
        (b"{", "Expecting property name"),
        (b"\x89PNG\r\n", "can't decode byte 0x89"),
        (b"[" * 100_000, "nested more than 64 deep"),
        (b"[" * (MAX_JSON_DEPTH + 2) + b"]" * (MAX_JSON_DEPTH + 2), "nested more than 64 deep"),
        (b'{"a": ' * 100 + b"1" + b"}" * 100, "nested more than 64 deep"),
        (b'{"a": ["\\ud800"]}', "half a surrogate pair"),
        (b'{"\\udfff": 1}', "half a surrogate pair"),
        (b'{"step": ' + b"9" * 400 + b"}", "a whole number of more than 128 bits"),
        (b"9" * 5000, "Exceeds the limit"),
    ],
)
def test_what_is_no_json_that_can_be_used_names_the_file(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "best.json"
    path.write_bytes(content)
    with pytest.raises(SerProbeError, match=r"best.json is not JSON that can be used") as caught:
        read_json(path)
    assert caught.value.where == path
    assert fault in str(caught.value.found)
    # Whoever can make the file anew asks for no more than a ValueError.
    assert isinstance(caught.value, ValueError)


def test_json_of_usual_depth_with_a_byte_order_mark_and_large_numbers_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf" + b"[" * MAX_JSON_DEPTH + b"]" * MAX_JSON_DEPTH)
    value = read_json(path)
    for _ in range(MAX_JSON_DEPTH - 1):
        (value,) = value
    assert value == []
    path.write_text('{"model_max_length": 1000000000000000019884624838656, "emoji": "\\ud83d\\ude00"}')
    assert read_json(path) == {"model_max_length": int(1e30), "emoji": "\U0001f600"}


def test_a_json_file_that_is_too_large_or_a_git_lfs_pointer_is_not_parsed(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    with path.open("wb") as stream:
        stream.truncate(MAX_JSON_BYTES + 1)
    with pytest.raises(DamagedFileError, match="too large") as caught:
        read_json(path)
    assert caught.value.found == "67,108,865 bytes"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(DamagedFileError, match="Git LFS pointer"):
        read_json(path)


def test_entries_that_are_missing_or_of_another_type_are_all_named(tmp_path: Path) -> None:
    path = tmp_path / "best.json"
    entries = {"step": int, "metric": str, "value": float, "table": dict, "seed": (int, type(None))}
    whole = {"step": 1, "metric": "loss", "value": 2, "table": {}, "seed": None, "more": []}
    write_json(path, whole)
    assert read_json(path, entries=entries) == whole
    write_json(path, {**whole, "step": True, "value": "x" * 99, "metric": None} | {"table": 1.5, "seed": 0.5})
    with pytest.raises(DamagedFileError, match=r"best.json does not hold what it should") as caught:
        read_json(path, entries=entries)
    assert caught.value.found == (
        f'step is true; metric is null; value is a text "{"x" * 29}...; table is 1.5; seed is 0.5'
    )
    assert "step (a whole number)" in str(caught.value.expected)
    assert "seed (a whole number or null)" in str(caught.value.expected)
    write_json(path, [1])
    with pytest.raises(DamagedFileError) as caught:
        read_json(path, entries={"step": int})
    assert caught.value.found == "[1] in place of an object"
    with pytest.raises(DamagedFileError) as caught:
        check_entries({}, {"seed": int}, where=path, inside="ingredients")
    assert caught.value.found == "ingredients.seed is missing"
    assert caught.value.expected == "ingredients.seed (a whole number)"


def test_content_decides_the_id_and_the_name_does_not(tmp_path: Path) -> None:
    big = bytes(range(256)) * 10_000
    for name, content in (("a.wav", big), ("b.wav", big), ("c.wav", big[:-1] + b"\x00")):
        (tmp_path / name).write_bytes(content)
    first, same, other = (content_id(tmp_path / name) for name in ("a.wav", "b.wav", "c.wav"))
    assert first == same != other
    assert len(first) == 32


def test_a_fingerprint_ignores_the_order_of_keys_and_nothing_else() -> None:
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert fingerprint({"b": [1, 2]}) != fingerprint({"b": [2, 1]})


def test_a_git_lfs_pointer_is_recognised(tmp_path: Path) -> None:
    write_text(tmp_path / "pointer.wav", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    (tmp_path / "sound.wav").write_bytes(b"RIFF\x00\x00\x00\x00WAVE")
    (tmp_path / "empty.wav").touch()
    assert is_lfs_pointer(tmp_path / "pointer.wav")
    assert not is_lfs_pointer(tmp_path / "sound.wav")
    assert not is_lfs_pointer(tmp_path / "empty.wav")


@pytest.mark.parametrize(
    ("text", "name"),
    [("microsoft/wavlm-large", "microsoft-wavlm-large"), ("../../etc/passwd", "etc-passwd"), ("...", "unnamed")],
)
def test_a_slug_is_never_a_path(text: str, name: str) -> None:
    assert slug(text) == name


def refuse_with(code: int) -> Callable[..., None]:
    def flock(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    return flock


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_said_with_the_folder(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fcntl, "flock", refuse_with(code))
    with (tmp_path / "a.lock").open("w") as file:
        assert not lock(file.fileno(), tmp_path / "a.lock", wait=False)
    expected = f"this file system has no file locks ({os.strerror(code)}), so that nothing keeps two commands apart"
    assert f"{expected}: let one command at a time write to {tmp_path}" in caplog.text


def test_other_faults_of_a_lock_are_not_taken_for_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", refuse_with(errno.EBADF))
    with (tmp_path / "a.lock").open("w") as file, pytest.raises(OSError, match="Bad file descriptor"):
        lock(file.fileno(), tmp_path / "a.lock", wait=False)


def test_where_another_holds_the_lock(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.lock"
    with path.open("w") as holder, path.open("w") as other:
        assert lock(holder.fileno(), path, wait=True)
        with pytest.raises(BlockingIOError):
            lock(other.fileno(), path, wait=False)
    assert not caplog.text


@pytest.fixture
def standing(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """What may stand where a file is to be written: a pipe, a socket, a folder, and links to them."""
    places = {name: tmp_path / name for name in ("pipe", "socket", "folder", "link to the pipe", "link to nothing")}
    os.mkfifo(places["pipe"])
    places["folder"].mkdir()
    places["link to the pipe"].symlink_to(places["pipe"])
    places["link to nothing"].symlink_to(tmp_path / "nothing")
    with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(tmp_path):  # paths of sockets are short
        server.bind("socket")
        yield places


@pytest.mark.parametrize(
    ("name", "kind"),
    [("pipe", "a pipe"), ("socket", "a socket"), ("folder", "a folder"), ("link to the pipe", "a pipe")],
)
def test_what_is_no_file_is_never_replaced(standing: dict[str, Path], name: str, kind: str) -> None:
    path = standing[name]
    before = path.lstat()
    for write in (lambda: write_text(path, "x"), lambda: check_output_file(path)):
        with pytest.raises(
            ConfigError, match=rf"(?s)there is something that is no file.*where: .*{name}.*found: {kind}"
        ):
            write()
    assert (path.lstat().st_mode, path.lstat().st_ino) == (before.st_mode, before.st_ino)
    if name != "folder":
        with pytest.raises(ConfigError, match=rf"Several files are written, and the output is {kind}"):
            check_output_folder(path)
        with pytest.raises(ConfigError, match=rf"(?s)lies in what is no folder.*found: {kind}"):
            check_output_file(path / "x" / "y.csv")
    assert not list(path.parent.glob(".*partial*"))


def test_files_links_and_nothing_can_be_written(standing: dict[str, Path]) -> None:
    for name in ("link to nothing", "new", "folder/new/file.csv"):
        path = standing["folder"].parent / name
        check_output_folder(path)
        write_text(path, "x")
        write_text(path, "y")
        assert path.read_text() == "y"
    check_output_folder(standing["folder"])
    with pytest.raises(ConfigError, match="and the output is a file"):
        check_output_folder(standing["folder"].parent / "new")


def test_places_side_by_side_are_told_apart_by_what_lies_before() -> None:
    assert distinct_names([("a", "test"), ("b", "test"), ("b", "train")]) == ["a/test", "b/test", "train"]
    assert distinct_names([("/", "a", "x"), ("/", "a", "x")]) == ["x", "x"], "one place twice is one"
    assert distinct_names([("a", "b", "x"), ("c", "b", "x")]) == ["a/b/x", "c/b/x"]
    assert distinct_names([("runs", "x")], others=["x"]) == ["runs/x"]
    assert distinct_names([]) == []


def test_two_texts_never_become_one_file_name() -> None:
    assert distinct_slugs(["a/test", "b/test", "a/test"]) == ["a-test", "b-test", "a-test"]
    assert distinct_slugs(["a b", "a-b", "怒り", "喜び"]) == ["a-b", "a-b-2", "unnamed", "unnamed-2"]
    assert distinct_slugs(["Test", "test"]) == ["Test", "test-2"], "some disks do not tell them apart"


def test_a_place_without_write_access_is_refused_before_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    for check in (check_output_folder, check_output_file):
        with pytest.raises(ConfigError, match=r"there is no write access(.|\n)*no write access to"):
            check(tmp_path / "new")
    assert not (tmp_path / "new").exists()
