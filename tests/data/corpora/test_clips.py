from __future__ import annotations

from pathlib import Path

import pytest

from ser_probe.data.corpora import IMPORTERS, import_corpus
from ser_probe.data.corpora.clips import FoundClips
from ser_probe.data.corpora.clips import find_clips as find_clips_of
from ser_probe.errors import CorpusError
from tests.data.conftest import write_wavs
from tests.data.corpora.trees import TREES, grow_tree

CORPORA = sorted(name for name, importer in IMPORTERS.items() if importer.clip)


def find_clips(root: Path, corpus: str) -> FoundClips:
    return find_clips_of(root, IMPORTERS[corpus])


@pytest.mark.parametrize("corpus", CORPORA)
def test_a_clip_name_belongs_to_one_corpus(corpus: str) -> None:
    example = IMPORTERS[corpus].layout.split(".wav")[0] + ".wav"
    assert [name for name in CORPORA if IMPORTERS[name].pattern.fullmatch(example)] == [corpus]


@pytest.mark.parametrize("corpus", CORPORA)
def test_missing_root_and_file_instead_of_a_folder(tmp_path: Path, corpus: str) -> None:
    with pytest.raises(CorpusError, match=f"The {IMPORTERS[corpus].title} folder is missing"):
        import_corpus(corpus, tmp_path / "nowhere")
    (tmp_path / "corpus.zip").write_bytes(b"PK")
    with pytest.raises(CorpusError, match=r"folder is a file(.|\n)*unpack it"):
        import_corpus(corpus, tmp_path / "corpus.zip")


@pytest.mark.parametrize("corpus", CORPORA)
def test_empty_folder(tmp_path: Path, corpus: str) -> None:
    (tmp_path / "sub").mkdir()
    with pytest.raises(CorpusError, match="holds no audio file"):
        import_corpus(corpus, tmp_path)


@pytest.mark.parametrize("corpus", CORPORA)
def test_strange_wav_files(tmp_path: Path, corpus: str) -> None:
    write_wavs(tmp_path, ["a/song.wav"])
    with pytest.raises(CorpusError, match=r"no file is named as the corpus names clips(.|\n)*found: a/song\.wav"):
        import_corpus(corpus, tmp_path)


@pytest.mark.parametrize("corpus", CORPORA)
def test_another_corpus_is_recognised(corpus: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    root = grow_tree(corpus, request, tmp_path)
    for other in CORPORA:
        if other == corpus:
            continue
        with pytest.raises(CorpusError) as caught:
            import_corpus(other, root)
        message = str(caught.value)
        assert f"named like {IMPORTERS[corpus].title}'s" in message, (other, message)
        assert f"use the importer {corpus!r}" in message


def test_the_folder_that_holds_the_corpus_will_do(emovo_tree: Path) -> None:
    inner, outer = find_clips(emovo_tree, "emovo"), find_clips(emovo_tree.parent, "emovo")
    assert outer.home == inner.home == emovo_tree
    assert outer.paths == [f"EMOVO/{path}" for path in inner.paths]


def test_two_copies_are_refused(emovo_tree: Path) -> None:
    write_wavs(emovo_tree.parent / "EMOVO_original", ["f1/dis-f1-b1.wav"])
    with pytest.raises(CorpusError, match=r"EMOVO more than once(.|\n)*EMOVO, EMOVO_original"):
        find_clips(emovo_tree.parent, "emovo")


@pytest.mark.parametrize("corpus", sorted(TREES))
def test_a_second_copy_is_noticed(corpus: str, tmp_path: Path) -> None:
    clip = TREES[corpus].names[0]
    write_wavs(tmp_path, [f"first/{clip}", f"second/{clip}"])
    with pytest.raises(CorpusError, match="more than once"):
        find_clips(tmp_path, corpus)
    assert len(find_clips(tmp_path / "first", corpus)) == 1


def test_a_second_copy_in_another_format_or_layout_is_noticed(tmp_path: Path) -> None:
    write_wavs(tmp_path / "cafe", ["CaFE_48k/Joie/Faible/05-J-1-2.wav", "CaFE_192k/05-J-1-2.aiff"])
    with pytest.raises(CorpusError, match=r"CaFE more than once(.|\n)*CaFE_192k, CaFE_48k"):
        find_clips(tmp_path / "cafe", "cafe")
    write_wavs(tmp_path / "savee", ["AudioData/DC/a01.wav", "flat/DC_a01.wav"])
    with pytest.raises(CorpusError, match="SAVEE more than once"):
        find_clips(tmp_path / "savee", "savee")


def test_clips_are_found_at_any_depth(emovo_tree: Path) -> None:
    deep = emovo_tree.parent / "a" / "b"
    deep.mkdir(parents=True)
    emovo_tree.rename(deep / "EMOVO")
    assert find_clips(emovo_tree.parent, "emovo").home == deep / "EMOVO"


def test_a_corpus_in_several_folders_is_one(emodb_tree: Path) -> None:
    women = emodb_tree / "women"
    women.mkdir()
    for clip in [*(emodb_tree / "wav").glob("08*"), *(emodb_tree / "wav").glob("09*")]:
        clip.rename(women / clip.name)
    clips = find_clips(emodb_tree, "emodb")
    assert clips.home == emodb_tree
    assert sorted({path.split("/")[0] for path in clips.paths}) == ["wav", "women"]
    assert sorted(set(clips.part("speaker"))) == ["03", "08", "09", "10"]


def test_files_that_do_not_parse_are_left_out_and_listed(emodb_tree: Path) -> None:
    before = find_clips(emodb_tree, "emodb")
    write_wavs(emodb_tree, ["wav/notes.wav", "wav/._03a01Wa.wav", "__MACOSX/wav/03a01Wa.wav"])
    after = find_clips(emodb_tree, "emodb")
    assert (before.notes, after.paths) == ((), before.paths)
    assert after.notes == ("1 file not named as EMO-DB names clips, left out: wav/notes.wav",)


def test_another_kind_of_file_is_said(tmp_path: Path) -> None:
    write_wavs(tmp_path, ["f1/dis-f1-b1.mp3"])
    with pytest.raises(CorpusError, match=r"no file that ends with \.wav(.|\n)*found: f1/dis-f1-b1\.mp3"):
        find_clips(tmp_path, "emovo")
