"""What becomes of a cache when the disk fills up: while shards are written, while they are sealed, exported, verified?

Question: does every command say so in a message that tells where, how much is free and what to do, end with exit code
1, leave no damaged file under a final name and nothing else but whole shards, and go on once there is space: nothing
computed twice, the result equal to that of a run that never ran out?

The disk is a small one in memory (`mount -t tmpfs`, so it takes root and Linux), and is filled by a file of ballast
until just so much is free as the case says. The command line runs in processes of its own, unchanged but for a shard
every 0.1 s and not every 20 s. Files are read by plain h5py.

    first note           nothing is free when extraction begins
    shards               some shards fit
    seal, foreseen       all shards fit, the finished file beside them does not by far
    seal, while writing  the embeddings would just fit, what else is in the file does not
    merge                the same, by `ser-probe cache merge`
    a bigger manifest    a finished file is there, and the one with more clips does not fit beside it
    verify               the finished file is to be rewritten with what `--verify` found
    export               each format

Command:  python benchmarks/disk_full.py
Result:   benchmarks/results/disk_full.md
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
from stored_files import compare, read_clips, read_folder

REPOSITORY = Path(__file__).resolve().parents[1]
MODEL = "tiny-wavlm-base"
DISK_BYTES = 32 << 20
PAGE_BYTES = 4096
FORMATS = ("npy", "parquet", "csv", "safetensors")
COMMAND = """
import functools
from ser_probe.steps import extraction_settings as module
module.ExtractionSettings = functools.partial(module.ExtractionSettings, seconds_per_shard=0.1)
from ser_probe.cli.main import main
main()
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    error: str

    @property
    def n_computed(self) -> int:
        """Clips that an extraction computed; 0 for other commands."""
        found = re.search(r"(\d+) computed now", self.out)
        return int(found[1]) if found else 0


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    case: str
    free_bytes: int
    code: int
    message: str
    n_safe: int
    left: str
    n_computed: int
    fault: str | None


class Disk:
    """A small disk in memory, with ballast that leaves as much free as is wanted."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._ballast = folder, folder / "ballast"

    @property
    def free_bytes(self) -> int:
        """What is free."""
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def leave_free(self, n_bytes: int) -> None:
        """Fill the disk up to some bytes."""
        self.clear()
        surplus = self.free_bytes - n_bytes
        if surplus < 0:
            raise SystemExit(f"the disk is too small for the case: {self.free_bytes} bytes free, {n_bytes} wanted")
        with self._ballast.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, surplus // PAGE_BYTES * PAGE_BYTES)

    def clear(self) -> None:
        """Take the ballast off."""
        self._ballast.unlink(missing_ok=True)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    """Mount a disk in memory as long as the context lasts."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)], check=True)
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


