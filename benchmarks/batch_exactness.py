"""Does a clip's embedding depend on what it was batched with?

Question: over 64 clips of 64 different lengths, how far is each layer's embedding from the one the clip gets alone
(float32)? Two tables:

    every family (tiny models) x every pooling, ser-probe in batches of 8, as they come and shuffled
    mean pooling, ser-probe in batches of 1, 8 and 32, and beside it padded batches of the stock model, done two ways:
        stock, masked      attention mask given to the model, mean over the valid frames only
        stock, documented  attention mask for layer-norm models only, as the documentation advises; mean over all frames
      (of the families that hear waveforms; Whisper pads every clip to 30 s, and so has no such batches)

The figure is ||found - alone|| / ||alone||, the largest over clips and layers; for `frames` the largest over all
frames. Each way is compared with its own result on the clip alone; that of ser-probe equals the stock model's
(tests/models/test_families.py). The frames that speech-mean takes are drawn at random, the same for a clip each time.

Command:  OMP_NUM_THREADS=1 python benchmarks/batch_exactness.py --root ../shared/data/EMOVO
Result:   benchmarks/results/batch_exactness.md (2026-11-22): ser-probe at most 8.6e-7, a single frame of wav2vec2-BERT.
          Stock, masked: 0.3 to 0.6 for group-norm models, 0.09 for data2vec, exact for the other layer-norm models.
          Stock, documented: 0.8 to 2.3.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import Wav2Vec2FeatureExtractor

from ser_probe.audio.load import AudioSpec, load_clip
from ser_probe.errors import SerProbeError
from ser_probe.files import write_text
from ser_probe.models.backbone import Backbone
from ser_probe.models.catalogue import TINY_CONFIGS
from ser_probe.models.embedding import evaluating, pool_layers, pooled_layers
from ser_probe.models.forward import run_front_end
from ser_probe.models.loading import load_backbone
from ser_probe.models.pooling import parse_pooling, pool_mean
from ser_probe.runtime import run_record

Clips = Sequence[np.ndarray]
Embed = Callable[[Backbone, Clips], np.ndarray]

REPOSITORY = Path(__file__).resolve().parents[1]
N_CLIPS = 64
BATCH_SIZES = (1, 8, 32)
TARGET = 1e-5
POOLINGS = ("mean", "std", "mean+std", "max", "segments:5", "speech-mean", "frames")
SHUFFLED = 8


def read_clips(root: Path) -> tuple[list[np.ndarray], str]:
    """Return 64 clips, no two of the same length and evenly spread over all lengths, and a line about them."""
    by_length: dict[int, np.ndarray] = {}
    for path in sorted(root.rglob("*.wav")):
        try:
            samples = load_clip(path, AudioSpec()).samples
        except SerProbeError as error:
            print(f"skipped: {error.what}")
            continue
        by_length.setdefault(len(samples), samples)
    source = f"{N_CLIPS} clips of {root.name}"
    if len(by_length) < N_CLIPS:
        source = f"{N_CLIPS} synthetic clips (fewer than {N_CLIPS} lengths in {root.name})"
        rng = np.random.default_rng(0)
        by_length = {n: rng.standard_normal(n, np.float32) for n in range(16_000, 80_000, 1_000)}
    lengths = sorted(by_length)
    chosen = [lengths[i] for i in np.linspace(0, len(lengths) - 1, N_CLIPS).round().astype(int)]
    assert len(set(chosen)) == N_CLIPS
    seconds = f"{chosen[0] / 16_000:.2f} to {chosen[-1] / 16_000:.2f} s"
    order = np.random.default_rng(1).permutation(N_CLIPS)  # as a corpus lies on disk: not sorted by length
    return [by_length[chosen[i]] for i in order], f"{source}, no two of a length, {seconds}"


def embed_every_pooling(backbone: Backbone, clips: Clips) -> list[np.ndarray]:
    """Return of each pooling the embeddings [L, B, D'] of one batch; of `frames` [L, F, D]."""
    with evaluating([backbone]):
        frames = run_front_end(backbone, clips)
        speech = torch.zeros_like(frames.mask)
        for row, (clip, count) in enumerate(zip(clips, frames.n_frames.tolist(), strict=True)):
            draw = np.random.default_rng(zlib.crc32(clip.tobytes())).random(count) < 0.6
            draw[0] = True
            speech[row, :count] = torch.from_numpy(draw)
        poolings = [parse_pooling(name) for name in POOLINGS]
        return [found.numpy() for found in pool_layers(backbone, frames, poolings, speech)]


def measure_poolings(backbone: Backbone, clips: Clips) -> list[float]:
    """Return one family's row of the first table: the largest difference of each pooling, batches in two orders."""
    alone = [embed_every_pooling(backbone, [clip]) for clip in clips]
    worst = [0.0] * len(POOLINGS)
    orders = np.arange(len(clips)), np.random.default_rng(2).permutation(len(clips))
    for order in orders:
        for start in range(0, len(clips), SHUFFLED):
            chosen = order[start : start + SHUFFLED]
            together = embed_every_pooling(backbone, [clips[i] for i in chosen])
            for column, found in enumerate(together):
                expected = np.concatenate([alone[i][column] for i in chosen], axis=1)
                worst[column] = max(worst[column], largest_difference(found, expected))
    return worst


def embed_stock(backbone: Backbone, clips: Clips, *, documented: bool) -> np.ndarray:
    """Return the pooled `output_hidden_states` of the stock model on one padded batch, [L, B, D]."""
    with_mask = not documented or getattr(backbone.config, "feat_extract_norm", "layer") == "layer"
    extractor = Wav2Vec2FeatureExtractor(do_normalize=backbone.input.normalise, return_attention_mask=with_mask)
    batch = extractor(list(clips), sampling_rate=16_000, padding=True, return_tensors="pt")
    with torch.inference_mode():
        states = backbone.model(**batch, output_hidden_states=True).hidden_states
        if documented:
            pooled: list[Tensor] = [state.mean(dim=1) for state in states]
        else:
            n_frames = torch.from_numpy(backbone.frame_counts([len(clip) for clip in clips]))
            mask = torch.arange(states[0].shape[1])[None] < n_frames[:, None]
            pooled = [pool_mean(state, mask) for state in states]
    return torch.stack(pooled).numpy()


def embed_stock_masked(backbone: Backbone, clips: Clips) -> np.ndarray:
    """Return what the stock model gives with every mask it takes."""
    return embed_stock(backbone, clips, documented=False)


def embed_stock_documented(backbone: Backbone, clips: Clips) -> np.ndarray:
    """Return what the stock model gives by its documentation."""
    return embed_stock(backbone, clips, documented=True)


def in_batches(embed: Embed, backbone: Backbone, clips: Clips, size: int) -> np.ndarray:
    """Return the embeddings [L, N, D] of clips taken in batches of a size."""
    starts = range(0, len(clips), size)
    return np.concatenate([embed(backbone, clips[start : start + size]) for start in starts], axis=1)


def largest_difference(found: np.ndarray, alone: np.ndarray) -> float:
    """Return the largest relative difference over layers and clips."""
    return float((np.linalg.norm(found - alone, axis=-1) / np.linalg.norm(alone, axis=-1)).max())


def measure(backbone: Backbone, clips: Clips) -> list[float]:
    """Return one model's row of the second table; without the stock ways where it hears no waveform."""
    alone = in_batches(pooled_layers, backbone, clips, 1)
    row = [largest_difference(in_batches(pooled_layers, backbone, clips, size), alone) for size in BATCH_SIZES]
    order = np.random.default_rng(2).permutation(len(clips))
    shuffled = in_batches(pooled_layers, backbone, [clips[i] for i in order], 8)
    row.append(largest_difference(shuffled, alone[:, order]))
    for embed in (embed_stock_masked, embed_stock_documented) if backbone.input.log_mel is None else ():
        alone = in_batches(embed, backbone, clips, 1)
        row += [largest_difference(in_batches(embed, backbone, clips, size), alone) for size in (8, 32)]
    return row


def as_table(header: Sequence[str], rows: dict[str, list[float]]) -> list[str]:
    """Return the lines of a table; what was not measured is a dash."""
    lines = [f"| {' | '.join(header)} |", f"|{' --- |' * len(header)}"]
    for name, row in rows.items():
        cells = [f"{value:.1e}" for value in row] + ["-"] * (len(header) - 1 - len(row))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def as_markdown(poolings: dict[str, list[float]], rows: dict[str, list[float]], source: str) -> str:
    """Return the report."""
    record = run_record(device="cpu")
    packages = ", ".join(f"{name} {record['packages'][name]}" for name in ("torch", "transformers", "numpy"))
    header = [
        *("model", "batch 1", "batch 8", "batch 32", "8, shuffled"),
        *("stock masked, 8", "stock masked, 32", "stock documented, 8", "stock documented, 32"),
    ]
    worst = max(*(max(row[:4]) for row in rows.values()), *(max(row) for row in poolings.values()))
    verdict = f"Largest for ser-probe: {worst:.1e}, target {TARGET:.0e}: {'met' if worst < TARGET else 'MISSED'}."
    return "\n".join(
        [
            "# Batch exactness: the largest relative difference to the clip alone, over all layers, float32",
            "",
            f"{record['time_utc']}; {source}; {packages}; Python {record['python']}, {record['platform']}, "
            f"{record['cpu_count']} CPUs, {torch.get_num_threads()} thread(s).",
            "",
            f"Every family and pooling, batches of {SHUFFLED} as they come and shuffled:",
            "",
            *as_table(["model", *POOLINGS], poolings),
            "",
            "Mean pooling, and the stock model's ways:",
            "",
            *as_table(header, rows),
            "",
            verdict,
            "",
            "Made by `benchmarks/batch_exactness.py`, whose header says what each column is.",
            "",
        ]
    )


def main() -> None:
    """Measure all tiny models, print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=REPOSITORY.parent / "shared" / "data" / "EMOVO")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "benchmarks" / "results" / "batch_exactness.md")
    options = parser.parse_args()
    clips, source = read_clips(options.root)
    poolings = {name: measure_poolings(load_backbone(name), clips) for name in TINY_CONFIGS}
    report = as_markdown(poolings, {name: measure(load_backbone(name), clips) for name in TINY_CONFIGS}, source)
    print(report)
    write_text(options.out, report)


if __name__ == "__main__":
    main()
