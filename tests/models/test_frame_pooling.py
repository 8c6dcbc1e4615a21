"""A contract over the poolings of a head: padding never counts, and neither does what else is in the batch."""

from __future__ import annotations

import copy
import sys

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ser_probe.errors import MissingExtraError
from ser_probe.models.frame_pooling import (
    HEAD_POOLINGS,
    AttentivePooling,
    EcapaPooling,
    EcapaSizes,
    FixedPooling,
    RowNorm,
)
from ser_probe.models.pooling import POOLINGS
from tests.models.conftest import RELATIVE_TOLERANCE

ROUND_OFF = 1e-5
"""Sums of float32 in another order, through some twenty layers; the mistakes that are tested for cost far more."""

HALF_PRECISION = 0.1
"""bfloat16 keeps 8 bits, and the deepest of the poolings has some twenty layers."""

LENGTHS = (1, 2, 7, 31)
WIDTH = 12
SMALL = EcapaSizes(channels=(32, 32, 32, 32, 48), scale=4, squeeze=8, attention=8, out=10)

TRAINED = ("attentive", "ecapa")


@pytest.fixture
def hidden() -> Tensor:
    return torch.randn(len(LENGTHS), max(LENGTHS), WIDTH, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def mask() -> Tensor:
    return torch.arange(max(LENGTHS))[None] < torch.tensor(LENGTHS)[:, None]


def shaken(module: nn.Module) -> nn.Module:
    """Return the module with weights and stored statistics that no seed would give it."""
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.randn(tensor.shape, generator=generator)
                noise *= 0.3 * tensor.std() if tensor.ndim > 1 else 0.1  # larger ones would blow up rounding
                tensor += noise.abs() if name.endswith("running_var") else noise
    return module


def build(name: str) -> nn.Module:
    torch.manual_seed(1)
    return shaken(HEAD_POOLINGS[name](WIDTH)).eval()


@pytest.fixture(params=HEAD_POOLINGS)
def pool(request: pytest.FixtureRequest) -> nn.Module:
    return build(request.param)


def small_ecapa() -> EcapaPooling:
    torch.manual_seed(1)
    ecapa = EcapaPooling(WIDTH, SMALL)
    shaken(ecapa)
    return ecapa


def each_alone(pool: nn.Module, hidden: Tensor, mask: Tensor) -> Tensor:
    clips = [(hidden[row : row + 1, :n], mask[row : row + 1, :n]) for row, n in enumerate(mask.sum(dim=1).tolist())]
    return torch.cat([pool(*clip) for clip in clips])


def error(found: Tensor, expected: Tensor) -> float:
    """Return the largest relative difference of two vectors; a deviation of a single frame is 0, and so is its norm."""
    found, expected = found.detach(), expected.detach()
    norms = expected.double().norm(dim=-1).clamp_min(1e-30)
    return float(((found.double() - expected.double()).norm(dim=-1) / norms).max())


# --------------------------------------------------------------------------------------------------------------------
# All of them


def test_the_table_holds_the_fixed_poolings_and_the_trained_ones() -> None:
    assert [*HEAD_POOLINGS] == [*POOLINGS, *TRAINED]
    assert [name for name in HEAD_POOLINGS if list(build(name).parameters())] == [*TRAINED]


def test_gives_a_vector_of_the_width_it_says(pool: nn.Module, hidden: Tensor, mask: Tensor) -> None:
    pooled = pool(hidden, mask)
    assert pooled.shape == (len(LENGTHS), pool.out_width)
    assert pooled.dtype == torch.float32
    assert pooled.isfinite().all()


def test_a_clip_pools_as_it_does_alone(pool: nn.Module, hidden: Tensor, mask: Tensor) -> None:
    together, alone = pool(hidden, mask), each_alone(pool, hidden, mask)
    assert error(together, alone) < RELATIVE_TOLERANCE


@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), 1e30])
def test_padding_never_counts(pool: nn.Module, hidden: Tensor, mask: Tensor, garbage: float) -> None:
    dirty = hidden.masked_fill(~mask[..., None], garbage)
    assert torch.equal(pool(dirty, mask), pool(hidden, mask))


