"""A contract over every pooling: frames of padding never count, and nothing of a clip's batch does."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from ser_probe.errors import ConfigError
from ser_probe.models.pooling import POOLINGS, Pooling, parse_pooling

SUM_TOLERANCE = 1e-6
"""The same numbers summed over another length: float32 round-off of a few dozen terms of order one."""

LENGTHS = (1, 2, 7, 19)
WIDTH = 5


def segments(n_parts: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return the means of K equal parts by copying each frame K times, so that parts have whole copies."""
    return lambda clip: np.repeat(clip, n_parts, axis=0).reshape(n_parts, len(clip), -1).mean(axis=1).ravel()


PLAIN: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean": lambda clip: clip.mean(axis=0),
    "std": lambda clip: clip.std(axis=0),
    "mean+std": lambda clip: np.concatenate([clip.mean(axis=0), clip.std(axis=0)]),
    "max": lambda clip: clip.max(axis=0),
    "sum": lambda clip: clip.sum(axis=0),
    "speech-mean": lambda clip: clip.mean(axis=0),
    "segments:2": segments(2),
    "segments:3": segments(3),
    "segments:100": segments(100),
    "frames": lambda clip: clip,
}
"""What each pooling makes of one clip [T, D], in numpy."""

ONE_VECTOR = [name for name in PLAIN if name != "frames"]


def test_the_table_holds_every_pooling() -> None:
    assert {*POOLINGS} < {*PLAIN}
    assert [name for name in PLAIN if parse_pooling(name).ragged] == ["frames"]
    assert [name for name in PLAIN if parse_pooling(name).speech] == ["speech-mean"]


@pytest.fixture
def hidden() -> Tensor:
    return torch.randn(len(LENGTHS), max(LENGTHS), WIDTH, generator=torch.Generator().manual_seed(3))


@pytest.fixture(params=["prefix", "holes"])
def mask(request: pytest.FixtureRequest) -> Tensor:
    """Frames at the clips' beginnings, or, as speech may lie, with others in between; at least one a clip."""
    prefix = torch.arange(max(LENGTHS))[None] < torch.tensor(LENGTHS)[:, None]
    if request.param == "prefix":
        return prefix
    kept = torch.rand(prefix.shape, generator=torch.Generator().manual_seed(4)) < 0.6
    kept[:, 0] = True
    holes = prefix & kept
    assert (holes.sum(dim=1) < prefix.sum(dim=1)).any()
    return holes


@pytest.fixture(params=PLAIN)
def pool(request: pytest.FixtureRequest) -> Pooling:
    return parse_pooling(request.param)


def by_clip(pool: Pooling, pooled: Tensor, mask: Tensor) -> list[Tensor]:
    """Return each clip's part of a result."""
    return list(pooled.split(mask.sum(dim=1).tolist()) if pool.ragged else pooled)


def test_equal_to_numpy_clip_by_clip(pool: Pooling, hidden: Tensor, mask: Tensor) -> None:
    pooled = by_clip(pool, pool(hidden, mask), mask)
    assert len(pooled) == len(LENGTHS)
    for row, value in enumerate(pooled):
        expected = PLAIN[pool.name](hidden[row][mask[row]].double().numpy())
        assert value.shape == expected.shape
        assert value.shape[-1] == pool.factor * WIDTH
        np.testing.assert_allclose(value.numpy(), expected, rtol=0, atol=SUM_TOLERANCE)


def test_a_clip_pools_as_it_does_alone(pool: Pooling, hidden: Tensor, mask: Tensor) -> None:
    together = by_clip(pool, pool(hidden, mask), mask)
    for row, length in enumerate(LENGTHS):
        alone = pool(hidden[row : row + 1, :length], mask[row : row + 1, :length])
        assert torch.allclose(together[row].reshape(alone.shape), alone, rtol=0, atol=SUM_TOLERANCE)


@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_padding_never_counts(pool: Pooling, hidden: Tensor, mask: Tensor, garbage: float) -> None:
    dirty = hidden.masked_fill(~mask[..., None], garbage)
    assert torch.equal(pool(dirty, mask), pool(hidden, mask))


def test_a_valid_frame_counts(pool: Pooling, hidden: Tensor, mask: Tensor) -> None:
    """The counter-case, at the last valid frame of each clip."""
    before = by_clip(pool, pool(hidden, mask), mask)
    for row in range(len(LENGTHS)):
        changed = hidden.clone()
        changed[row, mask[row].nonzero().max()] += 10
        after = by_clip(pool, pool(changed, mask), mask)
        deviation_of_one = pool.name == "std" and mask[row].sum() == 1
        assert torch.equal(after[row], before[row]) == deviation_of_one
        assert all(torch.equal(after[other], before[other]) for other in range(len(LENGTHS)) if other != row)