class Bench:
    """The cases, on one scratch folder.

    Args:
        scratch: Where manifests and the uninterrupted results lie; its folder `disks` holds the small disks.
        n_clips: Clips of the manifest.
    """

    def __init__(self, scratch: Path, n_clips: int) -> None:
        self.scratch, self.n_clips = scratch, n_clips
        self.whole, self.grown = scratch / "whole" / "x.h5", scratch / "grown" / "x.h5"
        self.run_well(self.extract(self.whole))
        self.run_well(self.extract(self.grown, manifest="half.csv"))
        self.run_well(self.extract(self.grown))
        with h5py.File(self.whole, "r") as file:
            self.embedding_bytes = int(file["embeddings"].nbytes)
        for kind in FORMATS:
            self.run_well(self.export(self.whole, self.whole.with_name(kind), kind))

    def run(self, words: Sequence[str]) -> Ended:
        """Run the command line."""
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, *words],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
            cwd=self.scratch,
            capture_output=True,
            text=True,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def run_well(self, words: Sequence[str]) -> Ended:
        """Run the command line, which is to succeed."""
        done = self.run(words)
        if done.code:
            raise SystemExit(f"{' '.join(words)} failed:\n{done.error}")
        return done

    def extract(self, path: Path, *, verify: int = 0, manifest: str = "clips.csv") -> list[str]:
        """Return the words of an extraction of frames."""
        words = ["extract", manifest, "--model", MODEL, "-o", str(path), "--pooling", "frames", "--device", "cpu"]
        return [*words, "--max-clips", "4", "--batch-seconds", "20", "--verify", str(verify)]

    def export(self, path: Path, output: Path, kind: str) -> list[str]:
        """Return the words of an export."""
        return ["cache", "export", str(path), "-o", str(output), "--format", kind, "--yes"]

    def try_case(
        self,
        name: str,
        free_bytes: int,
        *,
        before: Callable[[Disk, Path], None] | None = None,
        words: Callable[[Path], list[str]] | None = None,
        kind: str | None = None,
        whole: Path | None = None,
    ) -> Row:
        """Let a command run out of space, look, make space, and run it again.

        Args:
            name: What the case is called.
            free_bytes: Free when the command begins.
            before: What to do with the empty disk and the cache's path first.
            words: The command, by the cache's path; by default the extraction.
            kind: Of an export its format.
            whole: What the cache must be in the end; by default that of the whole manifest.
        """
        command = words or self.extract
        with small_disk(self.scratch / "disk") as disk:
            path = disk.folder / "x.h5"
            if before is not None:
                before(disk, path)
            old = path.read_bytes() if path.exists() else None
            disk.leave_free(free_bytes)
            free_bytes = disk.free_bytes
            ended = self.run(command(path))
            faults = list(_check_message(ended, disk.folder))
            contents = read_folder(disk.folder)
            faults += contents.torn
            if old is not None and path.read_bytes() != old:
                faults.append("the finished file was changed")
            if old is None and path.exists():
                faults.append("there is a finished file")
            left = sorted(file for file in disk.folder.rglob("*") if file.is_file() and file.name != "ballast")
            kinds = {file.name.partition("-")[0] if file.parent != disk.folder else file.name for file in left}
            faults += [f"left: {each}" for each in sorted(kinds - {"shard", "clips", "x.h5"})]
            disk.clear()
            again = self.run(command(path))
            if again.code:
                faults.append(f"not finished with space: {again.error[-300:]}")
            else:
                faults += self._check_end(path, again, len(contents.clips), kind, whole or self.whole)
            n_left = f"{len(contents.shards)} shards" + (", the finished file" if old is not None else "")
        return Row(
            name, free_bytes, ended.code, _message(ended, disk.folder), len(contents.clips), n_left, again.n_computed,
            "; ".join(faults) or None,
        )  # fmt: skip

    def _check_end(self, path: Path, again: Ended, n_safe: int, kind: str | None, whole: Path) -> Iterator[str]:
        difference = compare(whole, path)
        if difference is not None:
            yield difference
        if kind is None and again.n_computed != self.n_clips - n_safe:
            yield f"{again.n_computed} clips computed although {n_safe} were safe"
        if kind is not None and _read_all(path.with_name("out")) != _read_all(whole.with_name(kind)):
            yield "the export differs"
        known = {"x.h5", "out"}
        yield from (f"left: {each.name}" for each in path.parent.iterdir() if each.name not in known)


def _read_all(output: Path) -> dict[str, bytes]:
    """Return the files of an export."""
    if output.is_file():
        return {"": output.read_bytes()}
    return {file.name: file.read_bytes() for file in sorted(output.iterdir())}


def _check_message(ended: Ended, disk: Path) -> Iterator[str]:
    if ended.code != 1:
        yield f"exit code {ended.code}"
    if "Traceback" in ended.error:
        yield "a traceback"
    for part in ("error: The disk is full", f"where: {disk}", "MB free", "to do: free some space"):
        if part not in ended.error:
            yield f"the message lacks {part!r}"


def _message(ended: Ended, disk: Path) -> str:
    found = re.search(r"error: (.*)", ended.error, flags=re.DOTALL)
    text = found[1] if found else ended.error[-300:]
    return "; ".join(line.strip() for line in text.strip().splitlines()).replace(str(disk), "DISK")


