"""Files altered at random, as disks, transfers and programs do: an error of that file, or the truth, or a note."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ser_probe.audio.load import AudioSpec, hear_clip, inspect_clip, load_clip
from ser_probe.errors import AudioError

from .containers import CODED, RATE_HZ, write_coded

SPEC = AudioSpec(max_duration_s=10)
# Blocks of ADPCM and frames of MP3 are filled up, and one may be lost.
TOLERANCE_S = 0.15
HEADS = (44, 120, 400)


def _flip_bits(content: bytearray, at: int, head: int, rng: random.Random) -> None:
    for _ in range(rng.choice([1, 1, 2, 8])):
        content[rng.randrange(head)] ^= 1 << rng.randrange(8)


def _write_number(content: bytearray, at: int, head: int, rng: random.Random) -> None:
    width = rng.choice([2, 4, 8])
    top = 1 << (8 * width)
    number = rng.choice([0, 1, 2, top - 1, top // 2, top // 2 - 1, rng.randrange(top), rng.randrange(70_000) % top])
    content[at : at + width] = number.to_bytes(width, rng.choice(["big", "little"]))


def _cut(content: bytearray, at: int, head: int, rng: random.Random) -> None:
    del content[rng.randrange(len(content)) :]


def _lose_the_head(content: bytearray, at: int, head: int, rng: random.Random) -> None:
    del content[:at]


def _insert(content: bytearray, at: int, head: int, rng: random.Random) -> None:
    content[at:at] = rng.randbytes(rng.choice([1, 2, 4, 100]))


def _repeat(content: bytearray, at: int, head: int, rng: random.Random) -> None:
    content[at:at] = content[at : at + rng.choice([1, 8, 64, 5_000])]


def _blank(content: bytearray, at: int, head: int, rng: random.Random) -> None:
    length = rng.choice([1, 4, 40, 4_000])
    content[at : at + length] = bytes(length)


def _append(content: bytearray, at: int, head: int, rng: random.Random) -> None:
    content += rng.choice([bytes(20_000), rng.randbytes(rng.choice([1, 100, 20_000]))])


CHANGES: list[Callable[[bytearray, int, int, random.Random], None]] = [
    _flip_bits, _write_number, _cut, _lose_the_head, _insert, _repeat, _blank, _append,
]  # fmt: skip


def alter(content: bytes, seed: int) -> bytes:
    rng = random.Random(seed)
    changed = bytearray(content)
    head = min(len(content), rng.choice([*HEADS, len(content)]))
    rng.choice(CHANGES)(changed, rng.randrange(head), head, rng)
    return bytes(changed)


def judge(path: Path) -> str:
    """Return what became of an altered file of one second; what is no `AudioError` with the file's name is raised."""
    try:
        facts = inspect_clip(path)
        heard = hear_clip(path, max_duration_s=SPEC.max_duration_s)
        samples = load_clip(path, SPEC).samples
    except AudioError as error:
        if str(path) not in str(error):
            raise
        return "refused"
    assert np.isfinite(samples).all()
    assert facts.duration_s == pytest.approx(heard.duration_s, abs=0.03)
    if heard.notes:
        return "noted"
    # A header that says another rate, or more channels, and says nothing against it, is believed.
    if (heard.sample_rate_hz, heard.channels) == (RATE_HZ, 1):
        assert heard.duration_s == pytest.approx(1, abs=TOLERANCE_S)
    return "taken"


def judge_all(seeds: range, folder: Path) -> dict[str, int]:
    originals = [
        (container, coding, write_coded(folder, container, coding).read_bytes()) for container, coding in CODED
    ]
    counts = {"refused": 0, "noted": 0, "taken": 0}
    path = folder / "altered.bin"
    for seed in seeds:
        container, coding, content = originals[seed % len(originals)]
        path.write_bytes(alter(content, seed))
        try:
            counts[judge(path)] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}: an altered {container} file of {coding}") from error
    return counts


def test_altered_files_are_refused_noted_or_right(tmp_path: Path) -> None:
    counts = judge_all(range(320), tmp_path)
    assert min(counts.values()) > 10, "each of the three happens, or nothing is tested"


@pytest.mark.slow
def test_thousands_of_altered_files(tmp_path: Path) -> None:
    counts = judge_all(range(10_000, 16_000), tmp_path)
    assert min(counts.values()) > 100
