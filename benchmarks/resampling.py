"""Time and agreement of resampling: soxr beside torchaudio, as clips were resampled before pipeline version 3.

Both take the same clips in turn, best of several rounds, on one thread. What was before: torchaudio's windowed sinc of
64 zero crossings a side in float64, its filter kept from clip to clip, and for whole factors one FFT convolution of
that filter. It needs torchaudio, which ser-probe itself does not; rates whose filter table passes 20 million taps were
refused. Only ratios within a run mean anything.

    python benchmarks/resampling.py [--rounds 7] [--corpus FOLDER] [-o benchmarks/results/resampling.md]
"""

from __future__ import annotations

import argparse
import functools
import math
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ser_probe.audio.load import resample

TO_HZ = 16_000
RATES_HZ = (8_000, 11_025, 22_050, 24_414, 44_056, 44_100, 48_000, 96_000, 192_000)
DURATION_S = 3.0
_ROLL_OFF_FROM_HZ = 7_000
_ZERO_CROSSINGS, _ROLLOFF, _MOST_TAPS = 64, 0.9475937167399596, 20_000_000


@functools.lru_cache(maxsize=16)
def _torchaudio_resampler(from_hz: int) -> Any:
    import torch
    import torchaudio.transforms

    return torchaudio.transforms.Resample(
        from_hz, TO_HZ, resampling_method="sinc_interp_kaiser", lowpass_filter_width=_ZERO_CROSSINGS, rolloff=_ROLLOFF,
        beta=14.769656459379492, dtype=torch.float64,
    )  # fmt: skip


def resample_before(samples: np.ndarray, from_hz: int) -> np.ndarray | None:
    """Return what the pipeline made of a clip until version 2; None where it refused the rate."""
    import torch
    from scipy.signal import oaconvolve

    shared = math.gcd(from_hz, TO_HZ)
    phases, step = TO_HZ // shared, from_hz // shared
    if phases * (step + 2 * _ZERO_CROSSINGS * max(1.0, step / phases) / _ROLLOFF) > _MOST_TAPS:
        return None
    resampler = _torchaudio_resampler(from_hz)
    factor, rest = divmod(from_hz, TO_HZ)
    if rest:
        return resampler(torch.from_numpy(samples)).numpy()
    padded = np.pad(samples, (resampler.width, resampler.width + factor))
    taps = resampler.kernel.numpy().ravel()[::-1]
    return oaconvolve(padded, taps, mode="valid")[::factor][: -(-len(samples) // factor)]


def best_ms(work: Callable[[], object], rounds: int) -> float:
    """Return the shortest of several runs, in ms: what else the machine does can only add."""
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - begun))
    return min(times)


def compare_rates(rounds: int) -> list[str]:
    """Return a row a rate: times of a clip of 3 s and their ratio, and the error of a sine in dB of full scale."""
    rng = np.random.default_rng(0)
    rows = []
    for from_hz in RATES_HZ:
        noise = 0.1 * rng.standard_normal(round(DURATION_S * from_hz))
        before = resample_before(noise, from_hz)  # makes the filter
        now_ms = best_ms(lambda noise=noise, hz=from_hz: resample(noise, hz, TO_HZ), rounds)
        cells = ["refused", "", ""]
        if before is not None:
            before_ms = best_ms(lambda noise=noise, hz=from_hz: resample_before(noise, hz), rounds)
            cells = [f"{before_ms:.1f}", f"{before_ms / now_ms:.2f}", f"{_sine_error_db(from_hz, resample_before):.0f}"]
        error_db = _sine_error_db(from_hz, lambda samples, hz: resample(samples, hz, TO_HZ))
        rows.append(f"| {from_hz} | {cells[0]} | {now_ms:.1f} | {cells[1]} | {cells[2]} | {error_db:.0f} |")
    return rows


def _sine_error_db(from_hz: int, method: Callable[[np.ndarray, int], np.ndarray | None]) -> float:
    def sine(rate_hz: int) -> np.ndarray:
        return np.sin(2 * np.pi * 1_234.5 * np.arange(round(DURATION_S * rate_hz)) / rate_hz + 0.3)

    made = method(sine(from_hz), from_hz)
    assert made is not None
    return float(20 * np.log10(np.abs(made - sine(TO_HZ))[1_000:-1_000].max()))


def compare_clips(folder: Path, rounds: int) -> list[str]:
    """Return what a folder of recordings says: ratio of times, and how far the samples differ."""
    import soundfile

    before_ms, now_ms, differences, high = [], [], [], []
    for path in sorted(folder.rglob("*.wav")):
        channels, from_hz = soundfile.read(path, always_2d=True)
        samples = channels.mean(axis=1)
        if from_hz == TO_HZ or (before := resample_before(samples, from_hz)) is None:
            continue
        now = resample(samples, from_hz, TO_HZ)
        differences.append(np.sqrt(np.mean((now - before) ** 2) / np.mean(before**2)))
        power = np.abs(np.fft.rfft(now - before)) ** 2
        high.append(power[int(len(power) * _ROLL_OFF_FROM_HZ / (TO_HZ / 2)) :].sum() / power.sum())
        now_ms.append(best_ms(lambda samples=samples, hz=from_hz: resample(samples, hz, TO_HZ), rounds))
        before_ms.append(best_ms(lambda samples=samples, hz=from_hz: resample_before(samples, hz), rounds))
    if not now_ms:
        return [f"{folder.name}: no clip that both resample"]
    return [
        f"{folder.name}, {len(now_ms)} clips: {np.mean(before_ms):.1f} ms a clip before, {np.mean(now_ms):.1f} ms now "
        f"({np.sum(before_ms) / np.sum(now_ms):.2f} times as fast); the samples differ by {np.median(differences):.1e} "
        f"(median; largest {np.max(differences):.1e}) of the clip's RMS, and at least {100 * np.min(high):.1f} % of "
        f"that lies above {_ROLL_OFF_FROM_HZ / 1000:g} kHz, where both filters roll off"
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--corpus", type=Path, action="append", default=[], help="folder of recordings to compare too")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    lines = [
        "# Resampling to 16 kHz: before and now",
        "",
        f"`python benchmarks/resampling.py --rounds {options.rounds}`: a clip of {DURATION_S:g} s, one thread, best of "
        f"{options.rounds}. Before is torchaudio {version('torchaudio')}, now is soxr {version('soxr')} (VHQ). "
        "Errors: the largest departure from an ideal sine of 1234.5 Hz, in dB of full scale.",
        "",
        "| from, Hz | before, ms | now, ms | before / now | error before, dB | error now, dB |",
        "|---|---|---|---|---|---|",
        *compare_rates(options.rounds),
    ]
    for folder in options.corpus:
        lines += ["", *compare_clips(folder, options.rounds)]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.output:
        options.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
