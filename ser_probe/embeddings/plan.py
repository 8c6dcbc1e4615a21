"""The batch plan: which clips go through the model together.

The plan is a function of the manifest's clips and the budget alone, and a batch is the unit of work: a resumed run
forms the same batches as an uninterrupted one, so its values are equal bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ser_probe.errors import ConfigError, ManifestError


def plan_batches(
    durations_s: Sequence[float] | np.ndarray,
    clip_ids: Sequence[str],
    *,
    budget_s: float,
    max_clips: int | None = None,
    longest_s: float | None = None,
) -> list[np.ndarray]:
    """Group clips of similar length under a budget of padded seconds (longest clip x number of clips).

    The longest batches come first, so that too little memory shows at once. A clip longer than the budget goes alone.

    Args:
        durations_s: Durations in s, shape [N].
        clip_ids: Ids of the clips, shape [N]; they order clips of one length, whatever the manifest's order.
        budget_s: Padded seconds a batch may hold.
        max_clips: Largest number of clips in a batch; None for no limit.
        longest_s: Clips longer than this go alone, because they will be cut into chunks; None for no limit.

    Returns:
        Arrays of row indices; each row is in exactly one of them.

    Raises:
        ConfigError: If the budget or the limit admits no clip.
        ManifestError: If a duration is not a positive number.
    """
    if not budget_s > 0:
        raise ConfigError("The batch budget must be above 0 padded seconds", found=budget_s)
    if max_clips is not None and max_clips < 1:
        raise ConfigError("A batch must be allowed at least one clip", found=max_clips)
    durations = np.asarray(durations_s, dtype=np.float64)
    unusable = ~(np.isfinite(durations) & (durations > 0))
    if unusable.any():
        row = int(np.flatnonzero(unusable)[0])
        raise ManifestError(
            f"{int(unusable.sum())} clips have no usable duration",
            where=f"clip {clip_ids[row]}",
            expected="a positive number of seconds",
            found=durations[row],
        )
    order = np.lexsort((np.asarray(clip_ids, dtype=str), -durations))
    batches: list[np.ndarray] = []
    start = 0
    while start < len(order):
        longest = durations[order[start]]
        most = int(budget_s / longest) if longest_s is None or longest <= longest_s else 1
        size = max(1, min(most, len(order) - start, len(order) if max_clips is None else max_clips))
        batches.append(order[start : start + size])
        start += size
    return batches


def drop_done(batches: Sequence[np.ndarray], done: np.ndarray) -> list[np.ndarray]:
    """Return the batches that are left, without the rows that are done.

    Args:
        batches: The whole plan.
        done: Which rows need no work, bool of shape [N].
    """
    remaining = (batch[~done[batch]] for batch in batches)
    return [batch for batch in remaining if len(batch)]
