"""Sums over a clip's samples, and the refusal of samples that no model should see: not finite, silent, cancelling."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ser_probe.errors import AudioError

# Full scale where 32-bit integers were stored as floats; larger values are no sound, and squaring them may overflow.
MAX_PEAK = 2.0**31
# Share of the channels' energy that is left in their mean: below this, one channel is the other inverted. Two
# microphones in one room, or a very wide stereo mix, stay far above: independent channels leave a half.
MIN_MEAN_ENERGY = 1e-3


class SampleSums:
    """Sums over the samples of all channels, gathered block by block without keeping the samples."""

    def __init__(self, channels: int) -> None:
        self.n_frames, self.n_bad, self.first_bad = 0, 0, -1
        self.total, self.squares = np.zeros(channels), np.zeros(channels)
        self.peak = 0.0

    def add(self, block: np.ndarray) -> None:
        """Take a block, `[n, channels]`."""
        n_frames = len(block)
        if not np.isfinite(block).all():
            bad = ~np.isfinite(block).all(axis=1)
            self.first_bad = self.n_frames + int(bad.argmax()) if self.first_bad < 0 else self.first_bad
            self.n_bad += int(bad.sum())
            block = block[~bad]
        self.n_frames += n_frames
        self.peak = max(self.peak, float(np.abs(block).max(initial=0.0)))
        if self.peak <= MAX_PEAK:
            self.total += block.sum(axis=0)
            self.squares += np.square(block).sum(axis=0)

    def check(self, path: Path, samples: np.ndarray) -> None:
        """Refuse samples that no model should see.

        Args:
            path: The file.
            samples: The mean of the channels, `[n]`.

        Raises:
            AudioError: If a sample is not finite or beyond any full scale, the clip is silent, or its channels cancel.
        """
        self.check_finite(path)
        energy = float(np.mean(self.squares / self.n_frames - np.square(self.total / self.n_frames)))
        # The models hear float32: what rounds to silence there is silence.
        quiet = np.ptp(samples.astype(np.float32)) == 0
        if len(self.total) > 1 and energy > 0 and float(np.var(samples)) < MIN_MEAN_ENERGY * energy:
            raise AudioError(
                "The clip's channels cancel: their mean, which a model hears, holds next to nothing of them",
                where=path,
                found=f"a mean with {float(np.var(samples)) / energy:.1e} of the energy of {len(self.total)} channels",
                fix="keep one channel, or turn the inverted one over",
            )
        if quiet:
            raise AudioError(
                "The clip is silent",
                where=path,
                found=f"{self.n_frames} equal samples",
                fix="leave it out, or record it again",
            )

    def check_finite(self, path: Path) -> None:
        """Refuse samples that are no sound.

        Raises:
            AudioError: If a sample is not finite or beyond any full scale.
        """
        if self.n_bad:
            raise AudioError(
                "The clip holds samples that are NaN or infinite",
                where=path,
                found=f"{self.n_bad} of {self.n_frames}, the first at sample {self.first_bad}",
                fix="export it again, as 16-bit or 24-bit PCM",
            )
        if self.peak > MAX_PEAK:
            raise AudioError(
                "The clip holds samples beyond any full scale",
                where=path,
                expected="full scale at 1, or at most at 2147483648 where integers were stored as floats",
                found=f"a sample of {self.peak:.3g}",
                fix="export it again, as 16-bit or 24-bit PCM",
            )
