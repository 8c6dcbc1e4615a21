"""How often is a shortcut found where there is none, how often where there is one, and how long does it take?

Questions, over simulated corpora of 4 to 24 speakers, 200 to 500 clips and 4 to 7 labels, unevenly spread:

- habits: lengths, levels, silences and noise floors vary by speaker, labels and corpora mean nothing. How many corpora
  raise any alarm, and how many have any significant row of label or corpus? (Speakers are told by their habits, which
  is true and no alarm.) At most 5 in 100.
- nothing: no property has to do with anything. How many corpora have any significant row at all? At most 5 in 100.
- confounded: as habits, and each speaker has one favourite label. The counter-case shows what the permutation within
  speakers is for: with labels permuted freely, habits pass for shortcuts.
- planted: a shortcut of known size among habits. How many raise an alarm in the right row, or name it significant?
- 10,000 clips, 11 groups of properties, 3 targets, every label row significant: seconds.

Command:  python benchmarks/audit_shortcuts.py
Result:   benchmarks/results/audit_shortcuts.md
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.stats

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))  # where `benchmarks` is found

RESULT = REPOSITORY / "benchmarks" / "results" / "audit_shortcuts.md"
N_CORPORA, N_OTHERS, N_PLANTED = 200, 40, 12
LEVEL = 0.05


@dataclass(frozen=True)
class Corpus:
    """Simulated clips and the properties of their files."""

    properties: pd.DataFrame
    clips: pd.DataFrame


def simulate_corpus(
    seed: int,
    *,
    n_clips: int | None = None,
    n_speakers: int | None = None,
    n_corpora: int = 2,
    habits: float = 1.0,
    favourites: float = 0.0,
) -> Corpus:
    """Draw a corpus whose files say nothing of the labels.

    Args:
        seed: Seed of the draw.
        n_clips: By default 200 to 500.
        n_speakers: By default 4 to 24.
        n_corpora: Corpora that the speakers are dealt to; 1 gives no column.
        habits: How much speakers differ in lengths, levels, silences and noise, in standard deviations of a clip.
        favourites: Share of each speaker's clips that have the speaker's favourite label.
    """
    rng = np.random.default_rng(seed)
    n_clips = n_clips or int(rng.integers(200, 501))
    n_speakers = n_speakers or int(rng.integers(4, 25))
    n_labels = int(rng.integers(4, 8))
    speaker = rng.choice(n_speakers, n_clips, p=rng.dirichlet(np.full(n_speakers, 8.0)))
    label = rng.choice(n_labels, n_clips, p=rng.dirichlet(np.full(n_labels, 4.0)))
    label = np.where(rng.random(n_clips) < favourites, rng.integers(0, n_labels, n_speakers)[speaker], label)

    def habit() -> np.ndarray:
        return np.asarray(habits * rng.standard_normal(n_speakers)[speaker] + rng.standard_normal(n_clips))

    def sometimes(share: float) -> np.ndarray:
        return np.asarray(rng.random(n_clips) < share)

    zeros = np.where(sometimes(0.3), rng.exponential(0.1, n_clips), 0.0)
    stereo = sometimes(0.1)
    properties = pd.DataFrame(
        {
            "duration_s": np.maximum(3.0 + 0.6 * habit(), 0.5),
            "leading_silence_s": np.exp(-1.5 + 0.5 * habit()),
            "trailing_silence_s": np.exp(-1.5 + 0.5 * habit()),
            "longest_zeros_s": zeros,
            "zeros_s": zeros * rng.uniform(1, 2, n_clips),
            "rms_dbfs": -25 + 3 * habit(),
            "peak_dbfs": -6 + 2 * habit(),
            "dc_offset": 0.002 * rng.standard_normal(n_clips),
            "clipped_share": np.where(sometimes(0.1), rng.exponential(0.002, n_clips), 0.0),
            "bandwidth_hz": rng.normal(7200, 300, n_clips),
            "noise_floor_dbfs": -60 + 4 * habit(),
            "file_rate_hz": np.where(sometimes(0.05), 44_100, 16_000),
            "file_format": np.where(sometimes(0.2), "WAV PCM_16", "FLAC PCM_16"),
            "header_bytes": np.where(sometimes(0.2), 78, 44),
            "channels": np.where(stereo, 2, 1),
            "channel_difference_db": np.where(stereo, rng.normal(-40, 10, n_clips), np.nan),
        }
    )
    clips = pd.DataFrame({"label": label, "speaker": speaker}).astype(str).radd("x")
    if n_corpora > 1:
        clips["corpus"] = [f"c{number % n_corpora}" for number in speaker]
    return Corpus(properties, clips)


def plant_rate(corpus: Corpus, share: float) -> Corpus:
    """Give a share of all clips, all with the first label, another rate, and all others one."""
    label = corpus.clips["label"] == "x0"
    there = np.flatnonzero(label)[: int(share * len(label))]
    rate = np.where(np.isin(np.arange(len(label)), there), 44_100, 16_000)
    return Corpus(corpus.properties.assign(file_rate_hz=rate), corpus.clips)


def plant_offset(corpus: Corpus, shift: float) -> Corpus:
    """Shift the offset of the first label's clips by so many standard deviations."""
    offset = corpus.properties["dc_offset"] + 0.002 * shift * (corpus.clips["label"] == "x0")
    return Corpus(corpus.properties.assign(dc_offset=offset), corpus.clips)


