"""How fast is the audit against `prepare`, and does its memory stay flat?

    python benchmarks/audit_speed.py 2000 FOLDER...

Hard links of the clips below some folders become a corpus of so many clips; both commands run on it in turn, each in a
process of its own. Links are copies of each other, which a real corpus has few of.

Result: benchmarks/results/audit_speed.md
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd


def link_clips(sources: list[Path], folder: Path, n_clips: int) -> Path:
    """Return the manifest of hard links of clips (copies where links cannot be made)."""
    rows = []
    for number in range(n_clips):
        source = sources[number % len(sources)]
        target = folder / f"{number:06}{source.suffix}"
        try:
            os.link(source, target)
        except OSError:
            target.write_bytes(source.read_bytes())
        rows.append((target.name, ("anger", "joy")[number % 2], f"s{number % 20}"))
    pd.DataFrame(rows, columns=["path", "label", "speaker"]).to_csv(folder / "m.csv", index=False)
    return folder / "m.csv"


def timed(words: list[str]) -> tuple[float, float, float]:
    """Return the seconds, processor seconds and peak MiB of the largest process of a command."""
    script = (
        "import resource, sys\nfrom ser_probe.cli.main import app\n"
        "if __name__ == '__main__':\n"
        "    try:\n        app(sys.argv[1:])\n    except SystemExit:\n        pass\n"
        "    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]\n"
        "    print('USED', sum(u.ru_utime + u.ru_stime for u in both), max(u.ru_maxrss for u in both))\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "run.py"
        program.write_text(script)
        start = time.perf_counter()
        done = subprocess.run([sys.executable, program, *words], capture_output=True, text=True, check=True)
        wall_s = time.perf_counter() - start
    cpu_s, peak_kib = done.stdout.rpartition("USED")[2].split()
    return wall_s, float(cpu_s), float(peak_kib) / 1024


def main(n_clips: int, folders: list[str]) -> None:
    """Print clips per second and memory of both commands, and their ratio."""
    sources = [path for folder in folders for path in sorted(Path(folder).rglob("*.wav"))]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for size in (n_clips // 4, n_clips):
            clips = folder / str(size)
            clips.mkdir()
            manifest = str(link_clips(sources, clips, size))
            commands = {
                "prepare": ["prepare", "table", manifest, "-o", str(clips / "prepared.csv")],
                "audit": ["audit", manifest, "-o", str(clips / "audit"), "--no-figures"],
            }
            found = {name: timed(words) for name, words in commands.items()}
            for name, (wall_s, cpu_s, peak_mib) in found.items():
                print(f"{name:8} {size} clips: {size / wall_s:.0f} clips/s, {cpu_s:.0f} processor s, "
                      f"{peak_mib:.0f} MiB", flush=True)  # fmt: skip
            ratios = [found["audit"][place] / found["prepare"][place] for place in (0, 1)]
            print(f"audit / prepare: {ratios[0]:.2f} in time, {ratios[1]:.2f} in processor time", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
