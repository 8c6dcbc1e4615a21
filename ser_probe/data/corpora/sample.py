"""The built-in sample: speech synthesised by espeak-ng, made where it is not there yet."""

from __future__ import annotations

from pathlib import Path

from ser_probe.data.corpora.importer import CorpusRows, Importer, Option


def read(root: Path, *, seed: int, n_speakers: int, n_sentences: int) -> CorpusRows:
    """Return a row per clip."""
    from ser_probe.data.sample import write_sample_corpus

    table = write_sample_corpus(root, seed=seed, n_speakers=n_speakers, n_sentences=n_sentences)
    return CorpusRows(table, "the emotion that was synthesised")


IMPORTER = Importer(
    name="sample",
    title="Sample",
    holds="the built-in sample: speech synthesised by espeak-ng",
    paper="made by ser-probe; see ser_probe.data.sample for the literature it follows",
    licence="made on the spot by espeak-ng (GPL-3.0)",
    home="",
    layout="any folder; the clips are made in it if they are not there",
    read=read,
    options={
        "seed": Option("the seed of the voices and deliveries", 0),
        "n_speakers": Option("how many speakers, half of them women", 16),
        "n_sentences": Option("how many sentences each speaker says in each emotion", 6),
    },
)
