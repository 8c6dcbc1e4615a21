"""How much faster is extraction than the ways it is usually done, on a CPU and in exact float32?

Question: for models of the published base and large shapes with random weights, how long does it take to get the
mean-pooled embedding of every layer for the clips of a corpus?

    extract            ser-probe, from audio files to the sealed HDF5 file: decoding, storing and sealing included
    per layer, clip    stock transformers, one full forward pass for each layer of each clip (the published pipeline's
                       way); measured on 2 clips, every layer, and scaled by the seconds of audio
    per clip           stock transformers, one forward pass a clip, all layers of it
    padded 8           stock transformers, padded batches of 8 in file order, by its documentation; what it computes is
                       wrong, and by how much is in the table
    8 checkpoints      ser-probe, 8 checkpoints that share a frozen front end: in one pass, and in 8; on
                       16 of the clips

The stock ways are given decoded clips and store nothing. Each way has a process of its own (the allocator's settings
are a process's), runs of the ways are interleaved, figures are medians, and only ratios within a run mean anything.

Command:  python benchmarks/extract.py --root ../shared/data/EMOVO
Result:   benchmarks/results/extract.md
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
N_CHECKPOINTS = 8
CHECKPOINT_CLIPS = 16
SHAPES: dict[str, dict[str, Any]] = {
    "base": {},
    "large": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "do_stable_layer_norm": True,
        "feat_extract_norm": "layer",
        "conv_bias": True,
    },
}
FAMILIES = ("wavlm", "hubert", "wav2vec2")
SECONDS_PER_CLIP = (1.3, 6.0)


@dataclass(frozen=True)
class Task:
    """What a process is to hold: a model's family and shape, and the clips."""

    family: str
    shape: str
    paths: tuple[Path, ...]


def build_model(task: Task) -> Any:
    """Return the stock model with random weights; the same in every process."""
    import torch
    from transformers import AutoConfig, AutoModel

    torch.manual_seed(0)
    return AutoModel.from_config(AutoConfig.for_model(task.family, **SHAPES[task.shape])).eval()


