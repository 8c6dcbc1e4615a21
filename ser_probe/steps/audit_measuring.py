"""Measures the clips of a manifest for the audit, on all processors: each file is opened and decoded once."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ser_probe.audio.measured_clip import MeasuredClip, try_clip
from ser_probe.data.manifest import Manifest
from ser_probe.errors import ManifestError
from ser_probe.runtime import SILENT, Progress, counting
from ser_probe.steps.clip_pool import work_on_clips

NO_FRAMES = np.zeros(0, dtype=np.uint32)

PROPERTIES = (
    "duration_s", "leading_silence_s", "trailing_silence_s", "longest_zeros_s", "zeros_s", "rms_dbfs", "peak_dbfs",
    "dc_offset", "clipped_share", "bandwidth_hz", "noise_floor_dbfs", "file_rate_hz", "file_format", "header_bytes",
    "channels", "channel_difference_db", "silent_channel",
)  # fmt: skip
"""What is measured of a clip, in the order of the table."""


@dataclass(frozen=True, eq=False)
class MeasuredClips:
    """The clips of a manifest, measured.

    Attributes:
        properties: A row a clip in the manifest's order: path, `PROPERTIES` (NaN where the clip cannot be read), notes,
            fault and unreadable (texts, empty for none).
        clip_ids: Hash of each file's bytes, a text of its own where it cannot be read.
        audio_ids: Hash of each clip's samples, likewise.
        fingerprints: Of each clip, uint32 `[T]`.
    """

    properties: pd.DataFrame
    clip_ids: list[str]
    audio_ids: list[str]
    fingerprints: list[np.ndarray]


def measure_clips(
    manifest: Manifest, *, max_duration_s: float, workers: int | None = None, progress: Progress = SILENT
) -> MeasuredClips:
    """Measure every clip.

    Args:
        manifest: The clips.
        max_duration_s: Longest clip that is decoded, in seconds.
        workers: Processes; 0 measures here; None: one a processor, and none for few clips.
        progress: Told of each clip.

    Raises:
        SerProbeError: If a process ends, as for want of memory.
    """
    written = manifest.table["path"].tolist()
    targets = [_resolve(manifest, path) for path in written]
    measure = functools.partial(try_clip, max_duration_s=max_duration_s)
    rows, clip_ids, audio_ids, fingerprints = [], [], [], []
    with counting(progress, "measuring clips", len(written), "clips") as advance:
        for place, result in enumerate(work_on_clips(measure, targets, workers=workers)):
            rows.append(_row(written[place], result))
            nothing = f"unreadable {place}"
            clip_ids.append(nothing if isinstance(result, str) else result.clip_id)
            audio_ids.append(nothing if isinstance(result, str) else result.audio_id)
            fingerprints.append(NO_FRAMES if isinstance(result, str) else result.fingerprint)
            advance()
    columns = ["path", *PROPERTIES, "notes", "fault", "unreadable"]
    properties = pd.DataFrame(rows, columns=columns, index=manifest.table.index)
    return MeasuredClips(properties, clip_ids, audio_ids, fingerprints)


def _resolve(manifest: Manifest, written: str) -> Path | str:
    """Return where a clip lies, or why it has no place."""
    if not written:
        return "the row names no file"
    try:
        return manifest.resolve(written)
    except ManifestError as error:
        return error.line()


def _row(written: str, result: MeasuredClip | str) -> dict[str, object]:
    if isinstance(result, str):
        return {"path": written, "notes": "", "fault": "", "unreadable": result}
    notes, fault = "; ".join(result.notes), result.fault or ""
    return {"path": written, **result.properties, "notes": notes, "fault": fault, "unreadable": ""}
