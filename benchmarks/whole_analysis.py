"""How long does all that a study analyses take, and where does the time go?

Question: with embeddings of Study E's size in their files (8 checkpoints of 25 layers, 1231 held-out clips of width
1024, 15 speakers, six emotions, and the 88 eGeMAPS functionals), how long does each default analysis take as its own
command, tables and figures included, and how much memory?

The embeddings are made, not extracted: each layer is a mixture of what the clip's emotion, speaker and acoustics add,
with noise, and later checkpoints give the emotion more and the acoustics less in the upper half. Every command is a
process of its own, so that start and compilation count. Memory is the largest that the process has had (ru_maxrss),
which includes pages of the files that it has mapped.

Command:  python benchmarks/whole_analysis.py
Result:   benchmarks/results/whole_analysis.md
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

REPOSITORY = Path(__file__).resolve().parents[1]
RESULT = REPOSITORY / "benchmarks" / "results" / "whole_analysis.md"
N_CLIPS, N_SPEAKERS, N_CHECKPOINTS, N_LAYERS, WIDTH, N_FEATURES = 1231, 15, 8, 25, 1024, 88
EMOTIONS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness")
NOISE = 1.5


@dataclass(frozen=True)
class Size:
    """How much there is to analyse."""

    clips: int = N_CLIPS
    checkpoints: int = N_CHECKPOINTS
    layers: int = N_LAYERS
    width: int = WIDTH


@dataclass(frozen=True)
class Took:
    """What a command took."""

    command: str
    seconds: float
    peak_mib: float
    n_files: int


def make_caches(folder: Path, size: Size) -> tuple[list[Path], Path]:
    """Write the files of all checkpoints, and that of the acoustic features."""
    from ser_probe.embeddings.key import CacheKey
    from ser_probe.embeddings.opensmile_sets import EGEMAPS
    from ser_probe.embeddings.seal import seal
    from ser_probe.embeddings.shards import Rows, ShardWriter
    from ser_probe.embeddings.store_file import Layout

    rng = np.random.default_rng(0)
    ids = [f"{row:032x}" for row in range(size.clips)]
    speaker, label = np.arange(size.clips) % N_SPEAKERS, rng.integers(0, len(EMOTIONS), size.clips)
    clips = pd.DataFrame({
        "clip_id": ids, "path": [f"{row}.wav" for row in range(size.clips)], "label": np.array(EMOTIONS)[label],
        "speaker": [f"{each:04d}" for each in speaker], "gender": np.array(["female", "male"])[speaker % 2],
        "sentence": [f"s{each}" for each in rng.integers(0, 12, size.clips)], "split": "test",
    })  # fmt: skip
    acoustics = rng.standard_normal((size.clips, N_FEATURES)) + rng.standard_normal((len(EMOTIONS), N_FEATURES))[label]
    acoustics += rng.standard_normal((N_SPEAKERS, N_FEATURES))[speaker]
    told = {
        "emotion": np.eye(len(EMOTIONS))[label] @ rng.standard_normal((len(EMOTIONS), size.width)),
        "speaker": np.eye(N_SPEAKERS)[speaker] @ rng.standard_normal((N_SPEAKERS, size.width)),
        "acoustics": acoustics @ rng.standard_normal((N_FEATURES, size.width)) / np.sqrt(N_FEATURES),
    }

    def write(path: Path, key: CacheKey, layers: tuple[str, ...], values: np.ndarray, named: dict[str, object]) -> Path:
        aliases = {"final": layers[-1]} if len(layers) > 1 else {}
        with ShardWriter(path, key, Layout(layers, values.shape[2], aliases)) as writer:
            writer.add(Rows(ids, values, np.full(size.clips, 100), np.full(size.clips, 2.5)))
        seal(path, key, clips, named)
        return path

    names = tuple(map(str, range(size.layers)))
    paths = []
    fixed = rng.standard_normal((size.layers, size.clips, size.width)).astype(np.float32)
    for number in range(size.checkpoints):
        trained = number / max(1, size.checkpoints - 1)
        depth = np.linspace(0, 1, size.layers)[:, None, None]
        upper = np.clip(2 * depth - 1, 0, 1)
        values = (0.3 + 0.4 * depth * trained) * told["emotion"] + (1 - depth) * told["speaker"]
        values = values + (1.2 - depth - 0.2 * upper * trained) * told["acoustics"]
        values = values + NOISE * (fixed + 0.3 * upper * trained * rng.standard_normal(fixed.shape[1:]))
        key = CacheKey("embeddings", f"{number:064x}", {}, {}, {}, "mean", "fp32", 1)
        step = 50 * number
        paths.append(write(folder / f"step-{step}.h5", key, names, values.astype(np.float32),
                           {"model": "made", "checkpoint": f"step-{step}", "step": step}))  # fmt: skip
    key = CacheKey("features", "f" * 64, {}, {}, {}, "functionals", "fp32", 1)
    features = write(folder / "egemaps.h5", key, ("functionals",), acoustics[None].astype(np.float32),
                     {"model": EGEMAPS, "feature_names": feature_names()})  # fmt: skip
    return paths, features


def feature_names() -> list[str]:
    """Return names of the 88 functionals: opensmile's where it is installed."""
    try:
        import opensmile

        return list(opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals).feature_names)
    except ImportError:
        return [f"feature_{number}" for number in range(N_FEATURES)]


