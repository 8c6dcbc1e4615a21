"""Faults of files and recordings, by their properties: unreadable, silent, clipped, or unlike the rest."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from ser_probe.analysis.audit.findings import Finding, count, listed

CLIPPED_SHARE = 0.001
"""From one sample in a thousand on clipping is heard, and is a warning; fewer samples are a note."""
DC_OFFSET = 0.01
CHANNELS_DIFFER_DB = -40.0
"""Channels whose difference is lower than this against their mean are one signal with other rounding."""
COUNTED = ("corpus", "split", "label", "speaker", "gender")


def judge_health(properties: pd.DataFrame, *, min_duration_s: float) -> list[Finding]:
    """Return the faults of files and recordings.

    Args:
        properties: A row a clip: path, those of the measuring, notes (text, empty for none), fault (text, empty for
            none), unreadable (the reason as text, empty for a clip that was measured).
        min_duration_s: Shorter clips are too short.
    """
    measured = properties[properties["unreadable"] == ""]
    findings = _with_reason(
        properties, "unreadable", "unreadable", "error", "{} cannot be read and {} left out of everything else: {}"
    )
    findings += _with_reason(measured, "fault", "unusable", "error", "{} hold{} nothing for a model to hear: {}")
    short = measured[measured["duration_s"] < min_duration_s]
    if len(short):
        words = f"{count(len(short), 'clip')} under {min_duration_s:g} s: {listed(short['path'])}."
        findings.append(Finding("health", "too_short", "warning", words, tuple(short["path"])))
    return [*findings, *_clipped(measured), *_headers(measured), *_mixed(measured), *_channels(measured)]


def count_clips(clips: pd.DataFrame) -> pd.DataFrame:
    """Return the clips of each combination that occurs of corpus, split, label, speaker and gender: column n_clips."""
    columns = [name for name in COUNTED if name in clips]
    if not columns:
        return pd.DataFrame({"n_clips": [len(clips)]})
    filled = clips[columns].fillna("").astype(str)
    return filled.groupby(columns, sort=True).size().rename("n_clips").reset_index()


def _with_reason(table: pd.DataFrame, column: str, check: str, severity: str, words: str) -> list[Finding]:
    rows = table[table[column] != ""]
    if rows.empty:
        return []
    by_reason = rows.groupby(column, sort=False)["path"]
    reasons = [f"{reason} ({listed(paths)})" for reason, paths in by_reason]
    verb = ("is" if len(rows) == 1 else "are") if check == "unreadable" else ("s" if len(rows) == 1 else "")
    sentence = words.format(count(len(rows), "clip"), verb, listed(reasons, separator="; "))
    return [Finding("health", check, severity, sentence, tuple(rows["path"]))]


def _clipped(measured: pd.DataFrame) -> list[Finding]:
    findings = []
    high = measured[measured["clipped_share"] > 0].sort_values("clipped_share", ascending=False)
    worst = [f"{row['path']} ({row['clipped_share']:.2%})" for row in high.to_dict("records")]
    if len(high):
        grave = bool((high["clipped_share"] >= CLIPPED_SHARE).any())
        reach = count(len(high), "clip reaches", "clips reach")
        words = f"{reach} full scale in runs of samples, as clipping does: {listed(worst)}."
        findings.append(Finding("health", "clipped", "warning" if grave else "note", words, tuple(high["path"])))
    offset = measured[measured["dc_offset"].abs() > DC_OFFSET]
    if len(offset):
        words = (
            f"{count(len(offset), 'clip')} have a constant offset over {DC_OFFSET:g} of full scale, up to "
            f"{offset['dc_offset'].abs().max():.3f}: a property of the recorder, not of the voice."
        )
        findings.append(Finding("health", "dc_offset", "note", words, tuple(offset["path"])))
    return findings


def _headers(measured: pd.DataFrame) -> list[Finding]:
    noted = measured[measured["notes"] != ""]
    if noted.empty:
        return []
    findings = []
    named = noted["notes"].str.contains(" named .", regex=False)
    for check, rows, what in (
        ("misnamed", noted[named], "a suffix of another format, which strict readers refuse"),
        ("header", noted[~named], "a header or content with a remark"),
    ):
        if len(rows):
            reasons = [f"{row['path']} ({row['notes']})" for row in rows.to_dict("records")]
            words = f"{count(len(rows), 'clip')} with {what}: {listed(reasons, separator='; ')}."
            findings.append(Finding("health", check, "warning", words, tuple(rows["path"])))
    return findings


def _mixed(measured: pd.DataFrame) -> list[Finding]:
    findings = []
    shown: dict[str, tuple[str, Callable[[object], str]]] = {
        "file_rate_hz": ("sampling rates", lambda value: f"{value:g} Hz"),
        "file_format": ("file formats", str),
        "channels": ("numbers of channels", lambda value: f"{value:g}"),
    }
    for column, (what, write) in shown.items():
        counts = measured[column].value_counts()
        if len(counts) > 1:
            rare = measured[measured[column] != counts.index[0]]
            each = [f"{write(value)}: {count(int(number), 'clip')}" for value, number in counts.items()]
            words = f"The clips have {len(counts)} {what}: {listed(each)}."
            findings.append(
                Finding("health", f"mixed_{column.removeprefix('file_')}", "note", words, tuple(rare["path"]))
            )
    return findings


def _channels(measured: pd.DataFrame) -> list[Finding]:
    findings = []
    silent = measured[measured["silent_channel"] > 0]
    if len(silent):
        words = (
            f"{count(len(silent), 'clip')} with a silent channel: {listed(silent['path'])}. A mean halves the level."
        )
        findings.append(Finding("health", "silent_channel", "warning", words, tuple(silent["path"])))
    differing = measured[measured["channel_difference_db"] > CHANNELS_DIFFER_DB]
    if len(differing):
        words = (
            f"{count(len(differing), 'clip')} of several channels that differ: to take the first one and to mix them "
            "down are not the same. ser-probe takes the mean."
        )
        findings.append(Finding("health", "channels_differ", "note", words, tuple(differing["path"])))
    return findings
