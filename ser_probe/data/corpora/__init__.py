"""The corpora that ser-probe can import, in one table.

An importer is loaded when it is called, so that the table can be listed without loading any of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_probe.data.corpora.layout import LAYOUTS
from ser_probe.errors import CorpusError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Importer:
    """How to turn a corpus's folder into manifest rows.

    Attributes:
        name: What the user calls it.
        title: The corpus's own name and what it holds.
        source: The publication to cite.
        terms: The terms it is under, as far as the corpus states them.
        layout: What the folder looks like.
        function: Takes the folder and the options; returns manifest rows with paths relative to the folder.
        options: Each option's name and what it does.
    """

    name: str
    title: str
    source: str
    terms: str
    layout: str
    function: Callable[..., pd.DataFrame]
    options: Mapping[str, str] = field(default_factory=dict)


def _on_call(module: str) -> Callable[..., pd.DataFrame]:
    def import_corpus(root: str | Path, **options: object) -> pd.DataFrame:
        return importlib.import_module(f"ser_probe.data.corpora.{module}").import_corpus(root, **options)

    return import_corpus


def _sample(root: str | Path, **options: Any) -> pd.DataFrame:
    from ser_probe.data.sample import write_sample_corpus

    return write_sample_corpus(Path(root).expanduser(), **options)


IMPORTERS = {
    importer.name: importer
    for importer in (
        Importer(
            name="emovo",
            title="EMOVO: Italian, 6 actors, 14 sentences, 7 states, 588 clips",
            source="Costantini, Iaderola, Paoloni, Todisco (2014): EMOVO Corpus, LREC",
            terms="research use",
            layout=LAYOUTS["emovo"].text,
            function=_on_call("emovo"),
        ),
        Importer(
            name="emodb",
            title="EMO-DB: German, 10 actors, 10 sentences, 7 states, 535 clips",
            source="Burkhardt, Paeschke, Rolfes, Sendlmeier, Weiss (2005): A Database of German Emotional Speech, "
            "Interspeech",
            terms="research use",
            layout=LAYOUTS["emodb"].text,
            function=_on_call("emodb"),
        ),
        Importer(
            name="crema_d",
            title="CREMA-D: English, 91 actors, 12 sentences, 6 states, 7442 clips",
            source="Cao, Cooper, Keutmann, Gur, Nenkova, Verma (2014): CREMA-D, IEEE Transactions on Affective "
            "Computing",
            terms="Open Database License 1.0; contents: Database Contents License 1.0",
            layout=LAYOUTS["crema_d"].text,
            function=_on_call("crema_d"),
            options={
                "labels": "intended (what the actor was asked for) or voice_vote (what most listeners heard)",
                "vote_counts": "true adds how many listeners heard each emotion, as columns votes_<emotion>",
                "allow_pointers": "return rows although all audio is Git LFS pointers",
            },
        ),
        Importer(
            name="sample",
            title="The built-in sample: speech synthesised by espeak-ng",
            source="made by ser-probe; see ser_probe.data.sample for the literature it follows",
            terms="made on the spot by espeak-ng (GPL-3.0)",
            layout="any folder; the clips are made in it if they are not there",
            function=_sample,
            options={
                "seed": "the seed of the voices and deliveries",
                "n_speakers": "how many speakers, half of them women",
                "n_sentences": "how many sentences each speaker says in each emotion",
            },
        ),
    )
}


def import_corpus(name: str, root: str | Path, **options: object) -> pd.DataFrame:
    """Return the manifest rows of a corpus by name.

    Args:
        name: A key of `IMPORTERS`.
        root: The corpus's folder.
        **options: The importer's own options.

    Raises:
        CorpusError: If there is no such importer or option, or the folder does not hold the corpus.
    """
    if name not in IMPORTERS:
        raise CorpusError("There is no importer of that name", found=name, fix=did_you_mean(name, IMPORTERS))
    importer = IMPORTERS[name]
    for option in options:
        if option not in importer.options:
            raise CorpusError(
                f"The importer {name!r} has no option {option!r}",
                expected=", ".join(importer.options) or "no options",
                fix=did_you_mean(option, importer.options) if importer.options else "leave it out",
            )
    return importer.function(root, **options)
