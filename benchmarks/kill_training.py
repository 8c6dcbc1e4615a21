"""Kill fine-tuning at random moments, go on, and compare with a run that was left alone, bit for bit.

    python benchmarks/kill_training.py --kills 3

Each trial starts a fresh run in a process of its own, kills it with SIGKILL, starts it again and lets it end. Its
checkpoints must then hold the same bits as those of the uninterrupted run: backbone, head and optimiser. The
last trial waits until a checkpoint is being written. Needs no data: the clips are synthetic tones with noise.
Writes benchmarks/results/kill_training.md.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ser_probe.training.settings import SplitClips

RESULTS = Path(__file__).parent / "results" / "kill_training.md"
SAMPLE_RATE_HZ = 16_000
LABELS = ["low", "middle", "high"]


def main() -> int:
    """Run the trials and print a table; 1 where one differs."""
    options = _options()
    if options.worker:
        train(options.worker, options.threads, steps=options.steps, every=options.every)
        return 0
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        # The first run also fills the front end's cache, which would take a part of each trial's time.
        _start(folder / "warm", options).wait()
        seconds = _time_checkpoints(folder / "whole", options)
        lines = [f"uninterrupted: {options.steps} steps, a checkpoint each {options.every} steps or {seconds:.1f} s"]
        lines.append(f"{'trial':>5} {'killed after':>22} {'while':>9} {'left behind':>22} {'went on from':>13}  result")
        print("\n".join(lines), flush=True)
        results = []
        for trial in range(1, options.kills + 1):
            step = rng.randrange(0, options.steps, options.every)
            delay_s = None if trial == options.kills else rng.uniform(0, seconds)
            equal, line = _trial(folder, trial, step, delay_s, options)
            results.append(equal)
            lines.append(line)
            print(line, flush=True)
    lines.append(f"{sum(results)} of {len(results)} resumed runs equal the uninterrupted one, bit for bit")
    print(lines[-1])
    _write_results(lines, options)
    return 0 if all(results) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=3, help="number of trials")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch; equality needs the same number")
    parser.add_argument("--steps", type=int, default=60, help="of each run")
    parser.add_argument("--every", type=int, default=10, help="steps between checkpoints")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _start(run: Path, options: argparse.Namespace) -> subprocess.Popen[bytes]:
    return start(run, options.threads, steps=options.steps, every=options.every)


def _time_checkpoints(run: Path, options: argparse.Namespace) -> float:
    """Let a run end, and return the mean seconds from one of its checkpoints to the next."""
    if _start(run, options).wait() != 0:
        raise SystemExit("the uninterrupted run failed")
    first, last = (run / "checkpoints" / f"checkpoint-{step}" / "checkpoint.json" for step in (0, options.steps))
    return (last.stat().st_mtime - first.stat().st_mtime) / options.steps * options.every


def _trial(folder: Path, trial: int, step: int, delay_s: float | None, options: argparse.Namespace) -> tuple[bool, str]:
    """Kill one run and let it go on; return whether it equals the uninterrupted one, and how it went."""
    run = folder / f"trial-{trial}"
    while_doing = kill(_start(run, options), run, step, delay_s)
    moment = f"step {step}" + ("" if delay_s is None else f" + {delay_s:.2f} s")
    left = [path.name for path in (run / "checkpoints").iterdir()]
    newest = max(int(name.rpartition("-")[2]) for name in left if name.startswith("checkpoint-"))
    partial = next((name for name in left if name.startswith(".")), "-")
    if _start(run, options).wait() != 0:
        raise SystemExit(f"trial {trial}: the resumed run failed")
    difference = "was over before the kill" if while_doing == "over" else compare(folder / "whole", run)
    line = f"{trial:>5} {moment:>22} {while_doing:>9} {partial:>22} {newest:>13}  {difference or 'equal'}"
    return difference is None, line


def _write_results(lines: list[str], options: argparse.Namespace) -> None:
    """Write what was printed, with what it was made with."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("ser-probe", "torch", "transformers", "accelerate"))
    made_with = (
        f"`python benchmarks/kill_training.py --kills {options.kills} --seed {options.seed}`, "
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}; Python {platform.python_version()}, {packages}; "
        f"{platform.system()} {platform.machine()}, {options.threads} thread."
    )
    RESULTS.write_text("\n".join(["# Fine-tuning, killed and resumed", "", made_with, "", "```", *lines, "```", ""]))


