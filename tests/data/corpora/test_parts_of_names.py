"""What the importers of named clips read from one name, field by field, and what they say of odd ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from ser_probe.errors import CorpusError, ManifestError
from tests.data.conftest import write_wavs
from tests.data.corpora.rows_of import notes_of, rows_of
from tests.data.corpora.trees import TREES

ROWS = [
    (
        "aesdd",
        "fear/f10 (01).wav",
        "label=fear|label_code=f|speaker=1|sentence=10|version=|language=el",
    ),
    (
        "aesdd",
        "sadness/s01 (5)b.wav",
        "label=sadness|label_code=s|speaker=5|sentence=01|version=b|language=el",
    ),
    (
        "aesdd",
        "happiness/h20 (3).wav",
        "label=happiness|label_code=h|speaker=3|sentence=|version=|language=el",
    ),
    (
        "ased",
        "04Sad/S4-04-02-01-29.wav",
        "label=sadness|label_code=s4|speaker=29|gender=female|sentence=s4-04|repetition=2|language=am",
    ),
    (
        "asvp_esd",
        "Audio/actor_60/03-01-07-01-01-60-02-02-04-66.wav",
        "label=disgust|label_code=07|speaker=60|gender=male|level=normal|channel=speech|age_code=02|"
        "source_code=02|language_code=04|mixed_voices=1|language=und",
    ),
    (
        "asvp_esd",
        "Audio/actor_50/03-01-07-01-20-65-02-02-05.wav",
        "label=disgust|label_code=07|speaker=65|gender=female|level=normal|channel=speech|age_code=02|"
        "source_code=02|language_code=05|mixed_voices=0|language=und",
    ),
    (
        "asvp_esd",
        "Bonus/actor_150/03-01-05-01-13-150-0401-00-14-01.wav",
        "label=anger|label_code=05|speaker=150|gender=male|level=normal|channel=speech|age_code=|"
        "source_code=|language_code=|mixed_voices=0|language=und",
    ),
    (
        "baved",
        "0/49-m-23-6-1-201.wav",
        "label=neutral|label_code=1|speaker=49|gender=male|age=23|sentence=6|sentence_text=سيئ|language=ar",
    ),
    (
        "baved",
        "0/53-m-20-0-2-158.wav",
        "label=high_activation|label_code=2|speaker=46|gender=male|age=20|sentence=0|sentence_text=اعجبني|language=ar",
    ),
    (
        "cafe",
        "CaFE_48k/D‚go–t/Faible/03-D-1-1.wav",
        "label=disgust|label_code=D|speaker=03|gender=male|sentence=1|level=low|language=fr",
    ),
    (
        "cafe",
        "CaFE_48k/Neutre/08-N-1-1.aiff",
        "label=neutral|label_code=N|speaker=08|gender=female|sentence=1|level=unspecified|language=fr",
    ),
    (
        "emov_db",
        "sam_Disgusted/Disgust_309_336_0329.wav",
        "label=disgust|label_code=disgust|speaker=sam|gender=male|sentence=0329|language=en",
    ),
    (
        "emov_db",
        "josh_Sleepy/sleepiness_113_140_0113.wav",
        "label=sleepiness|label_code=sleepiness|speaker=josh|gender=male|sentence=0113|language=en",
    ),
    (
        "jl_corpus",
        "Raw JL corpus (unchecked and unannotated)/JL(wav+txt)/female1_apologetic_10a_1.wav",
        "label=apology|label_code=apologetic|speaker=female1|gender=female|sentence=10a|repetition=1|language=en",
    ),
    (
        "mesd",
        "Mexican Emotional Speech Database (MESD)/Fear_F_A_basta_ya.wav",
        "label=fear|label_code=Fear|voice=woman|gender=female|sentence=basta_ya|word_list=A|language=es",
    ),
    (
        "oreau",
        "OréauFR_02/m/sesss/07z03Sa.wav",
        "label=surprise|label_code=S|speaker=07|gender=male|sentence=Sz03|version=a|language=fr",
    ),
    (
        "ravdess",
        "Audio_Speech_Actors_01-24/Actor_02/03-01-06-02-01-02-02.wav",
        "label=fear|label_code=06|speaker=02|gender=female|sentence=01|"
        "sentence_text=Kids are talking by the door|level=strong|repetition=2|channel=speech|language=en",
    ),
    (
        "resd",
        "test/enthusiasm_happiness_26/26_enthusiasm_happiness_h_040.wav",
        "label=happiness|label_code=happiness|speaker=26h|dialogue=26|turn=40|official_split=test|language=ru",
    ),
    (
        "resd",
        "train/01_happiness_anger/01_happiness_anger a_020.wav",
        "label=anger|label_code=anger|speaker=01a|dialogue=01|turn=20|official_split=train|language=ru",
    ),
    (
        "savee",
        "AudioData/JE/sa02.wav",
        "label=sadness|label_code=sa|speaker=JE|gender=male|sentence=sa02|language=en",
    ),
    (
        "tess",
        "OAF_neutral/OA_bite_neutral.wav",
        "label=neutral|label_code=neutral|speaker=OAF|gender=female|age=64|sentence=bite|"
        "sentence_text=Say the word bite|language=en",
    ),
    (
        "tess",
        "YAF_pleasant_surprised/YAF_pad_ps.wav",
        "label=surprise|label_code=ps|speaker=YAF|gender=female|age=26|sentence=pad|"
        "sentence_text=Say the word pad|language=en",
    ),
    (
        "turev_db",
        "Sound Source/Sad/7895_hl_ogul1.wav",
        "label=sadness|label_code=hl|speaker=7895|sentence=ogul1|language=tr",
    ),
    (
        "urdu",
        "Neutral/SM5_F72_N0100.wav",
        "label=neutral|label_code=N|speaker=SM5|gender=male|language=ur",
    ),
]


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: write_wavs(tmp_path_factory.mktemp(name), tree.names) for name, tree in TREES.items()}


@pytest.mark.parametrize(("corpus", "path", "row"), ROWS)
def test_every_field_of_a_name(corpus: str, path: str, row: str, grown: dict[str, Path]) -> None:
    table = rows_of(corpus, grown[corpus]).set_index("path")
    cells = {name: str(cell) for name, cell in table.loc[path].items()}
    assert cells == {**dict(part.split("=") for part in row.split("|")), "corpus": corpus}


def test_every_corpus_has_a_row_here() -> None:
    assert {corpus for corpus, _, _ in ROWS} == set(TREES)


@pytest.mark.parametrize(
    ("corpus", "words"),
    [
        ("asvp_esd", "1 clip in another actor's folder, where the name counts: Audio/actor_50/"),
        ("baved", "speakers 46 and 53 are one person, here 46: 1 clip of 53"),
        ("baved", "in the folder of another word, where the name counts: 0/49-m-23-6-1-201.wav"),
        ("mesd", "there is no column 'speaker': the clips cannot be split by speaker"),
        ("resd", "whether one person speaks in several dialogues is not known"),
        ("resd", "the published parts train and test share 1 speaker: 01a"),
        ("tess", "speaker OA is a slip for OAF: OAF_neutral/OA_bite_neutral.wav"),
        ("turev_db", "a word that is written with a digit is kept so: ogul1"),
    ],
)
def test_odd_names_are_mentioned(corpus: str, words: str, grown: dict[str, Path]) -> None:
    assert words in notes_of(corpus, grown[corpus])


@pytest.mark.parametrize("corpus", sorted(TREES))
def test_an_ordinary_clip_brings_no_note_but_of_counts(corpus: str, tmp_path: Path) -> None:
    always = {"mesd": 1, "resd": 1}
    odd = ("baved", "asvp_esd")  # the first of their clips is ordinary, of the others the second
    write_wavs(tmp_path, [TREES[corpus].names[0 if corpus in odd else 1]])
    notes = [line for line in notes_of(corpus, tmp_path).splitlines() if "published" not in line]
    assert len(notes) == always.get(corpus, 0), notes


def test_ravdess_song_and_calm(tmp_path: Path) -> None:
    song = "Audio_Song_Actors_01-24/Actor_01/03-02-02-01-01-02-01.wav"
    write_wavs(tmp_path, [*TREES["ravdess"].names, song])
    assert rows_of("ravdess", tmp_path, channel="song")["path"].tolist() == [song]
    both = rows_of("ravdess", tmp_path, channel="both")
    assert len(both) == len(TREES["ravdess"].names) + 1
    assert both["channel"].value_counts()["song"] == 1
    merged = rows_of("ravdess", tmp_path, channel="both", calm="neutral").set_index("path")
    assert (merged.loc[song, "label"], merged.loc[song, "label_code"]) == ("neutral", "02")
    assert "calm" not in set(merged["label"])
    assert "1 clip of song left out (option channel=song or both takes them)" in notes_of("ravdess", tmp_path)


def test_ravdess_without_songs_says_so(tmp_path: Path) -> None:
    write_wavs(tmp_path, TREES["ravdess"].names)
    with pytest.raises(CorpusError, match=r"No clip of RAVDESS is left(.|\n)*of speech left out(.|\n)*other options"):
        rows_of("ravdess", tmp_path, channel="song")


def test_ravdess_sound_of_videos_is_taken_once(tmp_path: Path) -> None:
    write_wavs(tmp_path, [f"Actor_01/{kind}-01-05-01-01-01-01.wav" for kind in ("01", "02", "03")])
    write_wavs(tmp_path, ["Actor_02/01-01-05-01-01-01-02.wav"])
    assert rows_of("ravdess", tmp_path)["path"].tolist() == [
        "Actor_01/03-01-05-01-01-01-01.wav", "Actor_02/01-01-05-01-01-01-02.wav",
    ]  # fmt: skip
    assert "2 files of videos left out" in notes_of("ravdess", tmp_path)


def test_ravdess_in_folders_by_emotion_goes_by_the_name(tmp_path: Path) -> None:
    write_wavs(tmp_path, ["07_disgust/03-01-01-01-01-01-10.wav", "01_Neatral/03-01-01-01-01-01-11.wav"])
    assert set(rows_of("ravdess", tmp_path)["label"]) == {"neutral"}
    notes = notes_of("ravdess", tmp_path)
    assert "1 clip in a folder of another actor or emotion" in notes
    assert "07_disgust/03-01-01-01-01-01-10.wav" in notes
    write_wavs(tmp_path, ["Actor_12/03-01-01-01-01-01-13.wav"])
    assert "2 clips in a folder of another actor or emotion" in notes_of("ravdess", tmp_path)


def test_tess_keeps_pleasant_surprise_apart_where_asked(grown: dict[str, Path]) -> None:
    table = rows_of("tess", grown["tess"], surprise="pleasant_surprise")
    assert set(table.loc[table["label_code"] == "ps", "label"]) == {"pleasant_surprise"}


def test_jl_corpus_in_parts(grown: dict[str, Path]) -> None:
    parts = {
        name: set(rows_of("jl_corpus", grown["jl_corpus"], emotions=name)["label"]) for name in ("primary", "secondary")
    }
    assert parts["primary"] == {"anger", "excitement", "happiness", "neutral", "sadness"}
    assert parts["secondary"] == {"anxiety", "apology", "assertiveness", "concern", "encouragement"}
    assert "10 clips of other than the primary" in notes_of("jl_corpus", grown["jl_corpus"], emotions="primary")


def test_asvp_esd_sounds_without_words(tmp_path: Path) -> None:
    write_wavs(tmp_path, [*TREES["asvp_esd"].names, *TREES["asvp_esd"].left_out])
    sounds = rows_of("asvp_esd", tmp_path, channel="non_speech")
    assert sounds["label"].tolist() == ["fear", "other"]
    assert len(rows_of("asvp_esd", tmp_path, channel="both")) == len(TREES["asvp_esd"].names) + 2
    assert "emotion 17 is not defined, left out: Bonus/actor_200/" in notes_of("asvp_esd", tmp_path)


def test_savee_and_emov_db_in_their_other_layouts(tmp_path: Path) -> None:
    write_wavs(tmp_path / "savee", ["DC_a01.wav", "KL_su15.wav"])
    assert rows_of("savee", tmp_path / "savee")[["speaker", "label"]].to_numpy().tolist() == [
        ["DC", "anger"], ["KL", "surprise"],
    ]  # fmt: skip
    write_wavs(tmp_path / "emov", ["bea/Angry/anger_85-112_0086.wav"])
    assert rows_of("emov_db", tmp_path / "emov")["speaker"].tolist() == ["bea"]


def test_genders_that_contradict_each_other(tmp_path: Path) -> None:
    names = [f"a5-0{number}-01-0{gender}-09.wav" for number, gender in ((1, 1), (2, 1), (3, 2))]
    write_wavs(tmp_path, [*names, "a5-01-01-02-10.wav"])
    table = rows_of("ased", tmp_path).set_index("speaker")
    assert set(table.loc["09", "gender"]) == {"female"}
    assert table.loc["10", "gender"] == "male"
    assert "names give speakers 09 two genders; what most clips of the speaker say counts, against 1 clip" in notes_of(
        "ased", tmp_path
    )


def test_a_speaker_whose_names_are_half_and_half_has_no_gender(tmp_path: Path) -> None:
    write_wavs(tmp_path, ["a5-01-01-01-09.wav", "a5-02-01-02-09.wav"])
    assert set(rows_of("ased", tmp_path)["gender"]) == {""}


def test_a_letter_of_neither_state(tmp_path: Path) -> None:
    write_wavs(tmp_path, ["01_happiness_anger_s_010.wav"])
    with pytest.raises(
        ManifestError, match=r"of neither of the dialogue's states(.|\n)*expected: h or a(.|\n)*found: s"
    ):
        rows_of("resd", tmp_path)


@pytest.mark.parametrize(
    ("corpus", "path", "message"),
    [
        ("ravdess", "03-01-09-01-01-01-01.wav", r"'09' \(1 clips\)"),
        ("tess", "OAF_back_angri.wav", r"'angri' \(1 clips\): did you mean 'angry'"),
        ("jl_corpus", "male1_sadd_1a_1.wav", r"'sadd' \(1 clips\): did you mean 'sad'"),
        ("cafe", "01-X-1-1.wav", r"'X' \(1 clips\)"),
        ("asvp_esd", "03-01-14-01-01-01-01-02-03.wav", r"'14' \(1 clips\)"),
        ("resd", "01_joy_anger_j_010.wav", r"'joy' \(1 clips\)"),
    ],
)
def test_unknown_emotions_are_named(corpus: str, path: str, message: str, tmp_path: Path) -> None:
    write_wavs(tmp_path, [path])
    with pytest.raises(ManifestError, match=message):
        rows_of(corpus, tmp_path)


def test_names_of_resd_without_parts(tmp_path: Path) -> None:
    write_wavs(tmp_path, ["01_happiness_anger_a_010.wav"])
    assert "official_split" not in rows_of("resd", tmp_path)
