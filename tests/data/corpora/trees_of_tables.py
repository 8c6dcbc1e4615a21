"""Small trees in the true layout of corpora whose labels lie in tables, each with a defect of the real files."""

from __future__ import annotations

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


TREES_OF_TABLES: dict[str, Callable[[Path], Path]] = {"iemocap": write_iemocap, "msp_podcast": write_msp_podcast}
"""What writes the tree of each corpus, by importer."""
