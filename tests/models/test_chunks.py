"""Chunks: every frame of a clip counts once, in a chunk that hears it as part of the clip."""

from __future__ import annotations

import functools
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_probe.errors import ConfigError
from ser_probe.models.backbone import Backbone
from ser_probe.models.chunks import Chunk, Chunking, check_chunking, cut_clip
from ser_probe.models.forward import run_front_end
from ser_probe.models.inputs import InputSpec
from ser_probe.models.loading import load_backbone

from .conftest import relative_difference, synthetic_clip

RATE_HZ = 16_000
GRIDS = ["tiny-wav2vec2-base", "tiny-wav2vec2-bert", "tiny-whisper"]
"""One of each way to count frames."""

SAME_PRODUCTS = 3e-6
"""Relative: the front end of a stretch against the same stretch of the whole, in float32. Seven convolutions, each of
which rounds: 1.2e-6 was measured where the order of sums follows the number of rows (AVX2)."""

load = functools.cache(load_backbone)


def starts(chunks: list[Chunk], stride: int) -> list[int]:
    """The first frame of each chunk, counted in the clip."""
    assert all(chunk.start % stride == 0 for chunk in chunks), "chunks begin on the frame grid"
    return [chunk.start // stride for chunk in chunks]


@pytest.mark.parametrize("name", GRIDS)
@settings(max_examples=100, deadline=None)
@given(
    n_samples=st.integers(400, 90 * RATE_HZ),
    length_s=st.floats(0.2, 30.0) | st.sampled_from([0.5, 1.0, 30.0]),
    overlap=st.floats(0, 0.49) | st.sampled_from([0.0, 0.25]),
)
def test_kept_frames_are_those_of_the_clip(name: str, n_samples: int, length_s: float, overlap: float) -> None:
    backbone = load(name)
    n_samples = max(n_samples, backbone.min_samples)
    chunking = Chunking(length_s, overlap * length_s)
    chunks, stride = cut_clip(backbone, n_samples, chunking), backbone.samples_per_frame
    firsts = starts(chunks, stride)
    kept = [range(first + chunk.keep_from, first + chunk.keep_to) for first, chunk in zip(firsts, chunks, strict=True)]
    (total,) = backbone.frame_counts([n_samples])
    assert [frame for part in kept for frame in part] == list(range(total))
    assert all(0 <= chunk.start < chunk.stop <= n_samples for chunk in chunks)
    assert chunks[-1].stop == n_samples
    own = backbone.frame_counts([chunk.stop - chunk.start for chunk in chunks])
    assert all(0 <= chunk.keep_from < chunk.keep_to <= count for chunk, count in zip(chunks, own, strict=True))
    # No chunk is longer than what was asked for, and all have the same number of frames.
    size, longest, least = check_chunking(backbone, chunking)
    assert len(chunks) == 1 or set(own) == {longest}
    assert all(chunk.stop - chunk.start == size <= length_s * RATE_HZ for chunk in chunks[:-1])
    assert chunks[-1].stop - chunks[-1].start <= max(size + stride, length_s * RATE_HZ)
    for (before, first), (_after, second) in pairwise(zip(chunks, firsts, strict=True)):
        assert (first + own[0] - second) * stride >= least * stride >= round(chunking.overlap_s * RATE_HZ)
        assert before.stop - second * stride >= round(chunking.overlap_s * RATE_HZ)
        # Of what they share, each gives the half that lies deeper inside it.
        assert abs((first + before.keep_to - second) - (first + own[0] - second) / 2) <= 1


@pytest.mark.parametrize("name", GRIDS)
def test_clips_up_to_the_limit_stay_whole(name: str) -> None:
    backbone = load(name)
    limit = Chunking(2.01, 0.5)  # no whole number of frames
    for n_samples in (400 + 160, RATE_HZ, int(2.01 * RATE_HZ)):
        (total,) = backbone.frame_counts([n_samples])
        assert cut_clip(backbone, n_samples, limit) == [Chunk(0, n_samples, 0, total)]
    assert len(cut_clip(backbone, int(2.01 * RATE_HZ) + 640, limit)) == 2


def test_chunks_spread_evenly_over_the_clip() -> None:
    chunks = cut_clip(load("tiny-wav2vec2-base"), int(9.9 * RATE_HZ), Chunking(4.0, 1.0))
    assert [chunk.start / RATE_HZ for chunk in chunks] == [0.0, 2.96, 5.9]
    assert [(chunk.stop - chunk.start) / RATE_HZ for chunk in chunks] == [4.0, 4.0, 4.0]


@pytest.mark.parametrize("overlap_s", [0.0, 0.1, 0.3])
def test_frames_of_a_chunk_are_frames_of_the_clip(overlap_s: float, rng: np.random.Generator) -> None:
    """In a front end that knows no context, with layer norms and without input normalisation, to the last bit or so."""
    backbone = load_backbone("tiny-wav2vec2-large")
    backbone.input = InputSpec(RATE_HZ, normalise=False)
    clip = synthetic_clip(rng, 51_234)
    whole = run_front_end(backbone, [clip]).features[0].detach().numpy()
    chunks = cut_clip(backbone, len(clip), Chunking(0.9, overlap_s))
    assert len(chunks) > 3
    for chunk, first in zip(chunks, starts(chunks, 320), strict=True):
        own = run_front_end(backbone, [clip[chunk.start : chunk.stop]]).features[0].detach().numpy()
        assert relative_difference(own, whole[first : first + len(own)]) < SAME_PRODUCTS
        # A grid that is off by one frame would be seen.
        assert relative_difference(own[1:], whole[first : first + len(own) - 1]) > 0.01


@pytest.mark.parametrize("overlap_s", [-0.1, 1.0, 1.5, float("nan")])
def test_an_overlap_of_half_a_chunk_or_more(overlap_s: float) -> None:
    with pytest.raises(ConfigError, match=r"shorter than half a chunk(.|\n)*from 0 to under 1 s(.|\n)*found: "):
        Chunking(2.0, overlap_s)


@pytest.mark.parametrize(("length_s", "overlap_s", "found"), [(0.02, 0.0, "0 in"), (0.03, 0.014, "1 in")])
def test_chunks_of_too_few_frames(length_s: float, overlap_s: float, found: str) -> None:
    backbone: Backbone = load("tiny-wav2vec2-base")
    with pytest.raises(ConfigError, match=rf"too few frames to overlap(.|\n)*tiny-wav2vec2-base(.|\n)*{found}"):
        cut_clip(backbone, RATE_HZ, Chunking(length_s, overlap_s))


def test_chunks_longer_than_what_the_model_hears() -> None:
    expected = r"longer than what the model hears(.|\n)*at most 30 s(.|\n)*found: 30.5 s(.|\n)*--max-duration-s"
    with pytest.raises(ConfigError, match=expected):
        check_chunking(load("tiny-whisper"), Chunking(30.5, 2.0))
    assert check_chunking(load("tiny-whisper"), Chunking(30.0, 2.0)) == (480_000, 1500, 100)
    assert check_chunking(load("tiny-wav2vec2-base"), Chunking(30.5, 2.0)) == (488_000, 1524, 100)
