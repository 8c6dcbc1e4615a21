from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ser_probe.data.manifest import Manifest
from ser_probe.data.manifest_check import ManifestReport, check_manifest
from ser_probe.errors import ManifestError, PackageError
from ser_probe.files import content_id
from ser_probe.runtime import Silent
from tests.data.conftest import Facts, look_at_wav, write_wav


def change(manifest: Manifest, **columns: object) -> Manifest:
    return dataclasses.replace(manifest, table=manifest.table.assign(**columns))


def kinds(report: ManifestReport) -> dict[str, str]:
    return dict(zip(report.rejects["path"], report.rejects["kind"], strict=True))


def test_a_sound_manifest_gains_facts_and_nothing_else(small_manifest: Manifest) -> None:
    report = check_manifest(small_manifest, look_at_wav)
    report.raise_for_faults()
    assert report.faults == report.warnings == []
    assert report.rejects.empty
    assert list(report.rejects.columns) == ["path", "kind", "reason"]
    table = report.manifest.table
    pd.testing.assert_frame_equal(table[small_manifest.table.columns], small_manifest.table)
    assert table["clip_id"].tolist() == [content_id(path) for path in small_manifest.audio_paths()]
    assert (table["duration_s"] == 0.05).all()
    assert report.summary() == "8 clips, 0.00 h of audio, 4 speakers, 2 labels"


def test_each_kind_of_useless_file_is_a_reject(
    small_manifest: Manifest, turn_to_pointers: Callable[[list[Path]], None]
) -> None:
    paths = small_manifest.audio_paths()
    paths[0].unlink()
    paths[1].write_bytes(b"RIFF nothing")
    paths[2].write_bytes(b"")
    write_wav(paths[3], n_samples=0)
    write_wav(paths[4], n_samples=399)
    write_wav(paths[5], n_samples=16_001)
    turn_to_pointers([paths[6]])
    report = check_manifest(small_manifest, look_at_wav, max_duration_s=1)
    assert list(kinds(report).values()) == [
        "missing", "unreadable", "empty", "empty", "too_short", "too_long", "lfs_pointer"
    ]  # fmt: skip
    reasons = report.rejects["reason"]
    for reason, part in zip(
        reasons,
        ["no such file below", "cannot be decoded", "no bytes", "no samples", "24.94 ms", "longer than 1 s", "git lfs"],
        strict=True,
    ):
        assert part in reason
        assert "\n" not in reason
    assert "1 of 8 files are Git LFS pointers, not audio: run `git lfs install`" in report.warnings[0]
    assert report.manifest.table["path"].tolist() == ["04-NA.wav"]
    assert "7 clips left out: 2 empty" in report.summary()


def test_the_shortest_usable_clip_has_400_samples(small_manifest: Manifest) -> None:
    write_wav(small_manifest.audio_paths()[0], n_samples=400)
    assert check_manifest(small_manifest, look_at_wav).rejects.empty


def test_paths_that_cannot_be_files(small_manifest: Manifest) -> None:
    (small_manifest.audio_root / "folder.wav").mkdir()
    paths = [*small_manifest.table["path"]]
    paths[:5] = ["../up.wav", "folder.wav", "nowhere\\a.wav", "nul\0.wav", ""]
    report = check_manifest(change(small_manifest, path=paths), look_at_wav)
    reasons = dict(zip(report.rejects["path"], report.rejects["reason"], strict=True))
    assert "climbs out of the audio root" in reasons["../up.wav"]
    assert reasons["folder.wav"] == "it is not a file"
    assert "write paths with /" in reasons["nowhere\\a.wav"]
    assert "nul\0.wav" in reasons
    assert reasons[""] == "the row names no file"


def test_strict_makes_a_reject_a_fault(small_manifest: Manifest) -> None:
    small_manifest.audio_paths()[0].unlink()
    assert check_manifest(small_manifest, look_at_wav).faults == []
    with pytest.raises(ManifestError, match=r"1 fault\n  - 01-anger.wav: no such file"):
        check_manifest(small_manifest, look_at_wav, strict=True).raise_for_faults()


def test_no_usable_clip_is_a_fault(small_manifest: Manifest, turn_to_pointers: Callable[[list[Path]], None]) -> None:
    turn_to_pointers(small_manifest.audio_paths())
    report = check_manifest(small_manifest, look_at_wav)
    with pytest.raises(ManifestError, match=r"no clip can be used: 8 lfs_pointer, such as 01-anger.wav: a Git LFS"):
        report.raise_for_faults()
    assert len(report.faults) == 1


