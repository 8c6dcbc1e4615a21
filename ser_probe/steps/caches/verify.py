"""The verb `cache verify`: whether files are what was written, and whether their model still gives the same."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ser_probe.embeddings.store import EmbeddingCache
from ser_probe.errors import BackboneError, CacheError
from ser_probe.files import content_id
from ser_probe.models.catalogue import TINY_CONFIGS
from ser_probe.runtime import SILENT, Progress
from ser_probe.steps.caches.files import find_caches

if TYPE_CHECKING:
    from ser_probe.embeddings.passes import ClipList, ExtractionSettings
    from ser_probe.models.backbone import Backbone

_LISTED_FAULTS = 5
_RANDOM_WEIGHTS = re.compile(r"(?P<name>.*) \(random weights, seed (?P<seed>\d+)\)")


class NotAtHandError(Exception):
    """What a re-run needs is not on this machine."""


def verify_caches(
    paths: Sequence[Path],
    *,
    rerun: int = 0,
    model: str | None = None,
    audio_root: Path | None = None,
    progress: Progress = SILENT,
) -> list[dict[str, Any]]:
    """Read each file again against its checksums, and compute some of its clips again.

    Args:
        paths: Files, or folders of them.
        rerun: Clips to draw from each file and compute again, each alone.
        model: The model they were made with; by default what the file names, if that is on this machine.
        audio_root: Folder that the clips' paths start from; by default what the file names.
        progress: Told of files.

    Returns:
        A row a file: `file`, `state` (ok, damaged, differs or failed), `detail`, and `rerun`, what came of that.
    """
    rows = []
    files = find_caches(paths)
    progress.start("verify", len(files), "files")
    for path in files:
        row = _check_bytes(path)
        if rerun and row["state"] == "ok":
            row |= _rerun(path, rerun, model, audio_root)
        rows.append(row)
        progress.advance()
    progress.finish()
    return rows


def _check_bytes(path: Path) -> dict[str, Any]:
    try:
        with EmbeddingCache.open(path) as cache:
            faults = cache.verify()
            whole = f"{len(cache)} clips, {len(cache.layer_names)} layers"
    except CacheError as error:
        faults = [str(error).replace("\n", ";")]
    shown = faults[:_LISTED_FAULTS] + ([f"{len(faults) - _LISTED_FAULTS} more"] if faults[_LISTED_FAULTS:] else [])
    detail = "; ".join(shown) or whole
    return {"file": str(path), "state": "damaged" if faults else "ok", "detail": detail, "rerun": "", "faults": faults}


def _rerun(path: Path, n_clips: int, model: str | None, audio_root: Path | None) -> dict[str, Any]:
    """Compute clips again; what is not at hand is no fault unless it was named."""
    from ser_probe.embeddings.verification import allowed_difference, verify_cache

    with EmbeddingCache.open(path) as cache:
        try:
            backbone, settings = _find_model(cache, model, n_clips)
            clips = _find_clips(cache, n_clips, audio_root)
        except NotAtHandError as reason:
            named = model is not None or audio_root is not None
            return {"rerun": f"not run: {reason}", "state": "failed" if named else "ok"}
    difference, allowed = verify_cache(path, backbone, clips, settings), allowed_difference(settings)
    text = f"{len(clips.paths)} clips differ by at most {difference:.1e}, {allowed:.1e} allowed"
    return {"rerun": text, "state": "ok" if difference <= allowed else "differs"}


def _find_model(cache: EmbeddingCache, model: str | None, n_clips: int) -> tuple[Backbone, ExtractionSettings]:
    """Load the model that a file was made with, and the settings; both must give the file's key."""
    from ser_probe.embeddings.extract import embedding_key
    from ser_probe.embeddings.key import explain_difference
    from ser_probe.models.loading import load_backbone

    if cache.key.kind != "embeddings":
        raise NotAtHandError(f"the file holds {cache.key.kind} and no model's embeddings")
    recorded, seed = str(cache.attributes.get("model", "")), None
    name = model or str(cache.attributes.get("source", recorded))
    if model is None and (match := _RANDOM_WEIGHTS.fullmatch(recorded)):
        name, seed = str(cache.attributes.get("source", match["name"])), int(match["seed"])
    revision = cache.attributes.get("revision") if model is None else None
    if model is None and not _is_local(name, revision):
        raise NotAtHandError(f"the model {name!r} is not on this machine; name it with --model")
    try:
        settings = _settings_of(cache, n_clips)
    except (KeyError, TypeError, ValueError) as error:
        raise NotAtHandError("the file's key does not tell how its audio was prepared") from error
    try:
        backbone = load_backbone(name, revision=revision, random_weights=seed)
    except BackboneError as error:
        raise NotAtHandError(f"the model cannot be loaded: {error.what}") from error
    differences = explain_difference(cache.key, embedding_key(backbone, settings, cache.key.pooling))
    if differences:
        raise NotAtHandError(f"the model {name!r} here is not the one of the file: {'; '.join(differences)}")
    return backbone, settings


def _is_local(name: str, revision: str | None) -> bool:
    """Tell whether a model can be loaded without a download."""
    if name in TINY_CONFIGS or Path(name).is_dir():
        return True
    import huggingface_hub

    try:
        return isinstance(huggingface_hub.try_to_load_from_cache(name, "config.json", revision=revision), str)
    except ValueError:  # no name of a repository
        return False


def _settings_of(cache: EmbeddingCache, n_clips: int) -> ExtractionSettings:
    """Return the settings that a file's key tells."""
    from ser_probe.audio.load import AudioSpec
    from ser_probe.embeddings.passes import ExtractionSettings
    from ser_probe.models.chunks import Chunking

    audio, cut = cache.key.audio, cache.key.extra.get("long_clips")
    longest_s = float(cache.clips["duration_s"].max()) + 1.0
    loudness = audio.get("loudness")
    return ExtractionSettings(
        audio=AudioSpec(
            sample_rate_hz=audio["sample_rate_hz"],
            loudness_lufs=loudness and loudness["target_lufs"],
            peak_dbfs=audio.get("peak_dbfs"),
            trim=audio["trim"]["by"] if audio.get("trim") else None,
            max_duration_s=max(longest_s, AudioSpec().max_duration_s),
        ),
        precision=cache.key.precision,
        storage=cache.key.storage,
        chunking=Chunking(cut["chunk_s"], cut["overlap_s"]) if cut else None,
        verify=n_clips,
    )


def _find_clips(cache: EmbeddingCache, n_clips: int, audio_root: Path | None) -> ClipList:
    """Draw clips whose audio is here and is still what it was."""
    from ser_probe.embeddings.passes import ClipList

    root = audio_root or Path(str(cache.attributes.get("audio_root") or "."))
    rows, paths = [], []
    for row in np.random.default_rng().permutation(len(cache)):
        path = root / str(cache.clips["path"].iloc[row])
        if path.is_file() and content_id(path) == cache.clips["clip_id"].iloc[row]:
            rows.append(int(row))
            paths.append(path)
        if len(rows) == n_clips:
            break
    if not rows:
        raise NotAtHandError(f"no clip's audio is under {root} as it was; name its folder with --audio-root")
    return ClipList(cache.clips.iloc[rows].reset_index(drop=True), paths)
