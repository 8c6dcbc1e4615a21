"""The full lists of the published corpora's files: every name is read, and the counts are the published ones."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest

from ser_probe.data.corpora import IMPORTERS
from ser_probe.data.corpora.clips import FoundClips
from ser_probe.data.corpora.counts import compare_counts
from ser_probe.data.corpora.importer import CorpusRows
from tests.conftest import SHARED_DATA

NAMES = SHARED_DATA / "names"
# The list's own words for emotions are those of the names but for case, save in these.
WORDS = {
    "emodb": {"anger": "W", "boredem": "L", "disgust": "E", "fear": "A", "happy": "F", "neutral": "N", "sad": "T"},
    "emov_db": {"Angry": "anger", "Sleepy": "sleepiness"},
    "ravdess": {
        "Neutral": "01", "Calm": "02", "Happy": "03", "Sad": "04", "Angry": "05", "Fearful": "06", "Disgust": "07",
        "Surprised": "08",
    },
}  # fmt: skip
# RESD's speakers are file names in the list, and EMO-DB's have the gender before them.
WITHOUT_SPEAKERS = {"emodb", "mesd", "resd"}
LISTS = {
    "aesdd": "aesdd", "asvp_esd": "asvpesd", "cafe": "cafe", "emodb": "emodb", "emov_db": "emovdb", "emovo": "emovo",
    "jl_corpus": "jlcorpus", "mesd": "mesd", "oreau": "oreau", "ravdess": "ravdess", "resd": "resd", "tess": "tess",
}  # fmt: skip


def read_list(corpus: str) -> list[dict[str, str]]:
    path = NAMES / f"{LISTS[corpus]}.tsv.gz"
    if not path.is_file():
        pytest.skip("the lists of names are not at hand")
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


def import_names(corpus: str, paths: list[str], **options: object) -> CorpusRows:
    """Return the rows of names alone, and that every one of them is a clip's."""
    importer = IMPORTERS[corpus]
    matches = [importer.pattern.fullmatch(path) for path in paths]
    assert [path for path, match in zip(paths, matches, strict=True) if match is None] == []
    assert importer.rows is not None
    clips = FoundClips(importer, Path(), Path(), paths, [match for match in matches if match])
    return importer.rows(clips, **importer.settle_options(options))


@pytest.mark.parametrize("corpus", sorted(LISTS))
def test_every_name_is_read_and_the_counts_are_the_published_ones(corpus: str) -> None:
    listed = {row["path"]: row for row in read_list(corpus)}
    options = {"channel": "both"} if corpus == "asvp_esd" else {}
    imported = import_names(corpus, list(listed), **options)
    published = imported.published or IMPORTERS[corpus].published
    assert published is not None
    assert compare_counts(imported.table, published) == []
    # One clip of ASVP-ESD has an emotion that is not defined.
    assert len(listed) - len(imported.table) == (1 if corpus == "asvp_esd" else 0)
    words = WORDS.get(corpus, {})
    for path, code, speaker in (
        imported.table[["path", "label_code"]].assign(speaker=imported.table.get("speaker", "")).itertuples(index=False)
    ):
        row = listed[path]
        assert words.get(row["emotion"], row["emotion"]).lower() == code.lower(), path
        assert corpus in WITHOUT_SPEAKERS or row["speaker"] == speaker, path


def test_the_parts_of_corpora_have_their_published_counts() -> None:
    for corpus, name, values in (
        ("asvp_esd", "channel", ("speech", "non_speech")),
        ("jl_corpus", "emotions", ("primary", "secondary")),
    ):
        paths = [row["path"] for row in read_list(corpus)]
        for value in values:
            imported = import_names(corpus, paths, **{name: value})
            assert imported.published is not None
            assert compare_counts(imported.table, imported.published) == []


def test_a_missing_clip_is_named() -> None:
    paths = [row["path"] for row in read_list("tess")]
    imported = import_names("tess", [path for path in paths if "OAF_back_angry" not in path])
    published = IMPORTERS["tess"].published
    assert published is not None
    assert compare_counts(imported.table, published) == [
        "2799 clips of 2800 published (1 missing)",
        "labels that differ from the published counts: angry 399 of 400",
        "not there, by speaker / sentence / label_code: OAF / back / angry",
    ]
