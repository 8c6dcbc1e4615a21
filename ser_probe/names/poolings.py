"""Poolings by name: how the frames of a clip become one vector."""

from __future__ import annotations

from dataclasses import dataclass

from ser_probe.names.named import Named


@dataclass(frozen=True)
class PoolingName(Named):
    """A pooling.

    Attributes:
        stored: Whether extraction stores it.
        in_head: Whether the head of a classifier may have it.
    """

    stored: bool = True
    in_head: bool = True


POOLINGS: dict[str, PoolingName] = {
    "mean": PoolingName("mean"),
    "std": PoolingName("standard deviation"),
    "mean+std": PoolingName("mean and standard deviation"),
    "max": PoolingName("maximum"),
    "sum": PoolingName("sum"),
    "speech-mean": PoolingName("mean of speech", "frames that silero-vad calls speech", in_head=False),
    "segments:K": PoolingName("means of segments", "means of K equal parts", in_head=False),
    "frames": PoolingName("frames", "all of them", in_head=False),
    "attentive": PoolingName("attentive statistics", source="Okabe et al. 2018", stored=False),
    "ecapa": PoolingName("ECAPA-TDNN", "needs the extra ecapa", "Desplanques et al. 2020", stored=False),
}

STORED = tuple(name for name, pooling in POOLINGS.items() if pooling.stored)
HEAD = {name: pooling for name, pooling in POOLINGS.items() if pooling.in_head}
