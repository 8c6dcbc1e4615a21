"""What does extraction lose when it is killed: while it computes, while it seals, while shards are merged?

Question: kill -9 a run at a random moment, alone or one of three side by side, let the others go on, finish it. Is any
clip lost, stored twice or computed again, any file torn, anything left behind, and is the finished file the one of a
run that nobody killed?

    compute   killed anywhere between the begin, when the wanted clips are noted, and the end
    shards    killed anywhere between the first shard and the end
    seal      killed after a process began to make the finished file
    merge     killed while `ser-probe cache merge` makes it, of shards that three killed workers left

Some of the kills aimed at sealing and merging wait for the finished file to appear, whose shards are then still there.
A trial kills one process, or one of three (the others go on), or all three at once, each kill a SIGKILL; it is finished
by the same command, by one that does all, or by `cache merge`. The processes run the command line itself
(`extract --shard I/3`, `cache merge`), forked from one that has loaded all modules, so that nothing is changed but two
things: a shard every 0.1 s and not every 20 s, and a journal of the clips that go into a model. What lies on disk is
read by plain h5py. Every third trial stores frames and not means, which makes the finished file some hundred times as
large.

Command:  python benchmarks/kill_extraction.py
Result:   benchmarks/results/kill_extraction.md
"""

from __future__ import annotations

import argparse
import functools
import itertools
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stored_files import Contents, compare, read_clips, read_folder

REPOSITORY = Path(__file__).resolve().parents[1]
MODEL = "tiny-wavlm-base"
AIMS = ("compute", "shards", "seal", "merge")
SECONDS_PER_SHARD = 0.1
FILE = "x.h5"
ENDED = "all was done"


# ------------------------------------------------------------------------------------------------- the processes


def prepare_modules() -> None:
    """Load what the commands need, so that a forked process begins at once; no thread may run before a fork."""
    import torch

    from ser_probe.cli import main, progress  # noqa: F401
    from ser_probe.embeddings.computation import Computation
    from ser_probe.embeddings.passes import ExtractionSettings
    from ser_probe.models.loading import load_backbone
    from ser_probe.steps import extraction_settings
    from ser_probe.steps.caches import merge  # noqa: F401

    torch.set_num_threads(1)
    load_backbone(MODEL)
    extraction_settings.ExtractionSettings = functools.partial(  # type: ignore[assignment,misc]
        ExtractionSettings, seconds_per_shard=SECONDS_PER_SHARD
    )
    plain = Computation.add

    def add(self: Computation, batch: Any, inputs: Any) -> None:
        with open(os.environ["JOURNAL"], "a", encoding="ascii") as journal:
            journal.write("".join(f"{clip_id}\n" for clip_id in batch.clip_ids))
        plain(self, batch, inputs)

    Computation.add = add  # type: ignore[method-assign]


class Process:
    """The command line in a process of its own, which writes down the clips that it computes."""

    def __init__(self, folder: Path, words: Sequence[str]) -> None:
        self.words, self.journal = words, folder / f"journal-{next(_NUMBERS)}.txt"
        self._process = multiprocessing.get_context("fork").Process(target=self._run)
        self._process.start()

    def _run(self) -> None:
        from ser_probe.cli.main import app

        os.environ["JOURNAL"] = str(self.journal)
        os.chdir(self.journal.parent)
        with open("output.txt", "a", encoding="utf-8") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            app(self.words, prog_name="ser-probe")

    @property
    def pid(self) -> int:
        """Its id."""
        return self._process.pid or 0

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.is_alive()

    def kill(self) -> None:
        """End it, this moment."""
        self._process.kill()

    def wait(self) -> int:
        """Wait for its end; return the exit code."""
        self._process.join()
        return self._process.exitcode or 0

    def computed(self) -> list[str]:
        """Return the clips that went into the model."""
        return self.journal.read_text().split() if self.journal.exists() else []


_NUMBERS = itertools.count()


