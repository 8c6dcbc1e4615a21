"""A contract over every pooling: frames of padding never count, and nothing of a clip's batch does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ser_probe.models.pooling import POOLINGS, Pooling, pool_mean

SUM_TOLERANCE = 1e-6
"""The same numbers summed over another length: float32 round-off of a few dozen terms of order one."""

LENGTHS = (1, 2, 7, 19)


@pytest.fixture
def hidden() -> Tensor:
    return torch.randn(len(LENGTHS), max(LENGTHS), 5, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def mask() -> Tensor:
    return torch.arange(max(LENGTHS))[None] < torch.tensor(LENGTHS)[:, None]


@pytest.fixture(params=POOLINGS)
def pool(request: pytest.FixtureRequest) -> Pooling:
    return POOLINGS[request.param]


def test_a_clip_pools_as_it_does_alone(pool: Pooling, hidden: Tensor, mask: Tensor) -> None:
    together = pool(hidden, mask)
    assert together.shape[0] == len(LENGTHS)
    for row, length in enumerate(LENGTHS):
        alone = pool(hidden[row : row + 1, :length], mask[row : row + 1, :length])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=SUM_TOLERANCE)


@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_padding_never_counts(pool: Pooling, hidden: Tensor, mask: Tensor, garbage: float) -> None:
    dirty = hidden.masked_fill(~mask[..., None], garbage)
    assert torch.equal(pool(dirty, mask), pool(hidden, mask))


def test_a_valid_frame_counts(pool: Pooling, hidden: Tensor, mask: Tensor) -> None:
    """The counter-case, up to the last valid frame of each clip."""
    before = pool(hidden, mask)
    for row, length in enumerate(LENGTHS):
        changed = hidden.clone()
        changed[row, length - 1] += 1
        after = pool(changed, mask)
        assert (after[row] != before[row]).any()
        assert torch.equal(after.roll(-row, 0)[1:], before.roll(-row, 0)[1:]), "other clips stay"


def test_gradients_reach_valid_frames_alone_and_stay_finite(pool: Pooling, hidden: Tensor, mask: Tensor) -> None:
    dirty = hidden.masked_fill(~mask[..., None], float("inf")).requires_grad_()
    pool(dirty, mask).square().sum().backward()
    assert torch.isfinite(dirty.grad).all()
    assert torch.equal(dirty.grad.ne(0).any(dim=-1), mask)


def test_mean_is_the_mean(hidden: Tensor, mask: Tensor) -> None:
    expected = [hidden[row, :length].double().mean(dim=0).numpy() for row, length in enumerate(LENGTHS)]
    np.testing.assert_allclose(pool_mean(hidden, mask).numpy(), np.stack(expected), atol=SUM_TOLERANCE)