def test_all_structural_faults_come_at_once(small_manifest: Manifest) -> None:
    table = small_manifest.table.assign(
        label=["anger", "", "anger", "NA", "anger", "NA", "anger", "joy"],
        speaker=["01", "01", "02", "02", "03", "01", "", "04"],
        gender=["female", "female", "male", "male", "female", "male", "male", ""],
        arousal=["1", "high", "", "2", "3", "low", "1", "1"],
        duration_s=1.0,
    )
    report = check_manifest(dataclasses.replace(small_manifest, table=table), look_at_wav)
    assert report.faults == [
        "column 'label' is empty in row 3",
        "column 'speaker' is empty in row 8",
        "column 'arousal' must hold numbers; found 'high', 'low' in rows 3, 7",
        "speaker '01' appears with 2 genders: female in 2 clips, male in 1 clip; mend the column 'gender', "
        "or tell two corpora apart by a column 'corpus'",
        "label 'joy' has 1 speaker; at least 2 are needed to test on a speaker not trained on",
    ]
    with pytest.raises(ManifestError, match="The manifest cannot be used: 5 faults"):
        report.raise_for_faults()
    assert report.summary().count("fault: ") == 5


def test_missing_columns_are_guessed(small_manifest: Manifest) -> None:
    table = small_manifest.table.rename(columns={"path": "file", "label": "labels", "speaker": "speakers"})
    report = check_manifest(dataclasses.replace(small_manifest, table=table), look_at_wav)
    assert report.faults == [
        "column 'path' is missing; known: file, gender, labels, speakers",
        "column 'label' (or 'class_id' or 'emotion') is missing; did you mean 'labels'?",
        "column 'speaker' (or 'actor') is missing; did you mean 'speakers'?",
    ]


def test_extraction_needs_paths_alone(small_manifest: Manifest) -> None:
    bare = dataclasses.replace(small_manifest, table=small_manifest.table[["path"]])
    assert check_manifest(bare, look_at_wav, for_learning=False).faults == []
    assert len(check_manifest(bare, look_at_wav).faults) == 2


def test_no_rows(small_manifest: Manifest) -> None:
    empty = dataclasses.replace(small_manifest, table=small_manifest.table.iloc[:0])
    assert check_manifest(empty, look_at_wav).faults == ["the manifest has no rows"]


def test_one_label_only(small_manifest: Manifest) -> None:
    assert check_manifest(change(small_manifest, label="anger"), look_at_wav).faults == [
        "there is only one label, 'anger'"
    ]


def test_a_label_may_lose_its_second_speaker_to_rejects(small_manifest: Manifest) -> None:
    table = small_manifest.table.assign(label=["anger", "joy", *["anger"] * 5, "joy"])
    manifest = dataclasses.replace(small_manifest, table=table)
    assert check_manifest(manifest, look_at_wav).faults == []
    manifest.audio_paths()[7].unlink()
    assert "label 'joy' has 1 speaker" in check_manifest(manifest, look_at_wav).faults[0]


def test_equal_clips_with_equal_labels_are_kept_once(small_manifest: Manifest) -> None:
    table = pd.concat([small_manifest.table, small_manifest.table.iloc[[0]]])
    report = check_manifest(dataclasses.replace(small_manifest, table=table), look_at_wav)
    assert report.faults == []
    assert report.warnings == ["1 clip repeats the audio of another and is left out"]
    assert report.rejects["reason"].tolist() == ["the same audio as 01-anger.wav"]
    assert len(report.manifest) == 8


def test_equal_clips_that_contradict_each_other_are_a_fault(small_manifest: Manifest) -> None:
    paths = small_manifest.audio_paths()
    paths[1].write_bytes(paths[0].read_bytes())  # another label
    paths[6].write_bytes(paths[4].read_bytes())  # another speaker
    report = check_manifest(small_manifest, look_at_wav)
    assert report.faults == [
        "the same audio has labels NA, anger: 01-anger.wav, 01-NA.wav",
        "the same audio has speakers 03, 04: 03-anger.wav, 04-anger.wav",
    ]
    assert check_manifest(small_manifest, look_at_wav, for_learning=False).faults == []


def test_one_id_in_two_corpora_is_two_people(small_manifest: Manifest) -> None:
    report = check_manifest(change(small_manifest, corpus=["a"] * 7 + ["b"], gender=""), look_at_wav)
    assert report.manifest.table["speaker"].tolist() == ["01", "01", "02", "02", "03", "03", "a/04", "b/04"]
    assert "'04' are in the corpora 'a' and 'b' and count as different people, named as 'a/04'" in report.warnings[0]
    assert report.faults == []


def test_own_ids_are_kept_under_another_name(small_manifest: Manifest) -> None:
    own = [f"c{number}" for number in range(8)]
    report = check_manifest(change(small_manifest, clip_id=own, own_clip_id="x"), look_at_wav)
    assert report.manifest.table["own_clip_id_2"].tolist() == own
    assert "column 'clip_id' is kept as 'own_clip_id_2'" in report.warnings[0]
    again = check_manifest(report.manifest, look_at_wav)
    assert again.warnings == report.warnings
    assert list(again.manifest.table.columns) == list(report.manifest.table.columns)