def test_gradients_reach_valid_frames_alone_and_stay_finite(pool: Pooling, hidden: Tensor, mask: Tensor) -> None:
    dirty = hidden.masked_fill(~mask[..., None], float("inf"))
    dirty[3, :, 0] = 1.0  # a feature that does not vary has no deviation, whose slope is infinite there
    dirty.requires_grad_()
    pool(dirty, mask).square().sum().backward()
    assert torch.isfinite(dirty.grad).all()
    reached = dirty.grad.ne(0).any(dim=-1)
    assert not (reached & ~mask).any()
    if pool.name not in ("max", "std"):  # the largest value has one frame, a single frame no deviation
        assert torch.equal(reached, mask)
    assert reached[1:].any(dim=1).all() or pool.name == "std"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(pool: Pooling, hidden: Tensor, mask: Tensor, dtype: torch.dtype) -> None:
    half = hidden.to(dtype)
    pooled = pool(half, mask)
    assert pooled.dtype == torch.float32
    assert torch.equal(pooled, pool(half.float(), mask))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(pool(half, mask), pooled)


@pytest.mark.parametrize("name", ["mean", "std", "sum", "segments:3"])
def test_sums_of_many_half_precision_frames_do_not_stall(name: str) -> None:
    """The counter-case to float16 sums, which stay at 2048 once they are there."""
    frames = torch.ones(1, 9000, 1, dtype=torch.float16)
    frames[:, ::2] = 3
    expected = PLAIN[name](frames[0].double().numpy())
    np.testing.assert_allclose(parse_pooling(name)(frames, frames[..., 0] > 0)[0].numpy(), expected, rtol=1e-6)
    stalled = torch.zeros((), dtype=torch.float16)
    for _ in range(3000):
        stalled += 1
    assert stalled == 2048


def test_deviation_far_from_zero_is_exact(hidden: Tensor) -> None:
    """The mean of squares less the squared mean, in float32, would be off by more than the deviation itself."""
    far = (hidden[3:] + 1000).double()
    mask = torch.ones(far.shape[:2], dtype=torch.bool)
    single = far.float()
    np.testing.assert_allclose(POOLINGS["std"](single, mask)[0], single[0].double().std(0, correction=0), rtol=1e-5)
    naive = (single.square().mean(1) - single.mean(1).square()).clamp_min(0).sqrt()
    assert not np.allclose(naive, far.std(1, correction=0), rtol=1e-2)


def test_segments_average_to_the_mean_and_follow_time(hidden: Tensor, mask: Tensor) -> None:
    for name in ("segments:2", "segments:3", "segments:100"):
        parts = parse_pooling(name)(hidden, mask).view(len(LENGTHS), -1, WIDTH)
        torch.testing.assert_close(parts.mean(dim=1), POOLINGS["mean"](hidden, mask), rtol=0, atol=SUM_TOLERANCE)
    time = torch.arange(6.0).view(1, 6, 1)
    assert parse_pooling("segments:3")(time, torch.ones(1, 6, dtype=torch.bool)).tolist() == [[0.5, 2.5, 4.5]]
    assert parse_pooling("segments:4")(time, torch.ones(1, 6, dtype=torch.bool)).tolist() == [
        pytest.approx([1 / 3, 5 / 3, 10 / 3, 14 / 3])
    ]


@pytest.mark.parametrize("name", ONE_VECTOR)
def test_a_clip_without_a_valid_frame_has_no_value_and_spoils_no_other(name: str, hidden: Tensor, mask: Tensor) -> None:
    pool = parse_pooling(name)
    before, without = pool(hidden, mask), mask.clone()
    without[1] = False
    after = pool(hidden, without)
    assert after[1].isnan().all()
    kept = [0, 2, 3]
    assert torch.equal(after[kept], before[kept])


def test_frames_of_a_clip_without_any_are_none(hidden: Tensor, mask: Tensor) -> None:
    assert parse_pooling("frames")(hidden, mask & False).shape == (0, WIDTH)


def test_names_come_back_and_travel_to_workers(pool: Pooling, hidden: Tensor, mask: Tensor) -> None:
    assert parse_pooling(pool.name).name == pool.name
    there = pickle.loads(pickle.dumps(pool))
    assert torch.equal(there(hidden, mask), pool(hidden, mask))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("maen", "no such pooling(.|\n)*did you mean 'mean'"),
        ("attention", "such pooling(.|\n)*expected: mean, std, mean\\+std, max, sum, speech-mean, frames, segments:K"),
        ("segments", "did you mean 'segments:K'"),
        ("segments:04", "no such pooling"),
        ("segments:-4", "no such pooling"),
        ("segments:٣", "no such pooling"),
        ("Mean", "did you mean 'mean'"),
        ("segments:1", "out of range(.|\n)*K from 2 to 100(.|\n)*found: segments:1"),
        ("segments:101", "out of range"),
    ],
)
def test_unknown_names_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_pooling(text)
