"""Checks that every analysis makes of its input arrays, and how representations are named in tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ser_probe.errors import AnalysisError

_SHOWN = 5  # offending rows or speakers named in a message


class RepresentationKey(NamedTuple):
    """Where a representation comes from. `step` is NaN for features that no training touched (eGeMAPS)."""

    model: str
    checkpoint: str
    step: float
    layer: str


def as_key(name: str | RepresentationKey) -> RepresentationKey:
    """Return a representation's name as a key; a plain string is a layer's name."""
    return name if isinstance(name, RepresentationKey) else RepresentationKey("", "", np.nan, name)


def key_columns(name: str | RepresentationKey) -> dict[str, Any]:
    """Return a representation's name as table columns; a plain string is a layer's name."""
    return {"layer": name} if isinstance(name, str) else name._asdict()


def title(key: RepresentationKey) -> str:
    """Return what a message calls a representation."""
    return " ".join(part for part in (key.model, key.checkpoint, f"layer {key.layer}") if part)


def check_features(x: np.ndarray, what: str, *, ndim: int = 2) -> np.ndarray:
    """Return features as an array, after checking that they can be analysed.

    Args:
        x: Features, of shape [N, D] or [R, N, D].
        what: What a message calls them.
        ndim: The number of axes they must have.

    Raises:
        AnalysisError: If the shape is wrong, an axis is empty, or a clip's features are not finite.
    """
    x = np.asarray(x)
    if x.ndim != ndim or 0 in x.shape or not np.issubdtype(x.dtype, np.number):
        raise AnalysisError(
            f"{what} are not a table of numbers",
            expected=f"an array with {ndim} axes, none of them empty",
            found=f"shape {x.shape}, {x.dtype}",
        )
    # A sum is finite only if every term is: one pass and no [N, D] array of flags.
    with np.errstate(over="ignore", invalid="ignore"):
        suspects = ~np.isfinite(x.sum(axis=-1, dtype=np.float64))
    if suspects.any():
        clips = np.unique(np.argwhere(suspects)[:, -1])
        raise AnalysisError(
            f"{what} hold NaN or infinite values",
            where=f"clips {_listed(clips)}",
            found=f"{len(clips)} of {x.shape[-2]} clips",
            fix="leave these clips out, or extract them again",
        )
    return x


def vector_lengths(x: np.ndarray, what: str, *, otherwise: str = "extract them again") -> np.ndarray:
    """Return the length of each clip's vector [N], after checking that it has a direction.

    Args:
        x: Features [N, D].
        what: What they are, for messages.
        otherwise: What can be done besides leaving clips out.

    Raises:
        AnalysisError: If a clip's vector is zero.
    """
    lengths = np.linalg.norm(x, axis=1)
    if not lengths.all():
        raise AnalysisError(
            "A vector of zeros has no direction, so its cosine is not defined",
            where=f"{what}, clip {int(np.argmin(lengths))}",
            found=f"{int((lengths == 0).sum())} of {len(lengths)} clips",
            fix=f"leave these clips out, or {otherwise}",
        )
    return lengths  # type: ignore[no-any-return]


def check_lengths(**columns: Sequence[Any] | np.ndarray) -> None:
    """Check that all per-clip columns have one entry per clip.

    Raises:
        AnalysisError: If two lengths differ.
    """
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise AnalysisError(
            "The inputs do not describe the same clips",
            expected="one row or entry per clip in each",
            found=", ".join(f"{name}: {length}" for name, length in lengths.items()),
            fix="join them on clip_id first",
        )


def _listed(values: np.ndarray) -> str:
    shown = ", ".join(str(value) for value in values[:_SHOWN])
    return shown + (", ..." if len(values) > _SHOWN else "")
