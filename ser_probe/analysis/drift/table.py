"""How far each layer has moved from a reference, on the same clips (usually step 0, before fine-tuning)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ser_probe.analysis.inputs import check_features, check_lengths
from ser_probe.analysis.resampling import group_codes, jackknife_interval
from ser_probe.analysis.similarity.cka import Estimates, cka_pairs
from ser_probe.errors import AnalysisError

COLUMNS = ["layer", "measure", "value", "ci_low", "ci_high", "n", "n_speakers"]


def drift_table(
    reference: Sequence[np.ndarray] | np.ndarray,
    current: Sequence[np.ndarray] | np.ndarray,
    layer_names: Sequence[str],
    *,
    groups: np.ndarray | None = None,
) -> pd.DataFrame:
    """Measure each layer's drift in three ways, which a change of the representation affects differently.

    - `cka_debiased`, at most 1 = no drift: do the clips lie to each other as before? Rotations, shifts and
      isotropic scaling do not count as drift.
    - `mean_cosine`, in [-1, 1], 1 = no drift: the mean over clips of the cosine between a clip's vector now and
      then, not centred. Rotations and shifts count, scaling does not. Where all clips share a large common vector,
      as in many transformer layers, it stays near 1 however the rest moves.
    - `relative_norm_change`, above -1, 0 = no change: the mean Euclidean norm now over the one then, less 1.
      Only scale counts.

    Args:
        reference: L arrays [N, D], or one of shape [L, N, D].
        current: The same layers and clips, now.
        layer_names: L names.
        groups: Each clip's speaker [N]. With three speakers or more there are intervals: jackknife over speakers.

    Returns:
        A row per layer and measure.

    Raises:
        AnalysisError: If layers or clips do not match, or features are NaN, constant, or zero for a clip.
    """
    if not len(reference) == len(current) == len(layer_names):
        raise AnalysisError(
            "Drift needs the same layers now and then",
            expected=f"{len(layer_names)} layers: {', '.join(layer_names)}",
            found=f"{len(reference)} in the reference, {len(current)} now",
        )
    n_speakers = np.nan if groups is None else len(group_codes(groups)[0])
    rows = []
    for layer, then, now in zip(layer_names, reference, current, strict=True):
        names = f"layer {layer} of the reference", f"layer {layer}"
        then, now = check_features(then, names[0]), check_features(now, names[1])
        if then.shape != now.shape:
            raise AnalysisError(
                "A layer has another shape now than in the reference",
                where=names[1],
                expected=then.shape,
                found=now.shape,
                fix="join them on clip_id first, and compare caches of one architecture",
            )
        cka = cka_pairs([then], [now], groups=groups, names=names[:1], other_names=names[1:]).debiased
        measures = {"cka_debiased": cka, **_clip_measures(then, now, groups, names)}
        for measure, estimate in measures.items():
            numbers = (float(np.squeeze(x)) for x in (estimate.value, estimate.ci_low, estimate.ci_high))
            rows.append([layer, measure, *numbers, len(now), n_speakers])
    return pd.DataFrame(rows, columns=COLUMNS)


def _clip_measures(
    then: np.ndarray, now: np.ndarray, groups: np.ndarray | None, names: tuple[str, str]
) -> dict[str, Estimates]:
    """Return the measures that are functions of sums over clips."""
    then, now = then.astype(np.float64), now.astype(np.float64)
    norms_then, norms_now = np.linalg.norm(then, axis=1), np.linalg.norm(now, axis=1)
    for norms, name in ((norms_then, names[0]), (norms_now, names[1])):
        if (norms == 0).any():
            raise AnalysisError(
                "A vector of zeros has no direction, so its cosine is not defined",
                where=f"{name}, clip {np.argmin(norms)}",
                found=f"{(norms == 0).sum()} of {len(norms)} clips",
                fix="leave these clips out, or extract them again",
            )
    cosines = np.einsum("nd,nd->n", then, now) / (norms_then * norms_now)
    ones = np.ones(len(now))
    return {
        "mean_cosine": _ratio(np.clip(cosines, -1, 1), ones, 0, groups, bounds=(-1, 1)),
        "relative_norm_change": _ratio(norms_now, norms_then, 1, groups, bounds=(-1, np.inf)),
    }


def _ratio(
    over: np.ndarray, under: np.ndarray, less: float, groups: np.ndarray | None, *, bounds: tuple[float, float]
) -> Estimates:
    """Return sum(over) / sum(under) - less over clips, with the jackknife over speakers."""
    value = np.asarray(over.sum() / under.sum() - less)
    if groups is None:
        return Estimates(value, np.asarray(np.nan), np.asarray(np.nan))
    check_lengths(features=over, groups=groups)
    speakers, codes = group_codes(groups)
    if len(speakers) == 1:
        return Estimates(value, np.asarray(np.nan), np.asarray(np.nan))
    rest = [total.sum() - np.bincount(codes, weights=total) for total in (over, under)]
    return Estimates(value, *jackknife_interval(value, rest[0] / rest[1] - less, bounds=bounds))
