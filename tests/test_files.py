from __future__ import annotations

from pathlib import Path

import pytest

from ser_probe.files import (
    atomic_path,
    content_id,
    fingerprint,
    is_lfs_pointer,
    read_json,
    slug,
    write_json,
    write_text,
)


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
