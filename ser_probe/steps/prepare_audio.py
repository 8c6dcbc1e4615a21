"""The verb `prepare audio`: a tree of clips, levelled, trimmed and resampled, beside the originals.

What is written is what extraction would hear with the same settings. A run that was stopped, even killed, goes on
where it was: each clip is written in one step, and a line of the folder's journal says that it is done.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ser_probe.audio.load import AudioSpec
from ser_probe.audio.written_clip import WrittenClip, write_clip
from ser_probe.config import AudioConfig
from ser_probe.data.corpora.clips import audio_files
from ser_probe.data.manifest import Manifest, read_manifest, write_manifest
from ser_probe.errors import AudioError, ConfigError, ManifestError, shorten
from ser_probe.files import atomic_path, lock, read_json, write_json
from ser_probe.output_paths import check_output_folder
from ser_probe.runtime import SILENT, Progress, counting
from ser_probe.steps.clip_pool import work_on_clips
from ser_probe.steps.extraction_settings import audio_spec
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.tables import write_csv, write_rejects

SETTINGS, JOURNAL, REPORT = "preparation.json", ".preparation.jsonl", "preparation.csv"
_NO_LONGER_TRUE = ("duration_s", "clip_id", "audio_id")
"""Columns of a manifest that were about the original files."""
_TOLERANCE_LU = 0.1


@dataclass(frozen=True)
class _Task:
    """A clip to write.

    Attributes:
        path: Its path, as the manifest has it.
        source: Its file.
        target: The file to write.
        place: The target below the output folder, with / between folders.
        stamp: Size in bytes and time of change of the source.
    """

    path: str
    source: Path
    target: Path
    place: str
    stamp: tuple[int, int]


def prepare_audio(
    source: Path,
    output: Path,
    audio: AudioConfig,
    *,
    sample_rate_hz: int = 16_000,
    sample_format: str = "float32",
    audio_root: Path | None = None,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> Outcome:
    """Write prepared copies of the clips of a folder or manifest, a manifest of them, and what was done to each.

    Args:
        source: A folder, all of whose audio files are prepared, or a manifest.
        output: Folder of the copies; their paths below it are those of the originals below their root.
        audio: Loudness, highest sample, trim, and the longest clip that is taken.
        sample_rate_hz: Sampling rate to write, in Hz.
        sample_format: A key of `SAMPLE_FORMATS`.
        audio_root: Folder that a manifest's paths start from.
        workers: Processes; None: one a processor.
        progress: Told of each clip.

    Raises:
        ConfigError: If the output lies among the originals, or holds clips that were prepared otherwise.
        ManifestError: If the manifest cannot be read, or names clips outside its root.
    """
    spec = dataclasses.replace(audio_spec(audio), sample_rate_hz=sample_rate_hz)
    check_output_folder(output)
    manifest = _clips_of(source, output, audio_root)
    for note in manifest.notes:
        progress.say(f"warning: {note}")
    output.mkdir(parents=True, exist_ok=True)
    with _claim(output):
        _settle_settings(output, spec, sample_format)
        tasks, rejects = _plan(manifest, output)
        rows = _write_all(tasks, output, spec, sample_format, workers, rejects, progress)
        places = {task.path: task.place for task in tasks}
        return _write_tables(manifest, places, rows, rejects, output, spec)


def _clips_of(source: Path, output: Path, audio_root: Path | None) -> Manifest:
    if not source.is_dir():
        return read_manifest(source, audio_root=audio_root)
    if Path(os.path.abspath(output)).is_relative_to(os.path.abspath(source)):
        raise ConfigError("The output lies in the folder of the originals", where=output, fix="name a folder beside it")
    paths = sorted(audio_files(source))
    if not paths:
        raise ManifestError("The folder holds no audio file", where=source)
    return Manifest(pd.DataFrame({"path": paths}), source)


@contextlib.contextmanager
def _claim(output: Path) -> Iterator[None]:
    """Keep two commands apart that write to one folder.

    Raises:
        ConfigError: If another one does.
    """
    path = output / ".preparation.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            lock(descriptor, path, wait=False)
        except BlockingIOError as error:
            raise ConfigError(
                "Another process prepares clips into this folder", where=output, fix="wait for it"
            ) from error
        yield
    finally:
        os.close(descriptor)


def _settle_settings(output: Path, spec: AudioSpec, sample_format: str) -> None:
    """Note how clips are prepared, and refuse a folder of clips that were prepared otherwise."""
    path = output / SETTINGS
    settings: dict[str, Any] = {"audio": spec.ingredients(), "sample_format": sample_format}
    if path.exists():
        written = read_json(path, entries={"audio": dict, "sample_format": str})
        if written != json.loads(json.dumps(settings)):
            differing = [key for key, value in settings["audio"].items() if written["audio"].get(key) != value]
            differing += [key for key in written["audio"] if key not in settings["audio"]]
            raise ConfigError(
                "The folder holds clips that were prepared otherwise", where=path,
                found=f"another {', '.join(differing) or 'sample format'}", fix="name another folder",
            )  # fmt: skip
    elif others := sorted(path.name for path in output.iterdir() if not path.name.startswith(".")):
        raise ConfigError(
            "The output folder holds other files", where=output, found=shorten(others, 3), fix="name a new folder"
        )
    else:
        write_json(path, settings)


def _plan(manifest: Manifest, output: Path) -> tuple[list[_Task], dict[str, str]]:
    """Return what is to be written, each file once, and why others cannot be, by path.

    Raises:
        ManifestError: If clips lie outside the root, so that they have no place below the output.
    """
    root, sources, rejects = Path(os.path.abspath(manifest.audio_root)), {}, {}
    outside = []
    for written in dict.fromkeys(manifest.table["path"]):
        file = Path(os.path.abspath(manifest.resolve(written)))
        if not file.is_relative_to(root):
            outside.append(written)
        elif not file.is_file():
            rejects[written] = "no such file"
        else:
            sources[written] = file
    if outside:
        raise ManifestError(
            f"{len(outside)} clips lie outside the audio root, so that they have no place in the new tree", where=root,
            found=shorten(outside, 3), fix="name the folder above all clips with --audio-root",
        )  # fmt: skip
    stems = Counter(file.relative_to(root).with_suffix("") for file in set(sources.values()))
    tasks = []
    for written, file in sources.items():
        inside = file.relative_to(root)
        # `a.mp3` beside `a.wav` are two clips.
        name = f"{inside.name}.wav" if stems[inside.with_suffix("")] > 1 else f"{inside.stem}.wav"
        place = inside.with_name(name).as_posix()
        if output.resolve() / place == file.resolve():
            raise ConfigError("The output would replace an original", where=file, fix="name another folder")
        facts = file.stat()
        tasks.append(_Task(written, file, output / place, place, (facts.st_size, facts.st_mtime_ns)))
    return tasks, rejects


def _write_all(
    tasks: list[_Task],
    output: Path,
    spec: AudioSpec,
    sample_format: str,
    workers: int | None,
    rejects: dict[str, str],
    progress: Progress,
) -> dict[str, dict[str, Any]]:
    """Write what is not yet there; return what was done by path, and add the clips that cannot be used to `rejects`."""
    done = _read_journal(output)
    rows = {task.path: done[task.place] for task in tasks if _is_done(task, done)}
    left = [task for task in tasks if task.path not in rows]
    if rows:
        progress.say(f"{len(rows)} of {len(tasks)} clips are there already")
    work = functools.partial(_write, spec=spec, sample_format=sample_format)
    with (
        counting(progress, "preparing clips", len(left), "clips") as advance,
        open(output / JOURNAL, "a", encoding="utf-8") as journal,
    ):
        for task, result in zip(left, work_on_clips(work, left, workers=workers), strict=True):
            if isinstance(result, str):
                rejects[task.path] = result
            else:
                rows[task.path] = _row(task, result)
                journal.write(json.dumps({"place": task.place, **rows[task.path]}) + "\n")
                journal.flush()
            advance()
    return rows


def _write(task: _Task, spec: AudioSpec, sample_format: str) -> WrittenClip | str:
    try:
        return write_clip(task.source, task.target, spec, sample_format)
    except AudioError as error:
        return error.line()


def _row(task: _Task, clip: WrittenClip) -> dict[str, Any]:
    facts = asdict(clip)
    done = facts.pop("preparation")
    return {
        **done,
        **facts,
        "notes": "; ".join(clip.notes),
        "stamp": list(task.stamp),
        "bytes": task.target.stat().st_size,
    }


def _is_done(task: _Task, done: Mapping[str, Mapping[str, Any]]) -> bool:
    row = done.get(task.place)
    if row is None or row["stamp"] != list(task.stamp) or not task.target.is_file():
        return False
    return row.get("bytes") == task.target.stat().st_size


def _read_journal(output: Path) -> dict[str, dict[str, Any]]:
    """Return what was done before, by place; a line that a killed run left half-written counts for nothing."""
    rows: dict[str, dict[str, Any]] = {}
    try:
        lines = (output / JOURNAL).read_text("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return rows
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError, KeyError, TypeError):
            row = json.loads(line)
            if isinstance(row["stamp"], list):
                rows[row.pop("place")] = row
    # Written anew, so that a half-written last line is not continued by the next.
    with atomic_path(output / JOURNAL) as temporary:
        temporary.write_text("".join(json.dumps({"place": place, **row}) + "\n" for place, row in rows.items()))
    return rows


def _write_tables(
    manifest: Manifest,
    places: dict[str, str],
    rows: dict[str, dict[str, Any]],
    rejects: dict[str, str],
    output: Path,
    spec: AudioSpec,
) -> Outcome:
    kept = manifest.table[manifest.table["path"].isin(rows)]
    originals = kept["path"].tolist()
    table = kept.drop(columns=[name for name in _NO_LONGER_TRUE if name in kept]).assign(
        path=[places[path] for path in originals], original_path=originals
    )
    report = pd.DataFrame(
        [{"path": places[path], "original_path": path, **row} for path, row in rows.items()],
        columns=["path", "original_path", *_REPORT_COLUMNS],
    )
    files = [output / REPORT, write_manifest(table.reset_index(drop=True), output / "manifest.csv")]
    write_csv(report, output / REPORT)
    reasons = pd.DataFrame(rejects.items(), columns=["path", "reason"])
    rejects_path = write_rejects(reasons, output / "rejects.csv")
    return Outcome(
        tuple(files), _summary(report, spec), n_rejected=len(rejects), rejects=rejects_path,
        warnings=tuple(_misses(report, spec)),
    )  # fmt: skip


_REPORT_COLUMNS = (
    "stored_rate_hz", "stored_channels", "stored_duration_s", "duration_s", "removed_before_s", "removed_after_s",
    "gain_db", "loudness_lufs", "peak_dbfs", "notes",
)  # fmt: skip


def _summary(report: pd.DataFrame, spec: AudioSpec) -> dict[str, object]:
    if not len(report):
        return {"clips": "none"}
    rates = ", ".join(f"{rate} Hz" for rate in sorted(set(report["stored_rate_hz"])))
    removed_s = (report["removed_before_s"] + report["removed_after_s"]).sum()
    total_s = report["stored_duration_s"].sum()
    facts: dict[str, object] = {
        "clips": f"{len(report)}, {report['duration_s'].sum() / 3600:.2f} h of audio",
        "sampling rate": f"{spec.sample_rate_hz} Hz (from {rates})",
    }
    if spec.trim is not None:
        facts["silence removed"] = f"{removed_s:.1f} s of {total_s:.1f} s ({removed_s / total_s:.1%})"
    if spec.loudness_lufs is not None:
        met = (report["loudness_lufs"] - spec.loudness_lufs).abs() <= _TOLERANCE_LU
        facts["loudness"] = (
            f"{met.sum()} of {len(report)} clips within {_TOLERANCE_LU} LU of {spec.loudness_lufs:g} LUFS"
        )
    return facts


def _misses(report: pd.DataFrame, spec: AudioSpec) -> Iterator[str]:
    """Yield which clips do not have the loudness that was asked for."""
    if spec.loudness_lufs is None or not len(report):
        return
    missed = report[~((report["loudness_lufs"] - spec.loudness_lufs).abs() <= _TOLERANCE_LU)]
    if len(missed):
        listed = [f"{row.path} {row.loudness_lufs:.1f}" for row in missed.itertuples()]
        yield (
            f"{len(missed)} clips are not at {spec.loudness_lufs:g} LUFS, since the measure's gate counts other parts "
            f"of them at another level, or for the reason in the notes of {REPORT}: {shorten(listed, 5)}"
        )
