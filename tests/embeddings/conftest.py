"""Small caches: random embeddings of twelve clips, pooled or of every frame, and the batches of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_probe.embeddings.key import CacheKey
from ser_probe.embeddings.shards import Rows, ShardWriter
from ser_probe.embeddings.store_header import Layout

N_CLIPS, N_LAYERS, WIDTH = 12, 3, 8


@dataclass(frozen=True)
class Run:
    """What an extraction would produce, and where it would go."""

    path: Path
    key: CacheKey
    layout: Layout
    clips: pd.DataFrame
    values: np.ndarray

    @property
    def ids(self) -> list[str]:
        return self.clips["clip_id"].tolist()

    @property
    def n_frames(self) -> np.ndarray:
        """Frames of each clip; where they are all stored there is no clip without one."""
        return np.arange(N_CLIPS) * 5 % 11 + 1 if self.layout.ragged else np.arange(N_CLIPS) * 10

    def of(self, places: Sequence[int]) -> np.ndarray:
        """The vectors of these clips, in this order: [L, P, D]."""
        offsets = self.layout.offsets(self.n_frames)
        return self.values[:, np.concatenate([np.arange(offsets[place], offsets[place + 1]) for place in places])]

    def rows(self, places: Sequence[int]) -> Rows:
        """One batch: these clips, in this order."""
        places = list(places)
        return Rows(
            [self.ids[place] for place in places],
            self.of(places),
            self.n_frames[places],
            self.clips["duration_s"].to_numpy()[places],
        )

    def commit(self, *batches: Sequence[int]) -> None:
        """Write each batch as a shard of its own."""
        with self.writer(seconds_per_shard=0) as writer:
            for batch in batches:
                writer.add(self.rows(batch))

    def writer(self, **options: float) -> ShardWriter:
        return ShardWriter(self.path, self.key, self.layout, **options)

    def at(self, path: Path) -> Run:
        """The same run with another output file."""
        return dataclasses.replace(self, path=path)


@pytest.fixture
def key() -> CacheKey:
    return CacheKey(
        kind="embeddings",
        weights="5e" * 32,
        architecture={"model_type": "wavlm", "hidden_size": WIDTH},
        model_input={"normalise": True},
        audio={"sample_rate_hz": 16000, "loudness_lufs": None},
        pooling="mean",
        precision="fp32",
        layer_contract=1,
    )


@pytest.fixture
def layout() -> Layout:
    return Layout(("0", "1", "2"), WIDTH, {"final": "2"})


@pytest.fixture
def clips(rng: np.random.Generator) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "clip_id": [f"{place:032x}" for place in rng.permutation(N_CLIPS)],
            "path": [f"f1/clip è {place}.wav" for place in range(N_CLIPS)],
            "label": ["joy", "anger", "<b>sad</b>"] * (N_CLIPS // 3),
            "arousal": [np.nan, *np.linspace(-1, 1, N_CLIPS - 1)],
            "duration_s": rng.uniform(0.5, 3, N_CLIPS),
        }
    )


@pytest.fixture
def run(tmp_path: Path, key: CacheKey, layout: Layout, clips: pd.DataFrame, rng: np.random.Generator) -> Run:
    values = rng.standard_normal((N_LAYERS, N_CLIPS, WIDTH)).astype(np.float32)
    return Run(tmp_path / "cache" / "x.h5", key, layout, clips, values)


@pytest.fixture
def ragged(run: Run, rng: np.random.Generator) -> Run:
    """The same clips with all of their frames, 1 to 11 of each."""
    key = dataclasses.replace(run.key, pooling="frames")
    empty = Run(run.path, key, dataclasses.replace(run.layout, ragged=True), run.clips, run.values)
    values = rng.standard_normal((N_LAYERS, int(empty.n_frames.sum()), WIDTH)).astype(np.float32)
    return dataclasses.replace(empty, values=values)