def commands(caches: list[Path], features: Path, output: Path) -> dict[str, list[str]]:
    """Return the command of each analysis, with its defaults."""
    files = [str(path) for path in caches]
    heldout = ["--division", "heldout"]
    return {
        "probe": ["probe", *files, "--features", str(features), *heldout, "-o", str(output / "probe")],
        "similarity": ["similarity", *files, "--features", str(features), "-o", str(output / "similarity")],
        "drift": ["drift", *files, "--reference", files[0], "-o", str(output / "drift")],
        "geometry": ["geometry", *files, "-o", str(output / "geometry")],
        "acoustics": ["acoustics", *files, "--features", str(features), "-o", str(output / "acoustics")],
        "umap": ["umap", *files, "-o", str(output / "umap")],
        "stats": ["stats", str(output / "probe" / "probe.csv"), "--response", "value", "--factors", "step,layer",
                  "--where", "measure=uar,split=test,control=none", "-o", str(output / "stats")],
    }  # fmt: skip


def run(name: str, command: list[str], output: Path) -> Took:
    """Run an analysis as a process of its own.

    Raises:
        RuntimeError: If it fails.
    """
    line = [sys.executable, "-m", "ser_probe.cli.main", "analyze", *command]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    started = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(line, stdout=said, stderr=subprocess.STDOUT, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        if status:
            said.seek(0)
            raise RuntimeError(f"{name} failed:\n{said.read().decode()[-3000:]}")
    files = [path for path in (output / name).rglob("*") if path.is_file()]
    return Took(name, seconds, usage.ru_maxrss / 1024, len(files))


def as_markdown(rows: list[Took], size: Size) -> str:
    total = sum(row.seconds for row in rows)
    packages = ("torch", "numpy", "scikit-learn", "umap-learn", "pandas")
    versions = ", ".join(f"{name} {version(name)}" for name in ("ser-probe", *packages))
    lines = [
        "# All analyses of a study",
        "",
        f"{datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')}; {size.checkpoints} checkpoints x "
        f"{size.layers} layers of {size.clips} clips x {size.width}; {versions}; Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors.",
        "",
        f"**All in {total / 60:.1f} minutes.**",
        "",
        "| analysis | seconds | share | largest memory, MiB | files written |",
        "|---|--:|--:|--:|--:|",
        *(f"| {row.command} | {row.seconds:.1f} | {row.seconds / total:.0%} | {row.peak_mib:.0f} | {row.n_files} |"
          for row in rows),
        "",
        "Made by `benchmarks/whole_analysis.py`, whose header says what is measured.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make the embeddings, run each command, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="some analyses, such as probe,drift; writes no result")
    parser.add_argument("--clips", type=int, default=N_CLIPS)
    parser.add_argument("--checkpoints", type=int, default=N_CHECKPOINTS)
    parser.add_argument("--layers", type=int, default=N_LAYERS)
    parser.add_argument("--keep", type=Path, default=None, help="folder for caches and tables, which then stay")
    options = parser.parse_args()
    size = Size(options.clips, options.checkpoints, options.layers)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        caches, features = make_caches(folder, size)
        wanted = commands(caches, features, folder / "tables")
        chosen = [name for name in wanted if not options.only or name in options.only.split(",")]
        rows = []
        for name in chosen:
            rows.append(run(name, wanted[name], folder / "tables"))
            print(f"{name}: {rows[-1].seconds:.1f} s, {rows[-1].peak_mib:.0f} MiB", flush=True)
    text = as_markdown(rows, size)
    print(text)
    if not options.only and size == Size():
        RESULT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