class Stock:
    """The ways of stock transformers."""

    def __init__(self, task: Task) -> None:
        from transformers import Wav2Vec2FeatureExtractor

        from ser_probe.audio.load import AudioSpec, load_clip

        self.model, large = build_model(task), task.shape == "large"
        self.clips = [load_clip(path, AudioSpec()).samples for path in task.paths]
        self.extractor = Wav2Vec2FeatureExtractor(do_normalize=large, return_attention_mask=large)
        self.alone: np.ndarray | None = None

    def embed(self, clips: list[np.ndarray]) -> np.ndarray:
        """Return the mean over frames of every hidden state, [L, B, D]."""
        import torch

        batch = self.extractor(clips, sampling_rate=16_000, padding=True, return_tensors="pt")
        with torch.inference_mode():
            states = self.model(**batch, output_hidden_states=True).hidden_states
            return torch.stack([state.mean(dim=1) for state in states]).numpy()

    def per_clip(self) -> np.ndarray:
        """One forward pass a clip."""
        self.alone = np.concatenate([self.embed([clip]) for clip in self.clips], axis=1)
        return self.alone

    def padded(self) -> float:
        """Padded batches of 8 in file order; returns the largest relative error."""
        starts = range(0, len(self.clips), 8)
        found = np.concatenate([self.embed(self.clips[start : start + 8]) for start in starts], axis=1)
        assert self.alone is not None, "run after per_clip"
        return float((np.linalg.norm(found - self.alone, axis=-1) / np.linalg.norm(self.alone, axis=-1)).max())

    def per_layer_and_clip(self) -> float:
        """A pass for each layer of two clips of middling length; returns the share of the audio they are."""
        order = np.argsort([len(clip) for clip in self.clips])
        middle = [self.clips[order[len(order) // 2 + step]] for step in (0, 1)]
        n_layers = self.model.config.num_hidden_layers + 1
        for clip in middle:
            for layer in range(n_layers):
                self.embed([clip])[layer]
        return sum(map(len, middle)) / sum(map(len, self.clips))


class Ours:
    """ser-probe's extraction."""

    def __init__(self, task: Task) -> None:
        import pandas as pd

        from ser_probe.audio.load import inspect_clip
        from ser_probe.embeddings.passes import ClipList
        from ser_probe.models.backbone import Backbone
        from ser_probe.models.families import FAMILIES as KINDS
        from ser_probe.models.inputs import InputSpec

        self.folder = Path(tempfile.mkdtemp(prefix="ser-probe-benchmark-"))
        facts = [inspect_clip(path) for path in task.paths]
        table = pd.DataFrame(
            {
                "clip_id": [fact.clip_id for fact in facts],
                "path": [path.name for path in task.paths],
                "duration_s": [fact.duration_s for fact in facts],
            }
        )
        self.clips = ClipList(table, list(task.paths))
        self.task, self.spec = task, InputSpec(16_000, normalise=task.shape == "large")
        model = build_model(task)
        KINDS[task.family].adapt(model)
        self.backbone = Backbone(model, task.family, self.spec)
        self.n_runs = 0

    def run(self, backbones: list[Any], clips: Any = None) -> list[Path]:
        """Extract from files into new caches, all clips or some."""
        from ser_probe.audio.load import AudioSpec
        from ser_probe.embeddings.extract import CacheRequest, extract
        from ser_probe.embeddings.passes import ExtractionSettings

        self.n_runs += 1
        clips = clips or self.clips
        targets = [
            CacheRequest(backbone, self.folder / f"{self.n_runs}-{index}.h5")
            for index, backbone in enumerate(backbones)
        ]
        return [result.path for result in extract(targets, clips, ExtractionSettings(AudioSpec()))]

    def extract(self) -> np.ndarray:
        """One checkpoint; returns [L, N, D] in the clips' order."""
        from ser_probe.embeddings.store import EmbeddingCache

        (path,) = self.run([self.backbone])
        with EmbeddingCache.open(path) as cache:
            return np.array(cache.array[:, cache.positions(self.clips.table["clip_id"].tolist())])

    def make_checkpoints(self) -> None:
        """Make checkpoints that differ in their encoders."""
        import copy

        import torch

        from ser_probe.models.backbone import Backbone
        from ser_probe.models.families import FAMILIES as KINDS

        models = []
        for index in range(N_CHECKPOINTS):
            model = build_model(self.task) if index else copy.deepcopy(self.backbone.model)
            KINDS[self.task.family].adapt(model)
            with torch.no_grad():
                next(model.encoder.layers[0].parameters()).add_(1e-3 * index)
            models.append(Backbone(model, self.task.family, self.spec))
        self.held = models
        rows = np.linspace(0, len(self.clips.paths) - 1, CHECKPOINT_CLIPS).round().astype(int)
        table = self.clips.table.iloc[rows].reset_index(drop=True)
        self.some = type(self.clips)(table, [self.clips.paths[row] for row in rows])

    def one_pass(self) -> None:
        """Eight checkpoints at once."""
        self.run(self.held, self.some)

    def eight_passes(self) -> None:
        """Eight checkpoints, one after another."""
        for backbone in self.held:
            self.run([backbone], self.some)


def serve(kind: type, task: Task, pipe: Any) -> None:
    """Hold one kind of process: run the methods that are asked for, and answer with time and result."""
    holder = kind(task)
    pipe.send(None)
    while (name := pipe.recv()) is not None:
        start = time.perf_counter()
        result = getattr(holder, name)()
        pipe.send((time.perf_counter() - start, result))


class Process:
    """A process that runs one way of extraction."""

    def __init__(self, kind: type, task: Task) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=serve, args=(kind, task, other))
        self.process.start()
        self.pipe.recv()

    def __call__(self, name: str) -> tuple[float, Any]:
        """Run a method; return seconds and result."""
        self.pipe.send(name)
        return self.pipe.recv()

    def close(self) -> None:
        """End it."""
        self.pipe.send(None)
        self.process.join()


def measure(task: Task, repeats: int, *, checkpoints: bool) -> dict[str, float]:
    """Return a row of the table: seconds of each way, and what the others are off by."""
    stock, ours = Process(Stock, task), Process(Ours, task)
    ways: dict[str, Callable[[], tuple[float, Any]]] = {
        "per clip": lambda: stock("per_clip"),
        "extract": lambda: ours("extract"),
        "padded 8": lambda: stock("padded"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    results: dict[str, Any] = {}
    for repeat in range(repeats + 1):
        for name, way in ways.items():
            taken, results[name] = way()
            if repeat:  # the first round warms up
                seconds[name].append(taken)
    row = {name: statistics.median(times) for name, times in seconds.items()}
    taken, share = stock("per_layer_and_clip")
    row["per layer, clip"] = taken / share
    row["error of padded 8"] = results["padded 8"]
    # The last hidden state of pre-norm models is another one by contract: design of layers.
    both = [results[name][:-1] for name in ("extract", "per clip")]
    count = min(map(len, both))
    both = [array[:count].astype(np.float64) for array in both]
    row["extract against per clip"] = float(
        (np.linalg.norm(both[0] - both[1], axis=-1) / np.linalg.norm(both[1], axis=-1)).max()
    )
    stock.close()
    if checkpoints:
        ours("make_checkpoints")
        row["8 in one pass"], _ = ours("one_pass")
        row["8 passes"], _ = ours("eight_passes")
    ours.close()
    return row


TARGETS = {
    ("base", "per layer, clip"): 14.0,
    ("large", "per layer, clip"): 28.0,
    ("base", "per clip", "wavlm"): 1.15,
    ("base", "per clip"): 1.05,
    ("large", "per clip", "wavlm"): 1.2,
    ("large", "per clip"): 1.1,
    ("base", "padded 8"): 1.8,
    ("large", "padded 8"): 2.3,
    ("base", "8 passes"): 1.3,
    ("large", "8 passes"): 1.08,
}


def as_markdown(rows: dict[tuple[str, str], dict[str, float]], source: str, repeats: int) -> str:
    """Return the report: how many times as long each way takes."""
    import torch

    from ser_probe.runtime import run_record

    record = run_record(device="cpu")
    ways = ("per layer, clip", "per clip", "padded 8")
    header = ["shape", "model", "extract, s", *(f"{way} (target)" for way in ways)]
    header += ["error of padded 8", "extract against per clip", "8 passes / one pass (target)"]
    lines = [f"| {' | '.join(header)} |", f"|{' --- |' * len(header)}"]
    for (shape, family), row in rows.items():
        cells = [shape, family, f"{row['extract']:.1f}"]
        for way in ways:
            target = TARGETS.get((shape, way, family), TARGETS[shape, way])
            cells.append(f"{row[way] / row['extract']:.2f} x ({target:g})")
        cells += [f"{row['error of padded 8']:.2f}", f"{row['extract against per clip']:.1e}"]
        eight = ""
        if "8 passes" in row:
            eight = f"{row['8 passes'] / row['8 in one pass']:.2f} x ({TARGETS[shape, '8 passes']:g})"
        lines.append(f"| {' | '.join([*cells, eight])} |")
    packages = ", ".join(f"{name} {record['packages'][name]}" for name in ("torch", "transformers", "numpy"))
    return "\n".join(
        [
            "# Extraction on a CPU: how many times as long the other ways take",
            "",
            f"{record['time_utc']}; {source}; float32; medians of {repeats} interleaved runs; {packages}; "
            f"Python {record['python']}, {record['platform']}, {record['cpu_count']} CPUs, "
            f"{torch.get_num_threads()} threads.",
            "",
            *lines,
            "",
            "Made by `benchmarks/extract.py`, whose header says what each way is.",
            "",
        ]
    )


def choose_clips(root: Path, count: int) -> tuple[tuple[Path, ...], str]:
    """Return clips in file order, spread over a corpus."""
    from ser_probe.audio.load import inspect_clip

    low, high = SECONDS_PER_CLIP
    files = [path for path in sorted(root.rglob("*.wav")) if low <= inspect_clip(path).duration_s <= high]
    chosen = [files[index] for index in np.linspace(0, len(files) - 1, count).round().astype(int)]
    seconds = sum(inspect_clip(path).duration_s for path in chosen)
    return tuple(chosen), f"{count} clips of {root.name}, {seconds / count:.2f} s on average"


def main() -> None:
    """Measure every shape and family, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=REPOSITORY.parent / "shared" / "data" / "EMOVO")
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[f"{shape}/{family}" for shape in SHAPES for family in FAMILIES])
    parser.add_argument("--out", type=Path, default=REPOSITORY / "benchmarks" / "results" / "extract.md")
    options = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line sets it, for all ways alike
    paths, source = choose_clips(options.root, options.clips)
    rows = {}
    for name in options.only:
        shape, family = name.split("/")
        rows[shape, family] = measure(Task(family, shape, paths), options.repeats, checkpoints=family == "wavlm")
        print(name, {key: round(value, 3) for key, value in rows[shape, family].items()}, flush=True)
    report = as_markdown(rows, source, options.repeats)
    print(report)
    options.out.write_text(report, encoding="utf-8")


if __name__ == "__main__":
    main()
