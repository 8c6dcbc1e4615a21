"""The corpora that ser-probe can import, in one table.

A new corpus is one module with an `IMPORTER`, and its name in `_MODULES`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ser_probe.data.corpora.clips import find_clips
from ser_probe.data.corpora.importer import Importer
from ser_probe.errors import CorpusError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

_MODULES = (
    "aesdd", "ased", "asvp_esd", "audiofolder", "baved", "cafe", "crema_d", "emodb", "emov_db", "emovo",
    "emozionalmente", "esd", "folders", "iemocap", "jl_corpus", "meld", "mesd", "msp_podcast", "nemo", "oreau",
    "ravdess", "resd", "sample", "savee", "shemo", "tess", "turev_db", "urdu",
)  # fmt: skip
_FIX = "choose other options of the importer, or give the folder of the whole corpus"


class _Importers(Mapping[str, Importer]):
    """The importers by name, each module loaded when its entry is looked up."""

    def __getitem__(self, name: str) -> Importer:
        if name not in _MODULES:
            raise KeyError(name)
        importer = importlib.import_module(f"ser_probe.data.corpora.{name}").IMPORTER
        assert isinstance(importer, Importer)
        return importer

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)


IMPORTERS: Mapping[str, Importer] = _Importers()


@dataclass(frozen=True)
class ImportedCorpus:
    """A corpus as it was found.

    Attributes:
        table: One row per clip; `path` is relative to the user's folder.
        facts: How many clips each label has, and which labels these are.
        notes: What is missing, extra or left out, a line each.
    """

    table: pd.DataFrame
    facts: tuple[str, ...]
    notes: tuple[str, ...]


def find_importer(name: str) -> Importer:
    """Return the importer of that name, which may be written `CREMA-D` as well as `crema_d`.

    Raises:
        CorpusError: If there is none.
    """
    plain = name.strip().lower().replace("-", "_").replace(" ", "_")
    if plain not in IMPORTERS:
        raise CorpusError("There is no importer of that name", found=name, fix=did_you_mean(plain, IMPORTERS))
    return IMPORTERS[plain]


def import_corpus(name: str, root: str | Path, **options: object) -> ImportedCorpus:
    """Return the rows of a corpus by name.

    Args:
        name: A key of `IMPORTERS`.
        root: The corpus's folder, or one above it.
        **options: The importer's own options.

    Raises:
        CorpusError: If there is no such importer or option, or the folder does not hold the corpus.
        ManifestError: If an emotion code is not known.
    """
    from ser_probe.data.corpora.counts import compare_counts, describe_labels

    importer = find_importer(name)
    settled = importer.settle_options(options)
    folder = Path(root).expanduser()
    notes: list[str] = []
    if importer.rows is not None:
        clips = find_clips(folder, importer, (other for other in IMPORTERS.values() if other.clip))
        notes += clips.notes
        found = importer.rows(clips, **settled)
    else:
        assert importer.read is not None, "an importer has rows or read"
        found = importer.read(folder, **settled)
    if not len(found.table):
        raise CorpusError(
            f"No clip of {importer.title} is left", where=folder, found="; ".join(notes + list(found.notes)), fix=_FIX
        )
    published = found.published or importer.published
    whole = found.table if found.whole is None else found.whole
    notes += [*found.notes, *(compare_counts(whole, published) if published else ())]
    return ImportedCorpus(
        found.table,
        (describe_labels(found.table, found.rule),) if "label" in found.table else (),
        tuple(f"{importer.title}: {note}" for note in notes),
    )
