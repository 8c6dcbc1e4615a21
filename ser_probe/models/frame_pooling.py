"""The poolings that a classifier's head may use: frames [B, T, D] and their mask [B, T] -> one vector a clip.

They are the fixed poolings of `pooling`, and two that are trained with the head. In evaluation mode a clip's vector
does not depend on its batch. The one door to speechbrain.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ser_probe.models.pooling import POOLINGS, fill_padding, root
from ser_probe.models.precision import kept_products
from ser_probe.packages import require

ATTENTION_WIDTH = 128
"""Width of the layer that scores a frame in attentive statistics pooling."""


@dataclass(frozen=True)
class EcapaSizes:
    """The sizes of an ECAPA-TDNN. The defaults are those of its paper's smaller model.

    Args:
        channels: Channels of the first convolution, of the SE-Res2Net blocks, and of the layer that joins these.
        kernel_sizes: Frames that the kernels of each take.
        dilations: Frames from one of these to the next.
        scale: Groups of channels in a Res2Net block.
        squeeze: Width of the bottleneck of squeeze and excitation.
        attention: Width of the bottleneck of the attention over frames.
        out: Width of the vector.
    """

    channels: tuple[int, ...] = (512, 512, 512, 512, 1536)
    kernel_sizes: tuple[int, ...] = (5, 3, 3, 3, 1)
    dilations: tuple[int, ...] = (1, 2, 3, 4, 1)
    scale: int = 8
    squeeze: int = 128
    attention: int = 128
    out: int = 192


ECAPA_SIZES = EcapaSizes()


class RowNorm(nn.Module):
    """Batch norm over rows [R, C]. A row that is alone has no spread, and is normalised as in evaluation.

    The last batch of an epoch may hold a single clip.
    """

    def __init__(self, norm: nn.BatchNorm1d) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, rows: Tensor) -> Tensor:
        """Return the normalised rows, in evaluation also of shape [R, C, T]."""
        norm = self.norm
        if norm.training and len(rows) == 1:
            return functional.batch_norm(
                rows, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
            )
        return norm(rows)


class FixedPooling(nn.Module):
    """A pooling of `pooling.POOLINGS`, without parameters.

    Args:
        name: Its name.
        width: D.
    """

    def __init__(self, name: str, width: int) -> None:
        super().__init__()
        self.pooling = POOLINGS[name]
        self.out_width = self.pooling.factor * width

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return shape [B, out_width]; nan for a clip without a valid frame."""
        return self.pooling(hidden, mask)


class AttentivePooling(nn.Module):
    """Mean and standard deviation under weights that are learned (Okabe et al. 2018, attentive statistics pooling).

    A frame h has the score v . tanh(W h + b), and the weights are the softmax of the scores over the clip's frames.
    The constant that the paper adds to a score is left out: a softmax ignores it.

    Args:
        width: D.
        bottleneck: Width of the tanh layer.
    """

    def __init__(self, width: int, bottleneck: int = ATTENTION_WIDTH) -> None:
        super().__init__()
        self.out_width = 2 * width
        self.score = nn.Sequential(nn.Linear(width, bottleneck), nn.Tanh(), nn.Linear(bottleneck, 1, bias=False))

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return mean and deviation side by side, shape [B, 2 D]; nan for a clip without a valid frame."""
        kept = fill_padding(hidden, mask)
        scores = self.score(kept)[..., 0].to(kept.dtype).masked_fill(~mask, -torch.inf)
        weights = scores.softmax(dim=1)[..., None]
        mean = (weights * kept).sum(dim=1)
        variance = (weights * (kept - mean[:, None]).square()).sum(dim=1)
        return torch.cat([mean, root(variance)], dim=1)


def _import_blocks() -> Any:
    """Return speechbrain's module of ECAPA-TDNN. Its import would turn TF32 on for the whole process."""
    quirks = os.environ.get("SB_DISABLE_QUIRKS", "")
    os.environ["SB_DISABLE_QUIRKS"] = ",".join(filter(None, [quirks, "allow_tf32"]))
    try:
        with kept_products():
            return require("speechbrain.lobes.models.ECAPA_TDNN", extra="ecapa", purpose="the pooling 'ecapa'")
    finally:
        os.environ["SB_DISABLE_QUIRKS"] = quirks
        if not quirks:
            del os.environ["SB_DISABLE_QUIRKS"]


