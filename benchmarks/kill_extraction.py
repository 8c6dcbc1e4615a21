"""Kill extraction at random moments, resume it, and compare with a run that was left alone, dataset by dataset.

    python benchmarks/kill_extraction.py --kills 20 --root ../shared/data/EMOVO

Each trial starts an extraction in a fresh folder and a process of its own, kills it with SIGKILL, reads what lies
there with plain h5py, and runs it again to the end. Three quarters of the kills fall anywhere between the first
batch and the end; the last quarter fall while the finished file is made. Clips: EMOVO's where `--root` is given, else
those of the built-in sample corpus. Writes benchmarks/results/kill_extraction.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import h5py

RESULTS = Path(__file__).parent / "results" / "kill_extraction.md"
MODEL = "tiny-wavlm-base"
HEADER = "| trial | killed after | while | shards | committed | computed after | lost | twice | sealed file |"


@dataclass
class Killed:
    """What a kill left behind."""

    after_s: float
    phase: str
    n_shards: int
    committed: set[str]
    vanished: int


def main() -> int:
    """Run the trials, print a table and write it down; 1 where one fails."""
    options = _options()
    if options.worker:
        extract_clips(options.worker, options.threads)
        return 0
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_manifest(folder / "clips.json", options.root, options.clips, folder, rng)
        # Twice, because the first fills the disk's cache; the quicker one counts, on a machine with other work.
        timed = [time_whole(folder / name, options) for name in ("whole", "control")]
        whole_s, seal_s = (min(seconds) for seconds in zip(*timed, strict=True))
        n_clips = len(stored_clips(folder / "whole" / "x.h5"))
        lines = [HEADER, "|" + "--:|--:|---|" + "--:|" * 5 + "---|"]
        print(f"uninterrupted: {n_clips} clips in {whole_s:.2f} s, of which {seal_s:.2f} s make the finished file")
        print("\n".join(lines), flush=True)
        failures = 0
        for trial in range(1, options.kills + 1):
            aimed = trial > options.kills - options.kills // 4
            delay_s = rng.uniform(0, seal_s if aimed else whole_s)
            line, passed = run_trial(folder, trial, delay_s, aimed, n_clips, options)
            failures += not passed
            lines.append(line)
            print(line, flush=True)
        shutil.rmtree(folder / "control")
        run_to_end(folder / "control", options)
        if compare(folder / "whole" / "x.h5", folder / "control" / "x.h5") is not None:
            raise SystemExit(
                "two uninterrupted runs differ, so the trials say nothing: was the code changed meanwhile?"
            )
    verdict = (
        f"{options.kills - failures} of {options.kills} kills: no committed clip lost or computed twice, and the "
        "sealed file equals the uninterrupted one, dataset by dataset, bit for bit"
    )
    print(verdict)
    write_results(lines, verdict, whole_s, seal_s, n_clips, options)
    return 1 if failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="number of trials")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and the choice of clips")
    parser.add_argument("--clips", type=int, default=96, help="number of clips")
    parser.add_argument("--root", type=Path, help="folder of the EMOVO corpus; without it, the sample corpus")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch; equality needs the same number")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


# ------------------------------------------------------------------------------------------------ one trial


def run_trial(
    folder: Path, trial: int, delay_s: float, aimed: bool, n_clips: int, options: argparse.Namespace
) -> tuple[str, bool]:
    """Kill one run and let it go on; return a line of the table and whether all is as it should be."""
    run = folder / f"trial-{trial}"
    killed = kill(run, delay_s, aimed, options)
    report = run_to_end(run, options)
    n_computed = report["n_computed"]
    lost = killed.vanished + n_computed - (n_clips - len(killed.committed))
    twice = report["n_forward"] - n_computed
    difference = compare(folder / "whole" / "x.h5", run / "x.h5")
    leftovers = sorted(path.name for path in run.iterdir() if path.name != "x.h5")
    if leftovers:
        difference = f"left beside it: {', '.join(leftovers)}"
    shutil.rmtree(run)
    cells = (
        trial, f"{killed.after_s:.2f} s", killed.phase, killed.n_shards, f"{len(killed.committed)} of {n_clips}",
        n_computed, lost, twice, difference or "equal",
    )  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |", not lost and not twice and difference is None


def kill(run: Path, delay_s: float, aimed: bool, options: argparse.Namespace) -> Killed:
    """Kill a process some seconds after its first batch, or after it began to make the finished file."""
    process = start(run, options)
    began_s = origin_s = time.monotonic()
    seen: set[str] = set()
    while process.poll() is None:
        now_s = time.monotonic()
        seen |= {path.name for path in run.glob("x.h5.shards/shard-*.h5")}
        if aimed and not (run / "x.h5.shards" / "seal.lock").exists():
            origin_s = now_s
        if now_s >= origin_s + delay_s:
            break
        time.sleep(0.0005)
    phase = "computing"
    if process.poll() is not None:
        phase = "all was done"
    elif (run / "x.h5").exists():
        phase = "removing shards" if (run / "x.h5.shards").exists() else "ending"
    elif (run / "x.h5.shards" / "seal.lock").exists():
        phase = "sealing"
    elif any(run.glob("x.h5.shards/.shard-*.partial.h5")):
        phase = "writing a shard"
    process.kill()
    process.wait()
    shards = list(run.glob("x.h5.shards/shard-*.h5"))
    committed = {clip_id for path in [*shards, *run.glob("x.h5")] for clip_id in stored_clips(path)}
    # Shards may go only when the finished file, which holds their clips, is in place.
    vanished = 0 if (run / "x.h5").exists() else len(seen - {path.name for path in shards})
    return Killed(time.monotonic() - began_s, phase, len(shards), committed, vanished)


def start(run: Path, options: argparse.Namespace) -> subprocess.Popen[str]:
    """Start a process that extracts into a folder, and wait until it is about to decode its first clip."""
    run.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, __file__, "--worker", str(run), "--threads", str(options.threads)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise SystemExit("the extraction did not start")
    return process


def run_to_end(run: Path, options: argparse.Namespace) -> dict[str, int]:
    """Extract to the end; return how many clips were computed, as told and as counted."""
    process = start(run, options)
    out, _ = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"the extraction in {run.name} failed")
    return json.loads(out)


def time_whole(run: Path, options: argparse.Namespace) -> tuple[float, float]:
    """Run uninterrupted; return its seconds and those of making the finished file."""
    process = start(run, options)
    began_s = time.monotonic()
    sealing_s = None
    while not (run / "x.h5").exists() or (run / "x.h5.shards").exists():
        if sealing_s is None and (run / "x.h5.shards" / "seal.lock").exists():
            sealing_s = time.monotonic()
        if process.poll() not in (None, 0):
            raise SystemExit("the uninterrupted run failed")
        time.sleep(0.0002)
    ended_s = time.monotonic()
    process.communicate()
    return ended_s - began_s, ended_s - (sealing_s or ended_s)


# ------------------------------------------------------------------------- the files, read by plain h5py


def stored_clips(path: Path) -> list[str]:
    """Return the clips of a file, after reading all of its embeddings."""
    with h5py.File(path, "r") as file:
        if file["embeddings"][...].shape[1] != len(file["clip_id"]):
            raise SystemExit(f"{path.name} is torn")
        return file["clip_id"].asstr()[...].tolist()


def compare(whole: Path, resumed: Path) -> str | None:
    """Return the first difference between the datasets of two files, None where all their bits are equal."""

    def read(path: Path) -> dict[str, tuple[object, ...]]:
        found: dict[str, tuple[object, ...]] = {}

        def take(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset):
                values = item[()]
                bits = values.tolist() if values.dtype == object else values.tobytes()
                found[name] = (item.shape, str(item.dtype), bits)

        with h5py.File(path, "r") as file:
            file.visititems(take)
        return found

    ours, theirs = read(resumed), read(whole)
    if ours.keys() != theirs.keys():
        return f"other datasets: {sorted(ours.keys() ^ theirs.keys())}"
    return next((f"{name} differs" for name in ours if ours[name] != theirs[name]), None)


# ----------------------------------------------------------------------------------------------- the work


def write_manifest(path: Path, root: Path | None, n_clips: int, scratch: Path, rng: random.Random) -> None:
    """Choose clips and write down their files."""
    from ser_probe.data.corpora import import_corpus

    corpus = "emovo" if root else "sample"
    folder = (root or scratch / "sample").resolve()
    table = import_corpus(corpus, folder)
    rows = sorted(rng.sample(range(len(table)), min(n_clips, len(table))))
    clips = table.iloc[rows][["path", "label", "speaker"]].to_dict("list")
    path.write_text(json.dumps({"root": str(folder), "clips": clips}))


def extract_clips(run: Path, threads: int) -> None:
    """Extract into a folder, or go on there, in small batches and a shard every tenth of a second."""
    import pandas as pd
    import torch

    from ser_probe.audio.load import AudioSpec, inspect_clip
    from ser_probe.embeddings import computation
    from ser_probe.embeddings.extract import Target, extract
    from ser_probe.embeddings.passes import ClipList, ExtractionSettings
    from ser_probe.models.loading import load_backbone

    torch.set_num_threads(threads)
    manifest = json.loads((run.parent / "clips.json").read_text())
    table = pd.DataFrame(manifest["clips"])
    paths = [Path(manifest["root"]) / path for path in table["path"]]
    facts = [inspect_clip(path) for path in paths]
    table["clip_id"], table["duration_s"] = [f.clip_id for f in facts], [f.duration_s for f in facts]
    settings = ExtractionSettings(AudioSpec(), batch_seconds=10.0, max_clips=4, workers=1, seconds_per_shard=0.1)
    counted, plain = [0], computation.pool_layers

    def count_and_pool(backbone, frames, *rest):  # type: ignore[no-untyped-def]
        counted[0] += len(frames.n_frames)
        return plain(backbone, frames, *rest)

    computation.pool_layers = count_and_pool
    target = Target(load_backbone(MODEL), run / "x.h5")
    print("ready", flush=True)
    result = extract([target], ClipList(table, paths), settings)[0]
    print(json.dumps({"n_computed": result.n_computed, "n_forward": counted[0]}))


def write_results(
    lines: list[str], verdict: str, whole_s: float, seal_s: float, n_clips: int, options: argparse.Namespace
) -> None:
    """Write the table with what it was made with."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("ser-probe", "torch", "transformers", "h5py", "numpy"))
    corpus = "EMOVO" if options.root else "the sample corpus"
    text = [
        "# Extraction, killed and resumed",
        "",
        f"`python benchmarks/kill_extraction.py --kills {options.kills}{' --root EMOVO' if options.root else ''}`, "
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}; Python {platform.python_version()}, {packages}; "
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {options.threads} thread.",
        "",
        f"{n_clips} clips of {corpus}, {MODEL}, one worker process, batches of up to 4 clips, a shard every 0.1 s. "
        f"The uninterrupted run takes {whole_s:.2f} s, of which {seal_s:.2f} s make the finished file. Each kill is a "
        "SIGKILL in a fresh folder; the last quarter is aimed at the making of the finished file. A second "
        "uninterrupted run, after the trials, equals the first.",
        "",
        f"**{verdict}.**",
        "",
        "Committed: clips in shards or in the finished file after the kill, by plain h5py. Computed after: clips that "
        "the resumed run computed. Lost: committed clips that it computed again, and shards that vanished. Twice: "
        "clips that went through the model more than once in the resumed run.",
        "",
        *lines,
        "",
    ]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(text))


if __name__ == "__main__":
    sys.exit(main())