def run_cases(bench: Bench) -> Iterator[Row]:
    """Run all cases."""
    size = bench.embedding_bytes

    def computed(disk: Disk, path: Path) -> None:
        """Have all shards there, and no finished file."""
        disk.leave_free(int(1.5 * size))
        bench.run(bench.extract(path))

    def sealed(disk: Disk, path: Path) -> None:
        bench.run_well(bench.extract(path))

    def half(disk: Disk, path: Path) -> None:
        bench.run_well(bench.extract(path, manifest="half.csv"))

    just = -(-size // PAGE_BYTES) * PAGE_BYTES + 2 * PAGE_BYTES
    yield bench.try_case("first note", 0)
    yield bench.try_case("shards", size // 2)
    yield bench.try_case("seal, foreseen", int(1.5 * size))
    yield bench.try_case("seal, while writing", just, before=computed)
    yield bench.try_case("merge", just, before=computed, words=lambda path: ["cache", "merge", str(path)])
    yield bench.try_case("a bigger manifest, shards", size // 8, before=half, whole=bench.grown)
    yield bench.try_case("a bigger manifest, seal", size, before=half, whole=bench.grown)
    yield bench.try_case("verify, foreseen", size // 2, before=sealed, words=lambda path: bench.extract(path, verify=4))
    yield bench.try_case("verify, while writing", just, before=sealed, words=lambda path: bench.extract(path, verify=4))
    for kind in FORMATS:
        yield bench.try_case(
            f"export, {kind}",
            size // 2,
            before=sealed,
            words=lambda path, kind=kind: bench.export(path, path.with_name("out"), kind),  # type: ignore[misc]
            kind=kind,
        )


HEADER = "| disk fills during | MB free | exit | message | clips safe | left behind | computed with space | fault |"


def as_line(row: Row, n_clips: int) -> str:
    """Return a line of the table."""
    cells = [
        row.case, f"{row.free_bytes / 1e6:.2f}", row.code, row.message, f"{row.n_safe} of {n_clips}", row.left,
        row.n_computed, row.fault or "none",
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def write_manifests(folder: Path, root: Path, n_clips: int) -> None:
    """Write the manifest of some clips, and one of every other of them."""
    from ser_probe.data.corpora import import_corpus

    table = import_corpus("emovo", root.resolve()).table
    clips = table.iloc[:: max(1, len(table) // n_clips)].head(n_clips).copy()
    clips["path"] = [str(root.resolve() / path) for path in clips["path"]]
    clips[["path", "label", "speaker"]].to_csv(folder / "clips.csv", index=False)
    clips[["path", "label", "speaker"]].iloc[::2].to_csv(folder / "half.csv", index=False)


def as_markdown(lines: Sequence[str], verdict: str, about: str) -> str:
    """Return the report."""
    from ser_probe.runtime import run_record

    record = run_record(device="cpu")
    packages = ", ".join(
        f"{name} {record['packages'][name]}" for name in ("ser-probe", "torch", "transformers", "h5py", "numpy")
    )
    return "\n".join(
        [
            "# A disk that fills up",
            "",
            f"{record['time_utc']}; {about}; {packages}; Python {record['python']}, {record['platform']}.",
            "",
            f"**{verdict}**",
            "",
            "Clips safe: on disk and whole when the command had ended. Left behind: beside the notes of which clips "
            "are wanted. Computed with space: by the same command once the ballast was off. Fault: of the message, the "
            "exit code, what was left, or a result that is not that of an extraction with space, bit for bit.",
            "",
            *lines,
            "",
            "Made by `benchmarks/disk_full.py`, whose header says what the cases are.",
            "",
        ]
    )


def main() -> int:
    """Run the cases, print the table and write it; 1 where one fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=REPOSITORY.parent / "shared" / "data" / "EMOVO")
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "benchmarks" / "results" / "disk_full.md")
    options = parser.parse_args()
    lines, rows = [HEADER, "|---|--:|--:|---|--:|---|--:|---|"], list[Row]()
    print("\n".join(lines))
    with tempfile.TemporaryDirectory() as scratch:
        write_manifests(Path(scratch), options.root, options.clips)
        bench = Bench(Path(scratch), options.clips)
        for row in run_cases(bench):
            rows.append(row)
            lines.append(as_line(row, options.clips))
            print(lines[-1], flush=True)
            (Path(scratch) / "disk").rmdir()
        size = bench.embedding_bytes
        n_stored = len(read_clips(bench.whole))
    passed = sum(row.fault is None for row in rows)
    verdict = f"{passed} of {len(rows)} cases without a fault."
    print(verdict)
    about = (
        f"{n_stored} clips of {options.root.name}, frames of {MODEL}: {size / 1e6:.2f} MB of embeddings, "
        f"a disk of {DISK_BYTES >> 20} MiB"
    )
    options.out.write_text(as_markdown(lines, verdict, about), encoding="utf-8")
    return 0 if passed == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
