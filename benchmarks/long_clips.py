"""Is the memory that a long clip takes what was estimated before?

Question: what does a process take more when a clip of 30, 60 or 120 s goes through a small model whole, and what did
`models.clip_memory` say? It should say rather more than less, and not much more.

Each measurement is a process of its own: the model hears a second of noise, then the clip, in float32 by one thread
with packed weights as in an extraction. What counts is the peak of what it holds (ru_maxrss) after the clip against
that before.

Command:  python benchmarks/long_clips.py
Result:   benchmarks/results/long_clips.md
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from ser_probe.models.clip_memory import clip_memory
from ser_probe.models.embedding import evaluating, pool_layers
from ser_probe.models.forward import run_prepared
from ser_probe.models.loading import load_backbone
from ser_probe.models.packing import packed
from ser_probe.models.pooling import parse_pooling
from ser_probe.models.precision import arithmetic
from ser_probe.runtime import package_versions, run_record

RESULT = Path(__file__).parent / "results" / "long_clips.md"
MODELS = ("tiny-wavlm-base", "tiny-hubert-base", "tiny-data2vec-audio-base", "tiny-wav2vec2-bert")
DURATIONS_S = (30, 60, 120)
MIB = 2**20


def measure(name: str, duration_s: int) -> dict[str, float]:
    """Return what a clip takes in this process and what was estimated, in MiB."""
    torch.set_num_threads(1)
    backbone = load_backbone(name)
    rng = np.random.default_rng(0)

    def run(seconds: int) -> None:
        samples = (0.1 * rng.standard_normal(16_000 * seconds)).astype(np.float32)
        with arithmetic("fp32", backbone.device), evaluating([backbone]), packed([backbone]):
            frames = run_prepared(backbone, [backbone.input.prepare(samples)])
            pool_layers(backbone, frames, [parse_pooling("mean")])

    run(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    estimated = clip_memory([backbone]).needed_bytes(16_000 * duration_s)
    run(duration_s)
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"taken": taken / 1024, "estimated": estimated / MIB}


def main() -> None:
    """Measure each model and duration in a process of its own, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=2, metavar=("MODEL", "SECONDS"))
    one = parser.parse_args().one
    if one:
        print(json.dumps(measure(one[0], int(one[1]))))
        return
    rows, shares = [], []
    for name in MODELS:
        for duration_s in DURATIONS_S:
            command = [sys.executable, __file__, "--one", name, str(duration_s)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found = json.loads(output.splitlines()[-1])
            shares.append(found["taken"] / found["estimated"])
            rows.append(
                f"| {name} | {duration_s} | {found['taken']:.0f} | {found['estimated']:.0f} | {shares[-1]:.2f} |"
            )
            print(rows[-1], flush=True)
    record, versions = run_record(), package_versions()
    RESULT.write_text(
        "# Memory of long clips\n\n"
        f"{record['time_utc']}; torch {versions['torch']}, transformers {versions['transformers']}; Python "
        f"{record['python']}, {record['platform']}, 1 thread, float32.\n\n"
        f"**What a clip takes is {min(shares):.2f} to {max(shares):.2f} of what was estimated before.**\n\n"
        "| model | seconds | taken, MiB | estimated, MiB | share |\n|---|--:|--:|--:|--:|\n"
        + "\n".join(rows)
        + "\n\nMade by `benchmarks/long_clips.py`, whose header says what is measured.\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