def start(run: Path, kind: str, count: int, pooling: str) -> list[Process]:
    """Start one process, or several side by side."""
    if kind == "merge":
        return [Process(run, ["cache", "merge", FILE]) for _ in range(count)]
    words = ["extract", "../clips.csv", "--model", MODEL, "-o", FILE, "--pooling", pooling, "--verify", "0"]
    words += ["--max-clips", "4", "--batch-seconds", "20", "--device", "cpu"]
    shares = [["--shard", f"{index + 1}/{count}"] for index in range(count)] if count > 1 else [[]]
    return [Process(run, [*words, *share]) for share in shares]


def phase_of(run: Path, pids: Iterable[int] = ()) -> str:
    """Return how far a run is, by what lies there; `pids` are the killed ones."""
    folder = run / f"{FILE}.shards"
    if (run / FILE).exists():
        return "removing shards" if folder.exists() else ENDED
    if any((run / f".x.{pid}.partial.h5").exists() for pid in pids) or (not pids and list(run.glob(".x.*.partial.h5"))):
        return "writing the finished file"
    if (folder / "seal.lock").exists():
        return "before writing the finished file"
    if any(list(folder.glob(f".shard-*.{pid}.partial.h5")) for pid in pids):
        return "writing a shard"
    return "computing"


# ------------------------------------------------------------------------------------------------------ the trials


@dataclass(frozen=True)
class Trial:
    """What is to be killed.

    Args:
        number: From 1.
        aim: At what: compute, seal, merge.
        count: Processes side by side.
        victims: How many are killed.
        pooling: What is stored.
        finisher: How the work is finished: by the killed commands again, by one command, or by a merge.
        at_rename: Whether the kill waits for the finished file to appear, while its shards are still there.
    """

    number: int
    aim: str
    count: int
    victims: int
    pooling: str
    finisher: str
    at_rename: bool = False


@dataclass
class Row:
    """A line of the table; the counts are those of faults."""

    trial: Trial
    phase: str
    n_shards: int
    n_committed: int
    n_computed: int
    again: int
    lost: int
    doubled: int
    torn: int
    fault: str | None

    @property
    def passed(self) -> bool:
        """Whether all is as it should be."""
        return not (self.again or self.lost or self.doubled or self.torn or self.fault)