def test_a_valid_frame_counts_for_its_clip_alone(pool: nn.Module, hidden: Tensor, mask: Tensor) -> None:
    before = pool(hidden, mask)
    for row, length in enumerate(LENGTHS):
        changed = hidden.clone()
        changed[row, length - 1] += 10 * torch.arange(1, WIDTH + 1)
        after = pool(changed, mask)
        deviation_of_one = isinstance(pool, FixedPooling) and pool.pooling.name == "std" and length == 1
        assert torch.equal(after[row], before[row]) == deviation_of_one
        others = [other for other in range(len(LENGTHS)) if other != row]
        assert error(after[others], before[others]) < RELATIVE_TOLERANCE


@pytest.mark.parametrize("training", [False, True])
def test_gradients_reach_valid_frames_alone_and_stay_finite(
    pool: nn.Module, hidden: Tensor, mask: Tensor, training: bool
) -> None:
    dirty = hidden.masked_fill(~mask[..., None], float("inf"))
    dirty[3, :31, 0] = 1.0  # a feature that does not vary
    dirty.requires_grad_()
    pooled = pool.train(training)(dirty, mask)
    (pooled * torch.linspace(1, 2, pooled.numel()).view_as(pooled)).square().sum().backward()
    assert torch.isfinite(dirty.grad).all()
    reached = dirty.grad.ne(0).any(dim=-1)
    assert not (reached & ~mask).any()
    assert reached[1:].any(dim=1).all()
    for name, weight in pool.named_parameters():
        assert weight.grad.isfinite().all(), name
        assert weight.grad.ne(0).any(), name


def test_a_clip_without_a_valid_frame_has_no_value_and_spoils_no_other(
    pool: nn.Module, hidden: Tensor, mask: Tensor
) -> None:
    before, without = pool(hidden, mask), mask.clone()
    without[1] = False
    after = pool(hidden, without)
    assert after[1].isnan().all()
    kept = [0, 2, 3]
    assert torch.equal(after[kept], before[kept])