def plant_length(corpus: Corpus, shift: float) -> Corpus:
    """Lengthen the clips from label to label, so that the labels' means have so many standard deviations of a clip."""
    place = corpus.clips["label"].astype("category").cat.codes
    steps = (place - place.mean()) / place.std()
    return Corpus(
        corpus.properties.assign(duration_s=corpus.properties["duration_s"] + 0.6 * shift * steps), corpus.clips
    )


def plant_speakers(corpus: Corpus, shift: float) -> Corpus:
    """Give each speaker an offset of its own, so far apart in standard deviations of a clip."""
    place = corpus.clips["speaker"].astype("category").cat.codes
    return Corpus(
        corpus.properties.assign(dc_offset=corpus.properties["dc_offset"] + 0.002 * shift * place), corpus.clips
    )


def find(corpus: Corpus, seed: int) -> pd.DataFrame:
    """Return the table of shortcuts, with whether each row is significant."""
    from ser_probe.analysis.audit.shortcuts import find_shortcuts

    table = find_shortcuts(corpus.properties, corpus.clips, seed=seed)
    return table.assign(significant=table["p_adjusted"] < LEVEL)


def any_found(seed: int, **drawn: float) -> tuple[bool, bool, bool]:
    """Return whether a corpus raises any alarm, and has significant rows of label or corpus, and any at all."""
    table = find(simulate_corpus(seed, **drawn), seed)  # type: ignore[arg-type]
    rows = table[table["target"] != "speaker"]
    return bool(table["alarm"].any()), bool(rows["significant"].any()), bool(table["significant"].any())


def any_found_freely(seed: int, **drawn: float) -> tuple[bool, bool, bool]:
    """The counter-case: speakers are not told, so that labels are permuted among all clips."""
    corpus = simulate_corpus(seed, n_corpora=1, **drawn)  # type: ignore[arg-type]
    table = find(Corpus(corpus.properties, corpus.clips[["label"]]), seed)
    return bool(table["alarm"].any()), bool(table["significant"].any()), bool(table["significant"].any())


PROMISED = ("habits of speakers", "nothing")
"""The designs in which alarms are counted over all corpora; the others make do with fewer."""
PLANTED: dict[str, tuple[Callable[[Corpus, float], Corpus], float, str, str]] = {
    "another rate in 5 % of the clips, all of one label": (plant_rate, 0.05, "label", "rate and container"),
    "another rate in 3 % of the clips, all of one label": (plant_rate, 0.03, "label", "rate and container"),
    "offset of one label 1.5 SD higher": (plant_offset, 1.5, "label", "DC offset"),
    "offset of one label 0.75 SD higher": (plant_offset, 0.75, "label", "DC offset"),
    "lengths: label means with an SD of 2 clip SDs": (plant_length, 2.0, "label", "duration"),
    "lengths: label means with an SD of 0.5 clip SDs": (plant_length, 0.5, "label", "duration"),
    "offset of each speaker, 3 SDs apart": (plant_speakers, 3.0, "speaker", "DC offset"),
}
"""What is planted, how much, and where it must be found."""