def plan_trials(count: int) -> list[Trial]:
    """Return the trials: two of three with three processes, of these every other kills all of them."""
    trials = []
    for number in range(1, count + 1):
        aim = AIMS[(number - 1) // 3 % len(AIMS)]
        processes = 1 if number % 3 == 0 else 3
        victims = 1 if processes == 1 or number % 2 else 3
        pooling = "frames" if number // 3 % 3 == 2 else "mean"
        finishers = {
            "compute": ("same", "one"),
            "shards": ("same", "one"),
            "seal": ("same", "merge"),
            "merge": ("merge", "one"),
        }[aim]
        at_rename = aim in ("seal", "merge") and number % 4 == 0
        trials.append(Trial(number, aim, processes, victims, pooling, finishers[number // 2 % 2], at_rename))
    return trials


@dataclass(frozen=True)
class Timing:
    """Seconds that uninterrupted runs take until the end, from when a trial's time begins; see `wait_and_kill`."""

    compute: float
    shards: float
    seal: float
    merge: float = 0.0


def time_run(run: Path, count: int, pooling: str) -> Timing:
    """Run without a kill."""
    run.mkdir()
    folder = run / f"{FILE}.shards"
    began_s = stored_s = sealing_s = None
    processes = start(run, "extract", count, pooling)
    while not (run / FILE).exists() or folder.exists():
        now_s = time.monotonic()
        began_s = began_s or (now_s if folder.exists() else None)
        stored_s = stored_s or (now_s if list(folder.glob("shard-*")) else None)
        sealing_s = sealing_s or (now_s if (folder / "seal.lock").exists() else None)
        time.sleep(0.0002)
        if not any(process.is_running for process in processes) and not (run / FILE).exists():
            raise SystemExit(f"the uninterrupted run failed: {(run / 'output.txt').read_text()}")
    ended_s = time.monotonic()
    if any(process.wait() for process in processes):
        raise SystemExit(f"the uninterrupted run failed: {(run / 'output.txt').read_text()}")
    return Timing(*(ended_s - (moment_s or ended_s) for moment_s in (began_s, stored_s, sealing_s)))


def time_merge(run: Path, template: Path, pooling: str) -> float:
    """Merge without a kill; return the seconds that it takes."""
    shutil.copytree(template, run)
    began_s = time.monotonic()
    process = start(run, "merge", 1, pooling)[0]
    while process.is_running and (not (run / FILE).exists() or (run / f"{FILE}.shards").exists()):
        time.sleep(0.0002)
    ended_s = time.monotonic()
    if process.wait():
        raise SystemExit(f"the uninterrupted merge failed: {(run / 'output.txt').read_text()}")
    return ended_s - began_s


def leave_shards(run: Path, pooling: str) -> None:
    """Kill three workers as they begin to seal, so that all shards are there and no finished file."""
    while True:
        run.mkdir()
        processes = start(run, "extract", 3, pooling)
        while not (run / f"{FILE}.shards" / "seal.lock").exists() and any(each.is_running for each in processes):
            time.sleep(0.0001)
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
        if not (run / FILE).exists():
            return
        shutil.rmtree(run)


def wait_and_kill(run: Path, trial: Trial, processes: Sequence[Process], share: float, timing: Timing) -> str:
    """Kill at a share of the time that the phase takes, or at the moment of the renaming; return what was hit."""
    folder = run / f"{FILE}.shards"
    begin = {"compute": "clips-*", "shards": "shard-*", "seal": "seal.lock", "merge": "*"}[trial.aim]
    while not list(folder.glob(begin)) and any(process.is_running for process in processes):
        time.sleep(0.0001)
    due_s = time.monotonic() + share * getattr(timing, trial.aim)
    while any(process.is_running for process in processes):
        if (run / FILE).exists() if trial.at_rename else time.monotonic() >= due_s:
            break
        time.sleep(0.0001)
    running = [process for process in processes if process.is_running]
    if trial.victims == 1 and running:
        # At best the one that writes the finished file.
        sealers = [each for each in running if (run / f".x.{each.pid}.partial.h5").exists()]
        running = sealers or [random.Random(trial.number).choice(running)]
    for process in running:
        process.kill()
    for process in running:
        process.wait()
    return phase_of(run, [process.pid for process in running]) if running else ENDED


def finish(run: Path, trial: Trial) -> list[Process]:
    """Run to the end what was killed; return the processes."""
    finisher = trial.finisher
    begun = start(run, "merge", 1, trial.pooling) if finisher == "merge" else []
    if begun:
        begun[0].wait()
    if not (run / FILE).exists():  # not all clips were committed, so a merge could only say so
        others = start(run, "extract", trial.count if finisher == "same" else 1, trial.pooling)
        for process in others:
            process.wait()
        begun += others
    elif (run / f"{FILE}.shards").exists():
        begun += start(run, "merge", 1, trial.pooling)
        begun[-1].wait()
    return begun


def run_trial(folder: Path, trial: Trial, rng: random.Random, timings: dict[tuple[str, int], Timing]) -> Row:
    """Kill, let the others go on, finish, and look."""
    run, share = folder / "trial", rng.random()
    timing = timings[trial.pooling, trial.count]
    while True:
        if trial.aim == "merge":
            shutil.copytree(folder / f"shards-{trial.pooling}", run)
        else:
            run.mkdir()
        processes = start(run, "merge" if trial.aim == "merge" else "extract", trial.count, trial.pooling)
        phase = wait_and_kill(run, trial, processes, share, timing)
        if phase != ENDED:
            break
        for process in processes:
            process.wait()
        shutil.rmtree(run)  # a kill that came too late is none
        share *= 0.8
    at_kill = read_folder(run)
    for process in processes:
        process.wait()
    before = read_folder(run)
    lost = len(at_kill.clips - before.clips) + (0 if (run / FILE).exists() else len(at_kill.shards - before.shards))
    finishers = finish(run, trial)
    return _judge(folder, trial, phase, at_kill, before, processes, finishers, lost)


def _judge(
    folder: Path,
    trial: Trial,
    phase: str,
    at_kill: Contents,
    before: Contents,
    killed: Sequence[Process],
    finishers: Sequence[Process],
    lost: int,
) -> Row:
    run = folder / "trial"
    everything = set(read_clips(folder / f"whole-{trial.pooling}" / FILE))
    side_by_side = Counter(clip_id for process in killed for clip_id in process.computed())
    computed = Counter(clip_id for process in finishers for clip_id in process.computed())
    again = len(computed.keys() & before.clips) + sum(
        count > 1 for counts in (side_by_side, computed) for count in counts.values()
    )
    fault, stored = None, list[str]()
    if (run / FILE).exists():
        stored = read_clips(run / FILE)
        fault = compare(folder / f"whole-{trial.pooling}" / FILE, run / FILE)
    else:
        fault = "no finished file: " + (run / "output.txt").read_text()[-300:]
    kept = {FILE, "output.txt", *(process.journal.name for process in [*killed, *finishers])}
    left = sorted(path.name for path in run.iterdir() if path.name not in kept and not path.name.startswith("journal-"))
    if left:
        fault = f"left behind: {', '.join(left)}"
    row = Row(
        trial=trial,
        phase=phase,
        n_shards=len(at_kill.shards),
        n_committed=len(before.clips),
        n_computed=len(computed),
        again=again,
        lost=lost + len(everything.difference(stored)),
        doubled=at_kill.doubled + before.doubled + len(stored) - len(set(stored)),
        torn=len(at_kill.torn) + len(before.torn),
        fault=fault,
    )
    if not row.passed:
        print((run / "output.txt").read_text()[-3000:], at_kill.torn, before.torn, file=sys.stderr)
    shutil.rmtree(run)
    return row


# ------------------------------------------------------------------------------------------------------ the report

SUMMARY = "| aimed at | killed while | trials | processes | killed | computed again | lost | doubled | torn | equal |"
HEADER = "| | aimed at | killed | of | storing | while | shards | committed | computed after | finished by | fault |"
FINISHERS = {"same": "the same command", "one": "one command", "merge": "merge"}


def summarise(rows: Sequence[Row]) -> list[str]:
    """Return the trials by what was hit."""
    lines = [SUMMARY, "|---|---|" + "--:|" * 8]
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.trial.aim, row.phase), []).append(row)
    for (aim, phase), members in [*sorted(groups.items()), (("**all**", ""), list(rows))]:
        cells = [
            aim, phase, len(members),
            sum(row.trial.count for row in members), sum(row.trial.victims for row in members),
            *(sum(getattr(row, name) for row in members) for name in ("again", "lost", "doubled", "torn")),
            f"{sum(row.fault is None for row in members)} of {len(members)}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def as_line(row: Row, n_clips: int) -> str:
    """Return a trial's line."""
    trial = row.trial
    counts = ", ".join(
        f"{getattr(row, name)} {name}" for name in ("again", "lost", "doubled", "torn") if getattr(row, name)
    )
    cells = [
        trial.number, trial.aim, trial.victims, trial.count, trial.pooling, row.phase, row.n_shards,
        f"{row.n_committed} of {n_clips}", row.n_computed, FINISHERS[trial.finisher],
        "; ".join(filter(None, [counts, row.fault])) or "none",
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def as_markdown(rows: Sequence[Row], lines: Sequence[str], verdict: str, about: str) -> str:
    """Return the report."""
    from ser_probe.runtime import run_record

    record = run_record(device="cpu")
    packages = ", ".join(
        f"{name} {record['packages'][name]}" for name in ("ser-probe", "torch", "transformers", "h5py", "numpy")
    )
    return "\n".join(
        [
            "# Extraction, killed and finished",
            "",
            f"{record['time_utc']}; {about}; {packages}; Python {record['python']}, {record['platform']}, "
            f"{record['cpu_count']} CPUs, 1 thread a process.",
            "",
            f"**{verdict}**",
            "",
            "Committed: clips on disk when the finishing processes began. Computed again: clips that went into a model "
            "although they were committed, or that two processes computed side by side. Lost: committed clips that "
            "vanished, or are not in the finished file. Torn: files under a final name that are not whole. Equal: the "
            "finished file has the datasets and the key of an uninterrupted one-process run, bit for bit, and nothing "
            "lies beside it.",
            "",
            *summarise(rows),
            "",
            "## Trial by trial",
            "",
            *lines,
            "",
            "Made by `benchmarks/kill_extraction.py`, whose header says what is done.",
            "",
        ]
    )


def main() -> int:
    """Run the trials, print a table and write it down; 1 where one fails."""
    options = _options()
    os.environ["OMP_NUM_THREADS"] = "1"
    rng = random.Random(options.seed)
    prepare_modules()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        n_clips = write_manifest(folder, options.root, options.clips, rng)
        timings: dict[tuple[str, int], Timing] = {}
        for pooling in ("mean", "frames"):
            timings[pooling, 1] = time_run(folder / f"whole-{pooling}", 1, pooling)
            timings[pooling, 3] = time_run(folder / f"side-{pooling}", 3, pooling)
            difference = compare(folder / f"whole-{pooling}" / FILE, folder / f"side-{pooling}" / FILE)
            if difference is not None:
                raise SystemExit(f"three processes and one differ without any kill: {difference}")
            leave_shards(folder / f"shards-{pooling}", pooling)
            merge_s = time_merge(folder / f"merge-{pooling}", folder / f"shards-{pooling}", pooling)
            for count in (1, 3):
                timings[pooling, count] = replace(timings[pooling, count], merge=merge_s)
        print(timings)
        lines, rows = [HEADER, "|--:|---|--:|--:|---|---|--:|--:|--:|---|---|"], list[Row]()
        print("\n".join(lines), flush=True)
        for trial in plan_trials(options.kills):
            rows.append(run_trial(folder, trial, rng, timings))
            lines.append(as_line(rows[-1], n_clips))
            print(lines[-1], flush=True)
    passed = sum(row.passed for row in rows)
    verdict = (
        f"{passed} of {len(rows)} trials, {sum(row.trial.victims for row in rows)} kills: "
        + ("nothing lost, doubled, torn, left behind or computed again" if passed == len(rows) else "see the faults")
        + f"; {sum(row.fault is None for row in rows)} finished files equal the uninterrupted one."
    )
    about = f"{n_clips} clips of {options.root.name}, {MODEL}"
    report = as_markdown(rows, lines, verdict, about)
    print(verdict, *summarise(rows), sep="\n")
    options.out.write_text(report, encoding="utf-8")
    return 0 if passed == len(rows) else 1


def write_manifest(folder: Path, root: Path, n_clips: int, rng: random.Random) -> int:
    """Choose clips and write their manifest; return how many they are."""
    from ser_probe.data.corpora import import_corpus

    place = root.resolve()
    table = import_corpus("emovo", place).table
    rows = sorted(rng.sample(range(len(table)), min(n_clips, len(table))))
    clips = table.iloc[rows].copy()
    clips["path"] = [str(place / path) for path in clips["path"]]
    clips[["path", "label", "speaker"]].to_csv(folder / "clips.csv", index=False)
    return len(clips)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60, help="number of trials")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and the choice of clips")
    parser.add_argument("--clips", type=int, default=72, help="number of clips")
    parser.add_argument("--root", type=Path, default=REPOSITORY.parent / "shared" / "data" / "EMOVO")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "benchmarks" / "results" / "kill_extraction.md")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