def test_another_length_than_stated_is_told(small_manifest: Manifest) -> None:
    stated = [0.05, 0.06, 2.0, 0.05, float("nan"), 0.05, 0.05, 0.05]
    report = check_manifest(change(small_manifest, duration_s=stated), look_at_wav)
    assert report.warnings == [
        "1 clip not as long as the manifest says: 02-anger.wav (2 s, measured 0.05 s)"
    ]  # fmt: skip
    assert (report.manifest.table["duration_s"] == 0.05).all()


def test_infinite_targets_are_a_fault(small_manifest: Manifest) -> None:
    report = check_manifest(change(small_manifest, arousal=[1.0, float("inf"), *[2.0] * 6]), look_at_wav)
    assert report.faults == ["column 'arousal' must hold finite numbers; infinite in row 3"]


def test_what_was_read_otherwise_is_among_the_warnings(small_manifest: Manifest) -> None:
    table = small_manifest.table.assign(label=["anger", "NA", "Anger", "NA", "anger", "NA", "ANGER", "NA"])
    manifest = dataclasses.replace(small_manifest, table=table, notes=("the sheet 'a' is read",))
    report = check_manifest(manifest, look_at_wav)
    assert report.warnings[0] == "the sheet 'a' is read"
    assert "differ by spelling alone" in report.warnings[1]
    assert report.manifest.table["label"].unique().tolist() == ["anger", "NA"]
    assert "warning: the sheet 'a' is read" in report.summary()


def test_rejects_do_not_depend_on_the_number_of_threads(small_manifest: Manifest) -> None:
    for path in small_manifest.audio_paths()[::2]:
        path.unlink()
    one, many = (check_manifest(small_manifest, look_at_wav, n_threads=n) for n in (1, 8))
    pd.testing.assert_frame_equal(one.rejects, many.rejects)
    pd.testing.assert_frame_equal(one.manifest.table, many.manifest.table)


class Counter(Silent):
    def __init__(self) -> None:
        self.done, self.total, self.finished = 0.0, 0.0, False

    def start(self, what: str, total: float, unit: str) -> None:
        self.total = total

    def advance(self, amount: float = 1, **fields: object) -> None:
        self.done += amount

    def finish(self) -> None:
        self.finished = True


def test_progress_hears_of_every_file(small_manifest: Manifest) -> None:
    small_manifest.audio_paths()[3].unlink()
    progress = Counter()
    check_manifest(small_manifest, look_at_wav, progress=progress)
    assert (progress.done, progress.total, progress.finished) == (8, 8, True)


def test_an_interrupt_does_not_wait_for_the_rest(small_manifest: Manifest) -> None:
    looked_at = []
    gate = threading.Event()

    def look(path: Path) -> Facts:
        looked_at.append(path)
        if len(looked_at) == 1:
            raise KeyboardInterrupt
        gate.wait(timeout=0.2)
        return look_at_wav(path)

    progress = Counter()
    with pytest.raises(KeyboardInterrupt):
        check_manifest(small_manifest, look, n_threads=1, progress=progress)
    assert len(looked_at) < 8
    assert progress.finished


def test_the_same_audio_in_another_container_is_a_copy(small_manifest: Manifest) -> None:
    """Known by what is heard, where the files were decoded; two labels for it are a fault as for equal files."""

    def hear(path: Path) -> Facts:
        facts = look_at_wav(path)
        return dataclasses.replace(facts, audio_id="same") if path.name in ("01-anger.wav", "01-NA.wav") else facts

    report = check_manifest(small_manifest, hear, for_learning=False)
    assert kinds(report) == {"01-NA.wav": "duplicate"}
    assert report.rejects["reason"].tolist() == ["the same audio as 01-anger.wav"]
    assert check_manifest(small_manifest, hear).faults[0].startswith("the same audio has labels NA, anger: 01-anger")


def test_how_odd_headers_were_read_is_said(small_manifest: Manifest) -> None:
    def hear(path: Path) -> Facts:
        return dataclasses.replace(look_at_wav(path), notes=("the header states no size",))

    warnings = check_manifest(small_manifest, hear).warnings
    assert warnings[0] == "01-anger.wav: the header states no size"
    assert warnings[-1] == "3 more clips have such headers"
    assert len(warnings) == 6


def test_a_library_that_cannot_be_loaded_is_no_fault_of_a_clip(small_manifest: Manifest) -> None:
    for error in (ImportError("undefined symbol"), OSError("cannot load library"), MemoryError()):

        def fail(path: Path, error: BaseException = error) -> Facts:
            raise error

        with pytest.raises(type(error)):
            check_manifest(small_manifest, fail)


def test_a_package_that_cannot_be_loaded_is_no_fault_of_the_clips(
    small_manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "brush.py").write_text("raise OSError('libbrush.so: undefined symbol: x')")

    def look(path: Path) -> Facts:
        import brush  # noqa: F401

        return look_at_wav(path)

    with pytest.raises(PackageError, match="The package 'brush' is installed, but cannot be loaded"):
        check_manifest(small_manifest, look)
