"""Small trees in the true layout of corpora whose labels lie in tables, each with a defect of the real files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.data.conftest import write_wavs

_TURNS = [
    # In the second, the letter of the markers (F) is not that of the speaker (M).
    ("1", "Ses01F_impro01", "F000", "neu", (2.5, 2.0, 3.0)),
    ("1", "Ses01F_impro01", "M001", "ang", (1.5, 4.0, 4.5)),
    ("1", "Ses01F_impro01", "F002", "exc", (4.5, 4.0, 3.5)),
    ("1", "Ses01M_script01_1", "M000", "hap", (4.0, 3.0, 3.0)),
    ("1", "Ses01M_script01_1", "F000", "fru", (2.0, 3.5, 3.0)),
    ("2", "Ses02M_impro03", "M000", "sad", (1.5, 1.5, 2.0)),
    ("2", "Ses02M_impro03", "F000", "xxx", (2.0, 3.0, 3.0)),
    ("2", "Ses02M_script03_2", "F012", "neu", (3.0, 2.5, 2.5)),
    ("2", "Ses02M_script03_2", "M004", "sur", (3.0, 4.0, 3.0)),
]
_WORDS = {
    "neu": "Neutral", "ang": "Anger", "exc": "Excited", "hap": "Happiness", "fru": "Frustration", "sad": "Sadness",
    "xxx": "Other", "sur": "Surprise",
}  # fmt: skip


def write_iemocap(root: Path) -> Path:
    """Nine turns of two sessions; one listener's line lacks dominance; a subfolder holds files of another form."""
    write_wavs(root, [f"Session{session}/sentences/wav/{name}/{name}_{turn}.wav" for session, name, turn, *_ in _TURNS])
    for session, name in dict.fromkeys((session, name) for session, name, *_ in _TURNS):
        dialog = root / f"Session{session}" / "dialog"
        labels = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
        spoken = []
        for number, (_, other, turn, code, values) in enumerate(_TURNS):
            if other != name:
                continue
            shown = ", ".join(f"{value:.4f}" for value in values)
            labels += [
                f"[{number}.2901 - {number}.9357]\t{name}_{turn}\t{code}\t[{shown}]",
                f"C-E2:\t{_WORDS[code]};\t()",
                f"C-E3:\t{_WORDS[code]}; Neutral;\t(mildly aggravated but staying polite)",
                "C-E4:\tFrustration;\t()",
                f"C-{turn[0]}1:\tNeutral; Anger;\t()",
                "A-E3:\tval 3; act 2; dom  2;\t()",
                "A-E4:\tval 2; act 3; dom  ;\t()",
                "",
            ]
            spoken.append(f"{name}_{turn} [00{number}.2901-00{number}.9357]: Excuse me {number}.")
        for folder, lines in (("EmoEvaluation", labels), ("transcriptions", [*spoken, "M: [BREATHING]"])):
            (dialog / folder).mkdir(parents=True, exist_ok=True)
            (dialog / folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
        (dialog / "EmoEvaluation" / "Categorical").mkdir(exist_ok=True)
        (dialog / "EmoEvaluation" / "Categorical" / f"{name}_e2_cat.txt").write_text(
            f"{name}_F000 :Neutral state; ()\n"
        )
    return root


MSP_ROWS = [
    "MSP-PODCAST_0001_0008.wav,N,2.2,4.0,2.6,30,Male,Test1",
    "MSP-PODCAST_0001_0009.wav,A,6.0,1.5,5.5,39,Female,Train",
    "MSP-PODCAST_0002_0033.wav,H,4.0,6.0,4.5,39,Female,Train",
    "MSP-PODCAST_0002_0051.wav,S,2.0,2.5,3.0,Unknown,Unknown,Train",
    "MSP-PODCAST_0002_0059.wav,S,2.5,2.0,3.0,Unknown,Unknown,Development",
    "MSP-PODCAST_0003_0001_0002.wav,U,5.0,5.0,4.0,7,Male,Test2",
    "MSP-PODCAST_0003_0003.wav,X,3.777778,3.555556,3.777778,7,Male,Test2",
    "MSP-PODCAST_0003_0004.wav,O,3.0,3.0,3.0,30,Male,Test1",
]


def write_msp_podcast(root: Path) -> Path:
    """Eight clips, two of them of speakers who are `Unknown`, one with three groups of digits."""
    write_wavs(root, [f"Audios/{row.split(',')[0]}" for row in MSP_ROWS])
    (root / "Labels").mkdir()
    header = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set"
    (root / "Labels" / "labels_consensus.csv").write_text("\n".join([header, *MSP_ROWS]) + "\n")
    return root


MELD_ROWS = {
    "train": [
        ("also I was the point person on my company’s transition", "Chandler", "neutral", 0, 0),
        ("You must’ve had your hands full.", "The Interviewer", "neutral", 0, 1),
        ("There you are.", "Monica", "joy", 125, 3),
    ],
    "dev": [("Oh my God, he’s lost it.", "Phoebe", "sadness", 0, 0), ("What?", "Monica", "surprise", 0, 1)],
    "test": [
        ("Why do all you’re mugs have numbers?", "Chandler", "anger", 0, 0),
        ("Oh.", "Ross", "fear", 38, 4),
    ],
}
MELD_FOLDERS = {
    "train": "train/train_splits", "dev": "dev/dev_splits_complete", "test": "test/output_repeated_splits_test",
}  # fmt: skip


def write_meld(root: Path) -> Path:
    """Three parts whose dialogues have the same numbers; the clip of train's dialogue 125 is not there."""
    for part, rows in MELD_ROWS.items():
        lines = ["Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"]
        lines += [
            f'{number},"{text}",{speaker},{emotion},neutral,{dialogue},{utterance},8,21,"00:16:16,059","00:16:21,731"'
            for number, (text, speaker, emotion, dialogue, utterance) in enumerate(rows, start=1)
        ]
        root.mkdir(parents=True, exist_ok=True)
        (root / f"{part}_sent_emo.csv").write_bytes("\r\n".join([*lines, ""]).encode())
    clips = [
        f"{MELD_FOLDERS[part]}/dia{row[3]}_utt{row[4]}.wav"
        for part, rows in MELD_ROWS.items()
        for row in rows
        if row[3] != 125
    ]
    return write_wavs(root, clips)


EMOZIONALMENTE_ROWS = [
    # Actor, emotion, what five listeners heard.
    ("aa", "joy", "joy joy joy surprise neutrality"),
    ("aa", "anger", "anger anger disgust disgust fear"),
    ("bb", "neutrality", "neutrality neutrality sadness neutrality neutrality"),
    ("bb", "disgust", "anger anger anger disgust disgust"),
    ("cc", "fear", "fear fear fear surprise surprise"),
    ("cc", "sadness", "sadness sadness sadness sadness sadness"),
]


def write_emozionalmente(root: Path) -> Path:
    """Six clips of three actors; the listeners' vote on the second is a tie; genders are written in two ways."""
    actors = {name: name * 32 for name in ("aa", "bb", "cc")}
    names = [f"{1613655062436 + number}.wav" for number in range(len(EMOZIONALMENTE_ROWS))]
    write_wavs(root, [f"audio/{name}" for name in names])
    metadata = root / "metadata"
    (metadata / "split").mkdir(parents=True)
    samples = ["file_name,actor,emotion_expressed,sentence"]
    evaluations = ["file_name,emotion_recognized,audio_quality"]
    for name, (actor, emotion, votes) in zip(names, EMOZIONALMENTE_ROWS, strict=True):
        samples.append(f"{name},{actors[actor]},{emotion},L’autunno prossimo")
        evaluations += [f"{name},{vote},good" for vote in votes.split()]
    users = ["username,gender,age,mother_tongue"]
    users += [f"{actors[name]},{gender},{30 + age},Italian" for age, (name, gender) in
              enumerate((("aa", "Female"), ("bb", "Maschio"), ("cc", "other")))]  # fmt: skip
    for name, lines in (("samples", samples), ("users", users), ("evaluations", evaluations)):
        (metadata / f"{name}.csv").write_text("\n".join(lines) + "\n")
    for place, split in enumerate(("train", "dev", "test")):
        (metadata / "split" / f"{split}.csv").write_text(
            "\n".join(["file_name", *names[2 * place : 2 * place + 2], ""])
        )
    return root


_NEMO_TEXT = 'Ucho wykrywa "dźwięki.\tucho wykrywa dźwięki'
NEMO_ROWS = [
    f"{speaker}_{emotion}_{number}.wav\t{emotion}\t{_NEMO_TEXT}\t        {speaker}\t{gender}\t30"
    for speaker, gender in (("WR0", "male"), ("EB0", "female"))
    for number, emotion in enumerate(("anger", "fear", "happiness", "neutral", "sadness", "surprised"), start=1)
]


def write_nemo(root: Path) -> Path:
    """Two actors, whose names have eight leading blanks; a text with one quotation mark."""
    write_wavs(root, [f"samples/{row.split(chr(9))[0]}" for row in NEMO_ROWS])
    header = "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage"
    (root / "data.tsv").write_text("\n".join([header, *NEMO_ROWS]) + "\n")
    return root


def write_shemo(root: Path) -> Path:
    """Two speakers; shemo.json corrects one label and lacks one clip."""
    stems = [f"{speaker}{code}{number:02d}" for number, (speaker, code) in
             enumerate((speaker, code) for speaker in ("F01", "M36") for code in "AFHNSW")]  # fmt: skip
    write_wavs(root, [f"{'female' if stem[0] == 'F' else 'male'}/{stem}.wav" for stem in stems])
    words = dict(zip("AFHNSW", ("angry", "fearful", "happy", "neutral", "sad", "surprised"), strict=True))
    entries = {
        stem: {"speaker_id": stem[:3], "gender": "female", "emotion": words[stem[3]], "transcript": f"سلام {stem}"}
        for stem in stems[:-1]
    }
    entries[stems[0]]["emotion"] = "neutral"
    (root / "shemo.json").write_text(json.dumps(entries, ensure_ascii=False))
    return root


ESD_WORDS = {"Neutral": "中立", "Angry": "生气", "Happy": "快乐", "Sad": "伤心", "Surprise": "惊喜"}


def write_esd(root: Path) -> Path:
    """Three speakers whose text files are in GB 2312, in UTF-16 without a mark, and with blanks in place of tabs."""
    clips = []
    for speaker, encoding, gap in (("0002", "gb2312", "\t"), ("0004", "utf-16-le", "\t"), ("0011", "ascii", " ")):
        lines = []
        for block, (emotion, word) in enumerate(ESD_WORDS.items()):
            for number, part in ((1, "train"), (20, "test")):
                clip = f"{speaker}_{350 * block + number:06d}"
                clips.append(f"{speaker}/{emotion}/{part}/{clip}.wav")
                said = ("打远一看，", word) if speaker < "0011" else ("The nine the eggs.", emotion)
                lines.append(gap.join((clip, *said)))
        (root / speaker).mkdir(parents=True)
        (root / speaker / f"{speaker}.txt").write_bytes("\r\n".join(lines).encode(encoding))
    return write_wavs(root, clips)


TREES_OF_TABLES: dict[str, Callable[[Path], Path]] = {
    "emozionalmente": write_emozionalmente,
    "esd": write_esd,
    "iemocap": write_iemocap,
    "meld": write_meld,
    "msp_podcast": write_msp_podcast,
    "nemo": write_nemo,
    "shemo": write_shemo,
}
"""What writes the tree of each corpus, by importer."""
