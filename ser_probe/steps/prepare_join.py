"""The verb `prepare join`: several manifests -> one, with what was renamed, left out and kept apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ser_probe.data.joined_labels import COMMON
from ser_probe.data.joining import AUTO, join_manifests, relative_paths
from ser_probe.data.manifest import check_suffix, read_manifest, write_manifest
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.tables import write_csv


def join_files(
    files: Sequence[Path],
    output: Path,
    *,
    labels: str | Sequence[str] = COMMON,
    label_map: Mapping[str, str] | None = None,
    splits: str = AUTO,
    audio_root: Path | None = None,
) -> Outcome:
    """Write one manifest of the clips of several; what was left out lies beside it.

    Args:
        files: The manifests.
        output: The manifest to write.
        labels: `common` (the labels that every corpus has), `all`, or a list.
        label_map: New name by label, or by `corpus:label`; `-` leaves a label out.
        splits: `keep`, `drop`, or `auto` (kept where every manifest has them).
        audio_root: The folder that paths are to start from; None: the output's own where all clips lie below it, else
            paths are absolute.

    Raises:
        ManifestError: If a file cannot be read, or they cannot be joined so.
    """
    check_suffix(output)
    joined = join_manifests([read_manifest(path) for path in files], labels=labels, label_map=label_map, splits=splits)
    paths, how = relative_paths(list(joined.table["path"]), audio_root, output.parent)
    table = joined.table.assign(path=paths)
    written = [write_manifest(table, output)]
    if len(joined.left_out):
        left_out = output.with_name(f"{output.stem}.left_out.csv")
        write_csv(joined.left_out, left_out)
        written.insert(0, left_out)
    summary: dict[str, object] = {
        "clips": f"{len(table)} of {table['corpus'].nunique()} corpora, "
        f"{table['speaker'].nunique() if 'speaker' in table else 'no'} speakers, {table['label'].nunique()} labels"
    }
    for corpus, rows in table.groupby("corpus"):
        counts = rows["label"].value_counts().sort_index()
        summary[f"labels of {corpus}"] = ", ".join(f"{label} {n}" for label, n in counts.items())
    for name, lines in joined.facts.items():
        if lines:
            summary[name] = "\n  ".join(["", *lines] if len(lines) > 1 else lines)
    summary["paths"] = how
    return Outcome(tuple(written), summary, warnings=joined.notes)