def start(run: Path, threads: int, *, steps: int, every: int) -> subprocess.Popen[bytes]:
    """Start a process that trains in a folder."""
    options = {"--worker": run, "--threads": threads, "--steps": steps, "--every": every}
    arguments = [str(part) for pair in options.items() for part in pair]
    return subprocess.Popen([sys.executable, str(Path(__file__).resolve()), *arguments])


def kill(process: subprocess.Popen[bytes], run: Path, step: int, delay_s: float | None) -> str:
    """Kill a process some seconds after the checkpoint of a step, or while it writes the next one.

    Returns:
        What it was doing: training, writing (a checkpoint), or over, if it ended by itself.
    """
    seen_s = None
    while process.poll() is None:
        now_s = time.monotonic()
        if seen_s is None and (run / "checkpoints" / f"checkpoint-{step}").is_dir():
            seen_s = now_s
        if seen_s is not None:
            # The folder that the step's own checkpoint was written into is renamed by now.
            writing = any(run.glob("checkpoints/.checkpoint-*.partial"))
            if writing if delay_s is None else now_s >= seen_s + delay_s:
                process.send_signal(signal.SIGKILL)
                process.wait()
                return "writing" if writing else "training"
        time.sleep(0.0005)
    return "over"


def compare(whole: Path, resumed: Path) -> str | None:
    """Return the first difference between the checkpoints of two runs, None where all their bits are equal."""
    import torch
    from safetensors.torch import load_file

    steps = sorted(path.name for path in (whole / "checkpoints").glob("checkpoint-*"))
    if steps != sorted(path.name for path in (resumed / "checkpoints").glob("checkpoint-*")):
        return "other checkpoints"
    for step in steps:
        for name in ("model.safetensors", "head.safetensors"):
            ours, theirs = (load_file(run / "checkpoints" / step / name) for run in (resumed, whole))
            if ours.keys() != theirs.keys() or any(not torch.equal(ours[key], theirs[key]) for key in ours):
                return f"{step}/{name} differs"
    last = max(steps, key=lambda name: int(name.rpartition("-")[2]))
    ours, theirs = (
        torch.load(run / "checkpoints" / last / "optimizer.pt", weights_only=True)["state"] for run in (resumed, whole)
    )
    for row, state in theirs.items():
        if any(not torch.equal(value, ours[row][key]) for key, value in state.items()):
            return "the optimiser's state differs"
    return None


def train(run: Path, threads: int, *, steps: int, every: int) -> None:
    """Train in a folder, or go on there: dropout, SpecAugment, accumulation and shuffling are all on."""
    import torch

    from ser_probe.models.heads import HeadSettings
    from ser_probe.models.loading import load_backbone
    from ser_probe.models.targets import CLASSES, Targets
    from ser_probe.training.fine_tuning import TrainingTask, fine_tune
    from ser_probe.training.settings import TrainingSettings

    torch.set_num_threads(threads)
    settings = TrainingSettings(
        epochs=None,
        max_steps=steps,
        batch_size=4,
        gradient_accumulation=2,
        learning_rate=5e-4,
        checkpoint_every=every,
        early_stopping_patience=None,
        spec_augment=True,
    )
    fine_tune(
        load_backbone("tiny-wavlm-base"),
        TrainingTask(
            synthetic_clips(30, seed=1),
            synthetic_clips(12, seed=2),
            Targets(CLASSES, tuple(LABELS)),
            HeadSettings(dropout=0.1),
        ),
        settings,
        run,
        cache_folder=run.parent / "front_end",
        recipe={"synthetic": 1},
    )


def synthetic_clips(n_clips: int, seed: int, *, shortest_s: float = 0.5, longest_s: float = 1.5) -> SplitClips:
    """Return tones of three heights in noise, of different durations."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n_clips) % len(LABELS)
    samples = []
    for label in labels:
        time_s = np.arange(int(rng.uniform(shortest_s, longest_s) * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        tone = np.sin(2 * np.pi * 120 * (label + rng.uniform(0.8, 1.2)) * time_s)
        samples.append((0.3 * tone + 0.05 * rng.standard_normal(len(time_s))).astype(np.float32))
    durations_s = np.array([len(clip) / SAMPLE_RATE_HZ for clip in samples])
    return SplitClips([f"{seed}/{row}" for row in range(n_clips)], labels, durations_s, lambda row: samples[row])


if __name__ == "__main__":
    sys.exit(main())
