"""Long clips in chunks: overlapping stretches that go through the model as clips of their own.

Attention takes memory with the square of the duration, and most models were never trained on a minute at a time. The
chunks begin on the frame grid, so that their frames are frames of the whole clip; of an overlap each chunk keeps the
half on its side. Every frame of the clip counts once, so a pooling weighs chunks by their frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ser_probe.errors import ConfigError
from ser_probe.models.backbone import Backbone


@dataclass(frozen=True)
class Chunking:
    """When and how clips are cut.

    Args:
        length_s: Longest clip that is not cut, and the length of a chunk, in s.
        overlap_s: Smallest overlap of neighbouring chunks, in s.

    Raises:
        ConfigError: If the overlap is not shorter than half a chunk.
    """

    length_s: float
    overlap_s: float

    def __post_init__(self) -> None:
        if not 0 <= self.overlap_s < self.length_s / 2:
            raise ConfigError(
                "The overlap of chunks must be shorter than half a chunk",
                expected=f"from 0 to under {self.length_s / 2:g} s",
                found=f"{self.overlap_s:g} s",
            )


@dataclass(frozen=True)
class Chunk:
    """A stretch of a clip.

    Args:
        start: Its first sample.
        stop: The sample after its last.
        keep_from: Its first frame that counts.
        keep_to: The frame after the last one that counts.
    """

    start: int
    stop: int
    keep_from: int
    keep_to: int


def cut_clip(backbone: Backbone, n_samples: int, chunking: Chunking) -> list[Chunk]:
    """Return the chunks of a clip, in order; the frames they keep are those of the whole clip, each once.

    Args:
        backbone: Its sampling rate, frame grid and frame counts are used.
        n_samples: Samples of the clip.
        chunking: How to cut.

    Raises:
        ConfigError: If a chunk is longer than what the model hears, or has too few frames to overlap.
    """
    stride, total = backbone.samples_per_frame, int(backbone.frame_counts([n_samples])[0])
    size, length, overlap = check_chunking(backbone, chunking)
    if total <= length or n_samples <= int(chunking.length_s * backbone.input.sample_rate_hz):
        return [Chunk(0, n_samples, 0, total)]
    count = -(-(total - overlap) // (length - overlap))
    # Spread evenly: all chunks have the same length, the last one included.
    firsts = np.rint(np.linspace(0, total - length, count)).astype(int)
    borders = [0, *((firsts[1:] + firsts[:-1] + length) // 2), total]
    stops = [*(int(first) * stride + size for first in firsts[:-1]), n_samples]
    return [
        Chunk(int(first) * stride, stop, int(begin - first), int(end - first))
        for first, stop, begin, end in zip(firsts, stops, borders, borders[1:], strict=False)
    ]


def check_chunking(backbone: Backbone, chunking: Chunking) -> tuple[int, int, int]:
    """Return samples and frames of a chunk, and the frames that neighbours share at least.

    Raises:
        ConfigError: If a chunk is longer than what the model hears, or has too few frames to overlap.
    """
    rate_hz, stride, longest = backbone.input.sample_rate_hz, backbone.samples_per_frame, backbone.max_samples
    n_samples = int(chunking.length_s * rate_hz)
    if longest is not None and n_samples > longest:
        raise ConfigError(
            "The chunks are longer than what the model hears",
            where=backbone.name,
            expected=f"at most {longest / rate_hz:g} s",
            found=f"{chunking.length_s:g} s",
            fix="set a smaller --max-duration-s",
        )
    length = int(backbone.frame_counts([n_samples])[0])
    if length * stride > n_samples:
        # Whisper counts a frame that has only begun: chunks end with a complete frame.
        length = n_samples // stride
        n_samples = length * stride
    overlap = -(-round(chunking.overlap_s * rate_hz) // stride)
    if length <= overlap:
        raise ConfigError(
            "The chunks have too few frames to overlap",
            where=backbone.name,
            expected=f"more than {overlap} frames",
            found=f"{max(length, 0)} in {chunking.length_s:g} s",
            fix="make chunks longer (--max-duration-s), or their overlap shorter",
        )
    return n_samples, length, overlap