@pytest.mark.parametrize("training", [False, True])
def test_runs_in_half_precision_and_answers_in_full(
    pool: nn.Module, hidden: Tensor, mask: Tensor, training: bool
) -> None:
    pool.train(training)
    exact = copy.deepcopy(pool)(hidden, mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled = pool(hidden.bfloat16(), mask)
    assert pooled.dtype == torch.float32
    assert float(((pooled - exact).norm() / exact.norm()).detach()) < HALF_PRECISION


@pytest.mark.parametrize("name", TRAINED)
def test_first_weights_are_a_function_of_the_seed(name: str, hidden: Tensor, mask: Tensor) -> None:
    def drawn(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return HEAD_POOLINGS[name](WIDTH).eval()(hidden, mask)

    assert torch.equal(drawn(4), drawn(4))
    assert not torch.equal(drawn(4), drawn(5))


def test_a_copy_is_of_its_own(pool: nn.Module, hidden: Tensor, mask: Tensor) -> None:
    """The modules that a pooling looks after are those of the copy, not of the original."""
    other = copy.deepcopy(pool)
    before = pool(hidden, mask)
    shaken(other)
    assert error(other(hidden, mask), each_alone(other, hidden, mask)) < RELATIVE_TOLERANCE
    assert torch.equal(pool(hidden, mask), before)


# --------------------------------------------------------------------------------------------------------------------
# Attentive statistics


def test_attention_is_what_numpy_makes_of_each_clip(hidden: Tensor, mask: Tensor) -> None:
    pool = build("attentive")
    pooled = pool(hidden, mask).detach().numpy()
    first, second = pool.score[0], pool.score[2]
    for row, length in enumerate(LENGTHS):
        frames = hidden[row, :length].double().numpy()
        inner = np.tanh(frames @ first.weight.double().detach().numpy().T + first.bias.double().detach().numpy())
        scores = (inner @ second.weight.double().detach().numpy().T)[:, 0]
        weights = np.exp(scores) / np.exp(scores).sum()
        mean = weights @ frames
        deviation = np.sqrt(weights @ (frames - mean) ** 2)
        np.testing.assert_allclose(pooled[row], np.concatenate([mean, deviation]), rtol=0, atol=ROUND_OFF)


def test_attention_to_all_frames_alike_is_mean_and_deviation(hidden: Tensor, mask: Tensor) -> None:
    pool, expected = build("attentive"), POOLINGS["mean+std"](hidden, mask)
    assert error(pool(hidden, mask), expected) > 1e-2
    nn.init.zeros_(pool.score[2].weight)
    torch.testing.assert_close(pool(hidden, mask), expected, rtol=0, atol=ROUND_OFF)


def test_attention_to_one_frame_is_that_frame(hidden: Tensor, mask: Tensor) -> None:
    pool = AttentivePooling(WIDTH)
    with torch.no_grad():  # the score is that of the first feature, many times over
        for weight in pool.parameters():
            weight.zero_()
        pool.score[0].weight[0, 0] = 0.1
        pool.score[2].weight[0, 0] = 1e5
    highest = hidden[..., 0].masked_fill(~mask, -torch.inf).argmax(dim=1)
    mean, deviation = pool(hidden, mask).chunk(2, dim=1)
    torch.testing.assert_close(mean, hidden[torch.arange(len(LENGTHS)), highest])
    assert deviation.max() < ROUND_OFF


def test_attention_to_padding_would_show(hidden: Tensor, mask: Tensor) -> None:
    pool = build("attentive")
    assert error(pool(hidden, torch.ones_like(mask))[:3], pool(hidden, mask)[:3]) > 1e-2


# --------------------------------------------------------------------------------------------------------------------
# ECAPA-TDNN


def stock_ecapa(ecapa: EcapaPooling, padding_mode: str) -> nn.Module:
    """Return speechbrain's network as it comes, with the weights of ours."""
    from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN, Conv1d

    stock = ECAPA_TDNN(
        WIDTH,
        channels=list(SMALL.channels),
        res2net_scale=SMALL.scale,
        se_channels=SMALL.squeeze,
        attention_channels=SMALL.attention,
        lin_neurons=SMALL.out,
    )
    left_over = stock.load_state_dict(ecapa.network.state_dict(), strict=False)
    assert left_over.missing_keys == ["asp.conv.conv.bias"]
    assert not left_over.unexpected_keys
    for module in stock.modules():
        if isinstance(module, Conv1d):
            module.padding_mode = padding_mode
    return stock.train(ecapa.training)


@pytest.mark.parametrize("training", [False, True])
def test_without_padding_it_is_speechbrain_s_network(training: bool) -> None:
    ecapa = small_ecapa().train(training)
    stock = stock_ecapa(ecapa, "constant")
    frames = torch.randn(3, 20, WIDTH, generator=torch.Generator().manual_seed(8))
    found = ecapa(frames, torch.ones(3, 20, dtype=torch.bool))
    assert error(found, stock(frames)[:, 0]) < ROUND_OFF
    statistics = {name: buffer for name, buffer in ecapa.network.named_buffers() if "running" in name}
    assert len(statistics) == 2 * len([module for module in ecapa.modules() if isinstance(module, RowNorm)])
    for name, buffer in stock.named_buffers():
        if "running" in name:
            torch.testing.assert_close(statistics[name], buffer, rtol=ROUND_OFF, atol=ROUND_OFF)


@pytest.mark.parametrize("padding_mode", ["reflect", "constant"])
def test_speechbrain_s_network_lets_padding_into_clips(padding_mode: str) -> None:
    """The counter-case, with the clips' lengths given, with its own padding and with zeros."""
    ecapa = small_ecapa().eval()
    stock = stock_ecapa(ecapa, padding_mode)
    frames = torch.randn(2, 40, WIDTH, generator=torch.Generator().manual_seed(9))
    frames[0, 20:] = 0
    mask = torch.arange(40)[None] < torch.tensor([20, 40])[:, None]
    with torch.no_grad():
        together = stock(frames, lengths=torch.tensor([0.5, 1.0]))[:1, 0]
        alone = stock(frames[:1, :20])[:, 0]
        assert error(together, alone) > 100 * RELATIVE_TOLERANCE
        assert error(ecapa(frames, mask), each_alone(ecapa, frames, mask)) < RELATIVE_TOLERANCE


def lengths_that_round_up() -> list[tuple[int, int]]:
    """Return frames and padded frames for which frames / padded * padded is more than frames in float32."""
    pairs = [(n, padded) for padded in range(20, 120) for n in range(1, padded)]
    valid, total = (torch.tensor(numbers, dtype=torch.float32) for numbers in zip(*pairs, strict=True))
    return [pair for pair, more in zip(pairs, (valid / total * total > valid).tolist(), strict=True) if more]


def test_rounding_adds_no_frame() -> None:
    from speechbrain.dataio.dataio import length_to_mask

    ecapa, pairs = small_ecapa().eval(), lengths_that_round_up()
    assert len(pairs) > 20
    for n, padded in pairs[:: len(pairs) // 10]:
        assert length_to_mask(torch.tensor([n / 1.0]) / padded * padded, max_len=padded).sum() == n + 1  # it does so
        frames = torch.randn(1, padded, WIDTH, generator=torch.Generator().manual_seed(n))
        found = ecapa(frames, torch.arange(padded)[None] < n)
        expected = ecapa(frames[:, :n], torch.ones(1, n, dtype=torch.bool))
        assert error(found, expected) < RELATIVE_TOLERANCE


def test_batch_norms_see_valid_frames_only(hidden: Tensor, mask: Tensor) -> None:
    wider = torch.cat([hidden, torch.full((len(LENGTHS), 40, WIDTH), 9.0)], dim=1)
    wider_mask = torch.cat([mask, torch.zeros(len(LENGTHS), 40, dtype=torch.bool)], dim=1)
    one, other, careless = (small_ecapa().train() for _ in range(3))
    careless._frame_norms = []
    before = {name: buffer.clone() for name, buffer in one.named_buffers()}
    expected = one(hidden, mask)
    assert error(other(wider, wider_mask), expected) < 10 * ROUND_OFF  # divided by deviations over four clips
    assert error(careless(wider, wider_mask), expected) > 1e-2
    for name, buffer in one.named_buffers():
        torch.testing.assert_close(dict(other.named_buffers())[name], buffer, rtol=ROUND_OFF, atol=ROUND_OFF)
        assert not torch.equal(buffer, before[name]), name


@pytest.mark.parametrize("n_frames", [1, 9])
def test_a_clip_can_be_alone_in_a_batch_of_training(n_frames: int) -> None:
    ecapa = small_ecapa().train()
    pooled = ecapa(torch.ones(1, n_frames, WIDTH), torch.ones(1, n_frames, dtype=torch.bool))
    pooled.sum().backward()
    assert pooled.isfinite().all()
    assert all(weight.grad.isfinite().all() for weight in ecapa.parameters())


def test_ecapa_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "speechbrain.lobes.models.ECAPA_TDNN", None)
    with pytest.raises(MissingExtraError, match=r"the pooling 'ecapa' needs the package(.|\n)*ser-probe\[ecapa\]"):
        EcapaPooling(WIDTH)


def test_a_row_alone_is_normalised_as_in_evaluation() -> None:
    norm = RowNorm(nn.BatchNorm1d(4))
    rows = torch.randn(6, 4, generator=torch.Generator().manual_seed(2)) * 3 + 1
    expected = nn.BatchNorm1d(4)
    assert torch.equal(norm(rows), expected(rows))
    one, seen = norm(rows[:1]), norm.norm.num_batches_tracked.item()
    assert seen == 1
    assert torch.equal(one, norm.eval()(rows[:1]))
    assert not torch.equal(one, torch.zeros(1, 4))
    with pytest.raises(ValueError, match="more than 1 value"):  # as torch's own says
        expected(rows[:1])
