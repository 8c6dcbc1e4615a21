from __future__ import annotations

import logging
from pathlib import Path

import pytest

from ser_probe.data.corpora import import_corpus
from ser_probe.data.corpora.layout import LAYOUTS, find_clips
from ser_probe.errors import CorpusError
from tests.data.conftest import write_wavs

CORPORA = sorted(LAYOUTS)


@pytest.mark.parametrize("corpus", CORPORA)
def test_a_clip_name_belongs_to_one_corpus(corpus: str) -> None:
    example = LAYOUTS[corpus].text.split(".wav")[0].split("/")[-1] + ".wav"
    assert [name for name in CORPORA if LAYOUTS[name].file_name.fullmatch(example)] == [corpus]


@pytest.mark.parametrize("corpus", CORPORA)
def test_missing_root_and_file_instead_of_a_folder(tmp_path: Path, corpus: str) -> None:
    with pytest.raises(CorpusError, match=f"The {LAYOUTS[corpus].title} folder is missing"):
        import_corpus(corpus, tmp_path / "nowhere")
    (tmp_path / "corpus.zip").write_bytes(b"PK")
    with pytest.raises(CorpusError, match=r"folder is a file(.|\n)*unpack it"):
        import_corpus(corpus, tmp_path / "corpus.zip")


@pytest.mark.parametrize("corpus", CORPORA)
def test_empty_folder(tmp_path: Path, corpus: str) -> None:
    (tmp_path / "sub").mkdir()
    with pytest.raises(CorpusError, match="holds no WAV file"):
        import_corpus(corpus, tmp_path)


@pytest.mark.parametrize("corpus", CORPORA)
def test_strange_wav_files(tmp_path: Path, corpus: str) -> None:
    write_wavs(tmp_path, ["a/song.wav"])
    with pytest.raises(CorpusError, match=r"none of its WAV files(.|\n)*found: song\.wav"):
        import_corpus(corpus, tmp_path)


@pytest.mark.parametrize(
    ("corpus", "tree", "title"),
    [
        ("emovo", "emodb_tree", "EMO-DB"),
        ("emodb", "crema_d_tree", "CREMA-D"),
        ("crema_d", "emovo_tree", "EMOVO"),
    ],
)
def test_another_corpus_is_recognised(corpus: str, tree: str, title: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue(tree)
    with pytest.raises(CorpusError, match=rf"named like {title}'s(.|\n)*use the importer '{tree[:-5]}'"):
        import_corpus(corpus, root)


def test_the_folder_that_holds_the_corpus_will_do(emovo_tree: Path) -> None:
    inner, outer = find_clips(emovo_tree, "emovo"), find_clips(emovo_tree.parent, "emovo")
    assert outer.home == inner.home == emovo_tree
    assert outer.paths == [f"EMOVO/{path}" for path in inner.paths]


def test_two_copies_are_refused(emovo_tree: Path) -> None:
    write_wavs(emovo_tree.parent / "EMOVO_original", ["f1/dis-f1-b1.wav"])
    with pytest.raises(CorpusError, match=r"EMOVO more than once(.|\n)*EMOVO, EMOVO_original"):
        find_clips(emovo_tree.parent, "emovo")


def test_clips_too_deep_down(emovo_tree: Path) -> None:
    deep = emovo_tree.parent / "a"
    deep.mkdir()
    emovo_tree.rename(deep / "EMOVO")
    with pytest.raises(CorpusError, match="not where the corpus keeps them"):
        find_clips(emovo_tree.parent, "emovo")


def test_files_that_do_not_parse_are_left_out_and_listed(emodb_tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = find_clips(emodb_tree, "emodb").paths
    write_wavs(emodb_tree, ["wav/notes.wav", "wav/._03a01Wa.wav"])
    with caplog.at_level(logging.WARNING, logger="ser_probe"):
        after = find_clips(emodb_tree, "emodb").paths
    assert after == before
    assert "EMO-DB: 1 files are not named" in caplog.text
    assert "wav/notes.wav" in caplog.text
