"""Many linear softmax probes trained at once in batched products, each as if it were alone: the way for a GPU.

On a CPU `softmax_loop` is several times faster and gives the same probes to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ser_probe.analysis.probes.stacked import Clips, Stack, Trained, output_error, train_stacked
from ser_probe.analysis.probes.training import ProbeOptions, initial_weights


def train_softmax(
    clips: Clips, seeds: Sequence[int], options: ProbeOptions, *, n_classes: int, at_once: int | None = None
) -> Trained:
    """Train one probe per representation and seed.

    Args:
        clips: What to learn from; features [R, N, D].
        seeds: S seeds.
        options: How to train.
        n_classes: C.
        at_once: Probes that are trained at the same time.

    Returns:
        The weights [R, S, D + 1, C], the bias in the last row, as the only parameter.
    """
    width = clips.z.shape[-1]
    with_ones = torch.cat([clips.z, clips.z.new_ones(*clips.z.shape[:-1], 1)], dim=-1)
    start = torch.stack([initial_weights(seed, width, n_classes) for seed in seeds]).to(clips.z.device)
    clips = Clips(with_ones, clips.labels, clips.train, clips.validation)
    return train_stacked(_Softmax(), [start], clips, seeds, options, at_once=at_once)


class _Softmax:
    """One softmax layer, its bias the weight of a column of ones."""

    def logits(self, parameters: Stack, x: torch.Tensor) -> torch.Tensor:
        return torch.bmm(x, parameters[0])

    def gradient(self, parameters: Stack, x: torch.Tensor, labels: torch.Tensor) -> Stack:
        return [torch.bmm(x.transpose(1, 2), output_error(self.logits(parameters, x), labels))]
