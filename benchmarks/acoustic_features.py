"""How many clips a second become eGeMAPS, by default and with one worker?

Question: acoustic features are computed in the worker processes, beside no model. How fast is `ser-probe extract
--model eGeMAPSv02` by default, which is a worker for each processor that the process may use, against `--workers 1`?

The clips are those of a folder (EMOVO's), every Kth of them. Both ways take turns, and the speed is the one that the
command reports, which counts from the first clip to the last and no checks before. The load of the machine when it
began is told too: on a busy one neither gets its processors.

Command:  python benchmarks/acoustic_features.py FOLDER [--every K] [--rounds N]
Result:   benchmarks/results/acoustic_features.md
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from ser_probe.runtime import package_versions, run_record, usable_cpus

RESULT = Path(__file__).parent / "results" / "acoustic_features.md"
WAYS = {"--workers 1": ["--workers", "1"], "default": []}


def clips_per_s(manifest: Path, options: list[str]) -> float:
    """Run the command in a fresh folder and return the speed that it tells."""
    code = "import sys; from ser_probe.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "extract", str(manifest), "--model", "eGeMAPSv02"]
    with tempfile.TemporaryDirectory() as folder:
        command += ["-o", f"{folder}/x.h5", *options]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    match = re.search(r"speed: ([\d.]+) clips/s", told)
    assert match is not None, told
    return float(match[1])


def main() -> None:
    """Measure both ways in turns and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    paths = sorted(options.folder.resolve().rglob("*.wav"))[:: options.every]
    load = os.getloadavg()[0]
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / "clips.csv"
        manifest.write_text("path\n" + "".join(f"{path}\n" for path in paths), encoding="utf-8")
        for _ in range(options.rounds):
            for way, flags in WAYS.items():
                found[way].append(clips_per_s(manifest, flags))
                print(way, found[way][-1], flush=True)
    record, versions = run_record(), package_versions()
    best = {way: max(speeds) for way, speeds in found.items()}
    rows = [f"| {way} | {best[way]:.1f} | {', '.join(f'{each:.1f}' for each in found[way])} |" for way in WAYS]
    RESULT.write_text(
        "# Speed of acoustic features\n\n"
        f"{record['time_utc']}; {len(paths)} clips of {options.folder.name}, eGeMAPSv02; opensmile "
        f"{versions['opensmile']}; Python {record['python']}, {record['platform']}, {usable_cpus()} processors, load "
        f"{load:.1f} at the beginning.\n\n"
        f"**By default {best['default'] / best['--workers 1']:.2f} times as fast as with one worker.**\n\n"
        "| workers | clips/s, best round | all rounds |\n|---|--:|---|\n"
        + "\n".join(rows)
        + "\n\nMade by `benchmarks/acoustic_features.py`, whose header says what is measured.\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