class EcapaPooling(nn.Module):
    """An ECAPA-TDNN over the frames (Desplanques et al. 2020), of speechbrain's blocks, made exact for padded batches.

    speechbrain's version mirrors frames at the ends of the batch, which are padding for all but the longest clip, and
    its convolutions carry padding into clips. Here padded frames are zero before every convolution, and so is what lies
    beyond the batch; squeeze and excitation, and the pooling, see the clip's frames only. So do, in training, the
    batch norms, so that the amount of padding changes nothing; they still normalise a clip with the others of its
    batch. Weights that were trained with mirrored frames would give other values.

    Args:
        width: D.
        sizes: Sizes of the network.

    Raises:
        MissingExtraError: If speechbrain is not installed.
    """

    def __init__(self, width: int, sizes: EcapaSizes = ECAPA_SIZES) -> None:
        super().__init__()
        blocks = _import_blocks()
        self.out_width = sizes.out
        self.network = blocks.ECAPA_TDNN(
            width,
            channels=list(sizes.channels),
            kernel_sizes=list(sizes.kernel_sizes),
            dilations=list(sizes.dilations),
            groups=[1] * len(sizes.channels),
            res2net_scale=sizes.scale,
            se_channels=sizes.squeeze,
            attention_channels=sizes.attention,
            lin_neurons=sizes.out,
        )
        # A constant in all scores of a channel, which a softmax ignores.
        self.network.asp.conv.conv.bias = None
        self._convolutions: list[nn.Module] = []
        self._frame_norms: list[nn.Module] = []
        for parent in list(self.network.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, blocks.BatchNorm1d):
                    setattr(parent, name, RowNorm(child.norm))  # type: ignore[arg-type]
                    if parent is not self.network:  # whose norm is over clips, not over frames
                        self._frame_norms.append(getattr(parent, name))
                elif isinstance(child, blocks.Conv1d):
                    child.padding_mode = "constant"
                    if child.kernel_size > 1:  # type: ignore[operator]
                        self._convolutions.append(child)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return shape [B, out]; nan for a clip without a valid frame.

        Args:
            hidden: Frames, shape [B, T, D].
            mask: True where a frame belongs to the clip, [B, T]; the clip's frames come first.
        """
        kept = fill_padding(hidden, mask)
        # speechbrain takes the frames that come before `length * T`, in floating point. Half a frame less than the
        # whole number keeps the rounding from adding one.
        lengths = (mask.sum(dim=1) - 0.5) / mask.shape[1]
        with self._padding_left_out(mask):
            return self.network(kept, lengths).squeeze(1).to(kept.dtype)

    @contextlib.contextmanager
    def _padding_left_out(self, mask: Tensor) -> Iterator[None]:
        """Zero padded frames before convolutions; in training take them away before batch norms and put them back."""

        def zero(_module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
            return (args[0].masked_fill(~mask[:, None], 0.0),)

        handles = [module.register_forward_pre_hook(zero) for module in self._convolutions]
        if self.training:
            valid = mask.flatten().nonzero()[:, 0]

            def gather(_module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
                return (args[0].transpose(1, 2).flatten(0, 1)[valid],)

            def scatter(_module: nn.Module, _args: Any, rows: Tensor) -> Tensor:
                frames = rows.new_zeros(mask.numel(), rows.shape[1]).index_copy(0, valid, rows)
                return frames.view(*mask.shape, -1).transpose(1, 2)

            handles += [norm.register_forward_pre_hook(gather) for norm in self._frame_norms]
            handles += [norm.register_forward_hook(scatter) for norm in self._frame_norms]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


HEAD_POOLINGS: dict[str, Callable[[int], Any]] = {
    **{name: functools.partial(FixedPooling, name) for name in POOLINGS},
    "attentive": AttentivePooling,
    "ecapa": EcapaPooling,
}
"""Width D of the frames -> a module that pools them, with the width of its result as `out_width`."""
