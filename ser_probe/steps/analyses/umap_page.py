"""The analysis `umap`, its page: the clips' facts and their audio, linked or embedded."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from ser_probe.audio.preview import PREVIEW_TYPE, encode_preview
from ser_probe.config import UmapConfig
from ser_probe.data.manifest import resolve_path
from ser_probe.errors import AudioError, ManifestError
from ser_probe.report.umap.page import PageAudio, write_umap_page
from ser_probe.runtime import Progress

# What a point shows first; other columns of numbers and names follow. Ids and row counts are of no use to a reader.
_FIRST = ("path", "label", "speaker", "gender", "predicted", "correct", "split", "corpus", "sentence", "duration_s")
_LEFT_OUT = ("clip_id", "n_frames")
_BYTES_PER_MB = 1_000_000


def write_page(
    path: Path,
    table: pd.DataFrame,
    clips: pd.DataFrame,
    colours: Sequence[str],
    config: UmapConfig,
    *,
    audio_root: Path | None,
    progress: Progress,
) -> tuple[Path, str]:
    """Write `umap.html` for the maps of a table.

    Args:
        path: Where to.
        table: The table `umap`.
        clips: The joined clips, N rows in the order of the table's.
        colours: Columns of the table that colour.
        config: Whether and how much audio is embedded.
        audio_root: Folder that the clips' paths start from; nothing outside it is touched, but what a path in the
            manifest names in full. None: no clip is played.
        progress: Told of the clips that are embedded.

    Returns:
        The path, and what is said of the audio.
    """
    facts = clips.copy()
    for name in ("predicted", "correct"):
        if name in table:
            facts[name] = table[name].to_numpy()[: len(clips)]
    shown = [name for name in _FIRST if name in facts]
    shown += [name for name in map(str, facts) if name not in (*shown, *_LEFT_OUT)]
    files = find_audio(clips, audio_root)
    audio = _embed(files, clips, path, config, progress) if config.embed_audio else _link(files, path)
    model, fit = str(table["model"].iloc[0]), str(table["fit"].iloc[0])
    how = {
        "joint": "All checkpoints of a layer are laid out together, so that a clip can be followed.",
        "reference": "Later checkpoints are placed on the first one's map: what is new in them has no place on it.",
    }[fit]
    note = f"{len(clips)} clips of {model}. {how}"
    write_umap_page(path, table, facts[shown], colours=colours, audio=audio, title=f"UMAP of {model}", note=note)
    return path, audio.note


def find_audio(clips: pd.DataFrame, audio_root: Path | None) -> list[Path | None]:
    """Return the clips' files; None for one that is not there, or whose path climbs out of the audio root."""
    if audio_root is None or "path" not in clips:
        return [None] * len(clips)
    files: list[Path | None] = []
    for written in clips["path"]:
        try:
            place = resolve_path(audio_root, str(written))
            files.append(place if place.is_file() else None)
        except (ManifestError, OSError, ValueError):
            files.append(None)
    return files


def link_to(place: Path, page: Path) -> str:
    """Return a file's address as seen from a page: relative, so that both can be moved together, and only a path."""
    relative = Path(os.path.relpath(place.absolute(), page.absolute().parent)).as_posix()
    # The leading dot keeps a name such as "javascript:x" from being read as anything but a path.
    return quote(relative if relative.startswith("../") else f"./{relative}")


def _link(files: Sequence[Path | None], page: Path) -> PageAudio:
    sources = [None if place is None else link_to(place, page) for place in files]
    return PageAudio(sources, _say(files, "linked: the page plays the files where they lie now"))


def _embed(
    files: Sequence[Path | None], clips: pd.DataFrame, page: Path, config: UmapConfig, progress: Progress
) -> PageAudio:
    """Return as many clips as data as the limit allows, and links for the rest."""
    limit, used, n_embedded = config.embed_mb * _BYTES_PER_MB, 0, 0
    sources = [None if place is None else link_to(place, page) for place in files]
    # In the order of a hash, so that those that fit are of all speakers and labels, and the same each time.
    ids = clips["clip_id"].astype(str).tolist()
    order = sorted(range(len(ids)), key=lambda i: hashlib.sha256(ids[i].encode()).hexdigest())
    progress.start("embedding audio", len(order), "clips")
    for i in order:
        place = files[i]
        progress.advance()
        if place is None:
            continue
        try:
            text = base64.b64encode(encode_preview(place)).decode()
        except AudioError:
            # It was decoded when it was embedded by the model: changed since, and the link will tell.
            continue
        if used + len(text) > limit:
            break
        sources[i] = f"data:{PREVIEW_TYPE};base64,{text}"
        used, n_embedded = used + len(text), n_embedded + 1
    progress.finish()
    rest = "" if n_embedded == len(ids) else f" ({n_embedded} of {len(ids)}; the others are linked)"
    return PageAudio(sources, _say(files, f"in the page{rest}, at 8 kHz"))


def _say(files: Sequence[Path | None], how: str) -> str:
    n_found = sum(place is not None for place in files)
    if not n_found:
        return "No audio was found: give the manifest with --clips, or the folder of its paths with --audio-root."
    missing = "" if n_found == len(files) else f" {len(files) - n_found} of {len(files)} files were not found."
    return f"Audio is {how}.{missing}"