def planted_found(seed: int, *, what: str) -> tuple[float, bool, bool]:
    """Return the skill of the row that must be found, whether it is significant, and whether it is an alarm."""
    plant, amount, target, group = PLANTED[what]
    table = find(plant(simulate_corpus(seed, n_corpora=1), amount), seed)
    row = table[(table["target"] == target) & (table["properties"] == group)].iloc[0]
    return float(row["skill"]), bool(row["significant"]), bool(row["alarm"])


def time_large(n_clips: int = 10_000) -> tuple[float, float]:
    """Return seconds, and seconds of all cores, for clips in which every property tells the label a little."""
    corpus = simulate_corpus(0, n_clips=n_clips, n_speakers=91, n_corpora=3)
    place = corpus.clips["label"].astype("category").cat.codes.to_numpy()
    rng = np.random.default_rng(1)
    properties = corpus.properties.copy()
    for column in properties.select_dtypes("number"):
        values = properties[column].to_numpy(float).copy()
        told = rng.random(n_clips) < 0.1
        # Of each tenth clip the value is the one that stands at the label's place in the order of all values.
        ordered = np.sort(values[np.isfinite(values)])
        values[told] = ordered[((place[told] + 0.5) / (place.max() + 1) * len(ordered)).astype(int)]
        properties[column] = values
    start, used = time.perf_counter(), time.process_time()
    table = find(Corpus(properties, corpus.clips), 0)
    seconds = time.perf_counter() - start, time.process_time() - used
    share = table.loc[table["target"] == "label", "significant"].mean()
    print(f"{n_clips} clips: {seconds[0]:.1f} s, {seconds[1]:.1f} s of all cores; label rows significant: {share:.0%}")
    return seconds


def interval(found: np.ndarray) -> str:
    """Return a share with its 95 % interval (Clopper and Pearson)."""
    bounds = scipy.stats.binomtest(int(found.sum()), len(found)).proportion_ci()
    return f"{found.mean():.3f} ({bounds.low:.3f} to {bounds.high:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=int, default=N_CORPORA)
    parser.add_argument("--planted", type=int, default=N_PLANTED)
    parser.add_argument("--others", type=int, default=N_OTHERS)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    load = os.getloadavg()
    lines = [
        "# Shortcuts: false alarms, power, time",
        "",
        f"{datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')}; numpy {version('numpy')}, pandas "
        f"{version('pandas')}, scipy {version('scipy')}; Python {platform.python_version()}, {platform.system()} "
        f"{platform.machine()}, {os.cpu_count()} cores.",
        "",
        "| without a shortcut | corpora | any alarm | any significant row of label or corpus | any significant row |",
        "|---|--:|--:|--:|--:|",
    ]
    designs: dict[str, Callable[[int], tuple[bool, bool, bool]]] = {
        "habits of speakers": any_found,
        "nothing": partial(any_found, habits=0.0),
        "habits, favourite labels": partial(any_found, favourites=0.6),
        "the same, speakers not told (asks another question)": partial(any_found_freely, favourites=0.6),
    }
    with ProcessPoolExecutor(options.workers) as pool:
        for name, run in designs.items():
            count = options.corpora if name in PROMISED else options.others
            found = np.array(list(pool.map(run, range(1000, 1000 + count))))
            lines.append(f"| {name} | {len(found)} | " + " | ".join(interval(column) for column in found.T) + " |")
            print(lines[-1], flush=True)
        lines += ["", "| planted among habits | corpora | skill, mean | significant | alarm |", "|---|--:|--:|--:|--:|"]
        for what in PLANTED:
            found = np.array(list(pool.map(partial(planted_found, what=what), range(options.planted))))
            shares = " | ".join(f"{column.mean():.2f}" for column in found.T)
            lines.append(f"| {what} | {len(found)} | {shares} |")
            print(lines[-1], flush=True)
    del os.environ["OMP_NUM_THREADS"]
    seconds, used = time_large()
    lines += [
        "",
        f"10,000 clips, 11 groups, 3 targets, every property telling the label a little: {seconds:.1f} s "
        f"({used:.1f} s of all cores; load of the machine before: {load[0]:.1f}).",
        "",
        "Made by `benchmarks/audit_shortcuts.py`, whose header says what is measured.",
    ]
    RESULT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
