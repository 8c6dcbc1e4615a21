"""How much faster does fine-tuning go than the recipe that the Trainer's documentation leads to?

Question: training steps per second and peak memory, for models of the published base shape with random weights and a
frozen convolutional front end, over clips of a corpus.

    ser-probe   `training.fine_tuning`: the front end computed once and kept, batches of clips of about one length,
                fused attention in WavLM. Making the front end's cache is timed apart, and counted in proportion: a
                tenth of it an epoch, as in a run of the default 10 epochs
    plain       AutoModelForAudioClassification with the Trainer: each clip decoded in each epoch, batches in file
                order, padded to their longest clip as the model's documentation says, stock attention

Each way has a process of its own, which trains one epoch to warm up and then one that is timed; runs are interleaved,
figures are medians, and only ratios within a run mean anything. float32 on a CPU; on a GPU (`--device cuda --shape
large --precision bf16 --batch-size 16`) as asked.

Command:  python benchmarks/train.py --root ../shared/data/EMOVO
Result:   benchmarks/results/train.md
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from extract import REPOSITORY, SHAPES, choose_clips

from ser_probe.runtime import Silent

EPOCHS_OF_A_RUN = 10
TARGET = 1.3


@dataclass(frozen=True)
class Task:
    """What to train, on which clips, and where."""

    family: str
    shape: str
    paths: tuple[Path, ...]
    batch_size: int
    device: str
    precision: str

    @property
    def labels(self) -> np.ndarray:
        """Seven classes in turn; what is learnt does not matter here."""
        return np.arange(len(self.paths)) % 7

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch."""
        return -(-len(self.paths) // self.batch_size)


@dataclass(frozen=True)
class Timing:
    """Seconds of the timed epoch, seconds of making the caches, and the largest memory in MiB."""

    epoch_s: float
    cache_s: float
    memory_mib: float


class StepTimes(Silent):
    """A progress that notes when each training step ended, and when the first one of all began."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.began = 0.0

    def start(self, what: str, total: float, unit: str) -> None:
        """Note when training began; it begins last."""
        self.began = time.perf_counter()

    def advance(self, amount: float = 1, **fields: object) -> None:
        """Note a step's end."""
        if "loss" in fields:
            self.times.append(time.perf_counter())


def build_config(task: Task) -> Any:
    """Return the stock config, with a head of seven classes."""
    from transformers import AutoConfig

    return AutoConfig.for_model(task.family, **SHAPES[task.shape], num_labels=7, apply_spec_augment=False)


def train_ours(task: Task) -> Timing:
    """Train with ser-probe; return the timing of the second epoch."""
    import torch
    from transformers import AutoModel

    from ser_probe.audio.load import AudioSpec, inspect_clip, load_clip
    from ser_probe.models.backbone import Backbone
    from ser_probe.models.families import FAMILIES
    from ser_probe.models.inputs import InputSpec
    from ser_probe.models.targets import CLASSES, Targets
    from ser_probe.training.fine_tuning import TrainingTask, fine_tune
    from ser_probe.training.settings import SplitClips, TrainingSettings

    torch.manual_seed(0)
    model = AutoModel.from_config(build_config(task), attn_implementation=FAMILIES[task.family].attention)
    FAMILIES[task.family].adapt(model)
    backbone = Backbone(model.to(task.device), task.family, InputSpec(16_000, normalise=task.shape == "large"))
    durations_s = np.array([inspect_clip(path).duration_s for path in task.paths])
    ids = [str(path) for path in task.paths]
    train = SplitClips(ids, task.labels, durations_s, lambda row: load_clip(task.paths[row], AudioSpec()).samples)
    few = SplitClips(train.ids[:7], task.labels[:7], durations_s[:7], train.load)
    settings = TrainingSettings(
        epochs=2, batch_size=task.batch_size, checkpoint_every=10**6, early_stopping_patience=None,
        precision=task.precision,
    )  # fmt: skip
    progress = StepTimes()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        learning = TrainingTask(train, few, Targets(CLASSES, tuple("abcdefg")))
        fine_tune(
            backbone, learning, settings, Path(folder) / "run", cache_folder=Path(folder) / "cache", recipe={},
            progress=progress,
        )  # fmt: skip
    n_steps = task.steps_per_epoch
    return Timing(progress.times[-1] - progress.times[n_steps - 1], progress.began - began, _peak_memory(task.device))


def train_plainly(task: Task) -> Timing:
    """Train with the Trainer as documented; return the timing of the second epoch."""
    import torch
    from torch.utils.data import SequentialSampler
    from transformers import (
        AutoModelForAudioClassification,
        Trainer,
        TrainerCallback,
        TrainingArguments,
        Wav2Vec2FeatureExtractor,
    )

    from ser_probe.audio.load import AudioSpec, load_clip

    torch.manual_seed(0)
    model = AutoModelForAudioClassification.from_config(build_config(task))
    model.freeze_feature_encoder()
    large = task.shape == "large"
    extractor = Wav2Vec2FeatureExtractor(do_normalize=large, return_attention_mask=large)
    times: list[float] = []

    class Clips(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(task.paths)

        def __getitem__(self, row: int) -> dict[str, Any]:
            return {"input_values": load_clip(task.paths[row], AudioSpec()).samples, "labels": int(task.labels[row])}

    class Plain(Trainer):
        def _get_train_sampler(self, *_: Any, **__: Any) -> SequentialSampler:
            return SequentialSampler(self.train_dataset)

    class Times(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append(time.perf_counter())

    def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
        batch = extractor(
            [row["input_values"] for row in rows], sampling_rate=16_000, padding=True, return_tensors="pt"
        )
        return {**batch, "labels": torch.tensor([row["labels"] for row in rows])}

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, num_train_epochs=2, per_device_train_batch_size=task.batch_size, report_to="none",
            save_strategy="no", disable_tqdm=True, remove_unused_columns=False, use_cpu=task.device == "cpu",
            bf16=task.precision == "bf16", dataloader_pin_memory=task.device != "cpu", logging_strategy="no",
        )  # fmt: skip
        Plain(model, arguments, data_collator=collate, train_dataset=Clips(), callbacks=[Times()]).train()
    return Timing(times[-1] - times[task.steps_per_epoch - 1], 0.0, _peak_memory(task.device))


WAYS = {"ser-probe": train_ours, "plain": train_plainly}


def _peak_memory(device: str) -> float:
    if device != "cpu":
        import torch

        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def serve(way: str, task: Task, pipe: Any) -> None:
    """Train one way in this process and send the timing."""
    pipe.send(WAYS[way](task))


def run_alone(way: str, task: Task) -> Timing:
    """Train one way in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(way, task, theirs))
    process.start()
    theirs.close()
    timing = ours.recv()
    process.join()
    return timing


def measure(task: Task, repeats: int) -> dict[str, float]:
    """Return a row: medians of both ways."""
    timings: dict[str, list[Timing]] = {way: [] for way in WAYS}
    for _ in range(repeats):
        for way in WAYS:
            timings[way].append(run_alone(way, task))
    row = {}
    for way, found in timings.items():
        row[f"{way}, s"] = statistics.median(timing.epoch_s for timing in found)
        row[f"{way}, cache s"] = statistics.median(timing.cache_s for timing in found)
        row[f"{way}, MiB"] = statistics.median(timing.memory_mib for timing in found)
    return row


def as_markdown(rows: dict[str, dict[str, float]], task: Task, source: str, repeats: int) -> str:
    """Return the report."""
    from ser_probe.runtime import run_record

    record = run_record(device=task.device)
    lines = [
        "| model | steps/s, ser-probe | steps/s, plain | ratio (target) | ratio with a tenth of the cache | cache, s "
        "| peak MiB, ser-probe | peak MiB, plain |",
        f"|{' --- |' * 8}",
    ]
    for family, row in rows.items():
        ours, plain, cache = row["ser-probe, s"], row["plain, s"], row["ser-probe, cache s"]
        lines.append(
            f"| {family} {task.shape} | {task.steps_per_epoch / ours:.3f} | {task.steps_per_epoch / plain:.3f} "
            f"| {plain / ours:.2f} x ({TARGET:g}) | {plain / (ours + cache / EPOCHS_OF_A_RUN):.2f} x | {cache:.1f} "
            f"| {row['ser-probe, MiB']:.0f} | {row['plain, MiB']:.0f} |"
        )
    packages = ", ".join(f"{name} {record['packages'][name]}" for name in ("torch", "transformers", "numpy"))
    return "\n".join(
        [
            "# Fine-tuning: steps per second and memory beside the plain Trainer recipe",
            "",
            f"{record['time_utc']}; {source}; {task.device}, {task.precision}, batches of {task.batch_size}, the "
            f"second of two epochs; medians of {repeats} interleaved runs; {packages}; Python {record['python']}, "
            f"{record['platform']}, {record['cpu_count']} CPUs.",
            "",
            *lines,
            "",
            "Made by `benchmarks/train.py`, whose header says what each way is.",
            "",
        ]
    )


def main() -> None:
    """Measure each family, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=REPOSITORY.parent / "shared" / "data" / "EMOVO")
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--shape", choices=list(SHAPES), default="base")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--families", nargs="*", default=["wavlm", "hubert"])
    parser.add_argument("--out", type=Path, default=REPOSITORY / "benchmarks" / "results" / "train.md")
    options = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line sets it, for both ways alike
    paths, source = choose_clips(options.root, options.clips)
    rows = {}
    for family in options.families:
        task = Task(family, options.shape, paths, options.batch_size, options.device, options.precision)
        rows[family] = measure(task, options.repeats)
        print(family, {key: round(value, 2) for key, value in rows[family].items()}, flush=True)
    report = as_markdown(rows, task, source, options.repeats)
    print(report)
    options.out.write_text(report, encoding="utf-8")


if __name__ == "__main__":
    main()
