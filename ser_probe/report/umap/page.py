"""Maps as one HTML file: a point shows its clip and plays it, and moves from checkpoint to checkpoint.

The page loads nothing but the audio it plays and runs nothing but its own script, whose hash its security policy names.
Whatever comes from files (labels, paths) is data: it reaches the page as JSON in which no tag can begin, and the script
writes it as text, never as markup.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from ser_probe.files import write_text
from ser_probe.report.style import NUMBER_COLOURS, class_styles, line_colours
from ser_probe.report.tables import layer_order, need
from ser_probe.report.umap.plots import class_names, is_scale

# Places are whole numbers of this many steps across a layer's map: finer than a pixel, and a third of the text.
_GRID = 10_000
_SCALE_COLOURS = 9
_MISSING = "–"


@dataclass(frozen=True)
class PageAudio:
    """How the page's clips are played.

    Args:
        sources: Per clip a relative address or a data address; None for a clip that cannot be played.
        note: What the page says of it.
    """

    sources: Sequence[str | None]
    note: str


def write_umap_page(
    path: Path,
    table: pd.DataFrame,
    clips: pd.DataFrame,
    *,
    colours: Sequence[str],
    audio: PageAudio,
    title: str = "UMAP",
    note: str = "",
) -> Path:
    """Write the maps of one model as a page that works without a network.

    Args:
        path: Where to, whole or not at all.
        table: The projection table; its rows of one layer and step are in the order of `clips`.
        clips: A row per clip, N: what a point shows (columns as text; the first ones are shown first).
        colours: Columns of `table` that colour.
        audio: Where the clips' audio is, in the order of `clips`.
        title: The page's title.
        note: How the maps were made.

    Returns:
        The path.

    Raises:
        AnalysisError: If the table is empty or lacks columns.
    """
    need(table, ["x", "y", "step", "layer", "clip_id", *colours], "umap")
    script, style = _asset("umap.js"), _asset("umap.css")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ser_probe.report"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    text = environment.get_template("umap.html.j2").render(
        title=title,
        note=note,
        script=Markup(script),
        style=Markup(style),
        script_hash=_csp_hash(script),
        style_hash=_csp_hash(style),
        data=Markup(embed_json(page_data(table, clips, colours, audio))),
    )
    write_text(path, text)
    return path


def page_data(table: pd.DataFrame, clips: pd.DataFrame, colours: Sequence[str], audio: PageAudio) -> dict[str, Any]:
    """Return what the page's script reads."""
    layers = layer_order(table["layer"])
    first = table[table["layer"] == layers[0]]
    first = first[first["step"].isna() | (first["step"] == first["step"].iloc[0])]
    return {
        "fields": [str(name) for name in clips.columns],
        "clips": [[_text(value) for value in row] for row in clips.itertuples(index=False)],
        "colours": [_colouring(first, name) for name in colours],
        "maps": [_map_data(table[table["layer"] == layer], layer) for layer in layers],
        "audio": list(audio.sources),
        "audioNote": audio.note,
        "grid": _GRID,
    }


def embed_json(value: Any) -> str:
    """Return JSON that can stand inside a script element: no tag, comment or line separator can begin in it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _map_data(rows: pd.DataFrame, layer: str) -> dict[str, Any]:
    low = rows[["x", "y"]].min().to_numpy(float)
    span = float((rows[["x", "y"]].max().to_numpy(float) - low).max()) or 1.0
    states = []
    for step, part in rows.groupby("step", sort=True, dropna=False):
        points = (part[["x", "y"]].to_numpy(float) - low) / span * _GRID
        states.append({
            "name": (str(part["checkpoint"].iloc[0]) if "checkpoint" in part else "") or _state_name(step),
            "trust": _first_number(part, "trustworthiness"),
            "stability": _first_number(part, "seed_stability"),
            "xy": points.round().astype(int).ravel().tolist(),
        })  # fmt: skip
    return {"layer": layer, "states": states, "size": ((rows[["x", "y"]].max() - low) / span * _GRID).tolist()}


def _colouring(rows: pd.DataFrame, name: str) -> dict[str, Any]:
    """Return a column as classes with their colours and markers, or as numbers along a scale."""
    if is_scale(rows[name]):
        values = rows[name].to_numpy(float)
        known = values[np.isfinite(values)]
        return {
            "name": name, "low": float(known.min()), "high": float(known.max()),
            "scale": line_colours(_SCALE_COLOURS, NUMBER_COLOURS),
            "values": [float(value) if np.isfinite(value) else None for value in values],
        }  # fmt: skip
    names = class_names(rows, name)
    codes = {label: code for code, label in enumerate(names)}
    return {
        "name": name, "names": names, "styles": [list(style) for style in class_styles(names).values()],
        "codes": [codes.get(str(value), -1) for value in rows[name]],
    }  # fmt: skip


def _state_name(step: Any) -> str:
    return "no step" if step != step else f"step {step:g}"


def _first_number(rows: pd.DataFrame, column: str) -> float | None:
    value = float(rows[column].iloc[0]) if column in rows else float("nan")
    return value if np.isfinite(value) else None


def _text(value: object) -> str:
    if value is None or value is pd.NaT or (isinstance(value, float) and value != value):
        return _MISSING
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _asset(name: str) -> str:
    return files("ser_probe.report").joinpath("templates", name).read_text(encoding="utf-8")


def _csp_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
