"""Short lists of clips of the corpora whose file names say all, in their true layout, with the odd names they have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.data.conftest import write_wavs
from tests.data.corpora.trees_of_tables import TREES_OF_TABLES

BOTH = frozenset({"female", "male"})


@dataclass(frozen=True)
class Tree:
    """A corpus in small.

    Attributes:
        names: Clips that an import takes.
        left_out: Clips that it leaves out and mentions.
        lacks: Columns of every corpus that this one does not fill.
        genders: Genders that its rows have.
        blanks: Columns of which some cells are empty.
    """

    names: list[str]
    left_out: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    genders: frozenset[str] = BOTH
    blanks: tuple[str, ...] = ()


def _ravdess() -> list[str]:
    cells = [
        (code, level, actor) for code in range(1, 9) for level in (1, 2) for actor in (1, 2) if code > 1 or level < 2
    ]
    return [
        f"Audio_Speech_Actors_01-24/Actor_{actor:02}/03-01-{code:02}-{level:02}-01-02-{actor:02}.wav"
        for code, level, actor in cells
    ]


_MESD = "Mexican Emotional Speech Database (MESD)/"
_JL = "Raw JL corpus (unchecked and unannotated)/JL(wav+txt)/"

TREES = {
    "aesdd": Tree(
        [
            "anger/a01 (1).wav", "anger/a06 (5).wav", "anger/a06 (5)b.wav", "disgust/d03 (01).wav",
            "disgust/d01 (2).wav", "fear/f10 (01).wav", "fear/f02 (6).wav", "happiness/h20 (3).wav",
            "happiness/h20 (4).wav", "sadness/s01 (5)a.wav", "sadness/s01 (5)b.wav", "sadness/s01 (2).wav",
        ],
        left_out=("sadness/s05 (3).wav",), lacks=("gender",), genders=frozenset(), blanks=("sentence",),
    ),
    "ased": Tree(
        [
            "01Neutral/n1-07-01-02-53.wav", "01Neutral/n1-01-01-01-09.wav", "02Fear/f2-01-02-02-53.wav",
            "02Fear/f2-01-02-01-09.wav", "03Happy/h3-03-01-02-53.wav", "03Happy/h3-03-01-01-29.wav",
            "04Sad/S4-04-02-01-29.wav", "04Sad/s4-04-01-01-09.wav", "05Angry/a5-07-01-02-09.wav",
            "05Angry/a5-07-01-02-53.wav",
        ],
    ),
    "asvp_esd": Tree(
        [
            "Audio/actor_/03-01-02-01-01-116-02-02-02-13.wav", "Audio/actor_31/03-01-02-01-2-31-02-03-01-77.wav",
            "Audio/actor_62/03-01-04-02-03-62-02-02-02-2.wav", "Audio/actor_27/03-01-04-01-08-27-02-02-02-03.wav",
            "Audio/actor_50/03-01-07-01-20-65-02-02-05.wav", "Audio/actor_60/03-01-07-01-01-60-02-02-04-66.wav",
            "Audio/actor_31/03-01-12-01-02-31-02-03.wav", "Bonus/actor_150/03-01-12-01-52-150-04-01-00-14 -01.wav",
            "Bonus/actor_150/03-01-05-01-13-150-0401-00-14-01.wav", "Audio/actor_31/03-01-05-021-02-31-02-03-01.wav",
        ],
        left_out=(
            "Bonus/actor_200/03-01-17-01-02-200-05-02-01-12.wav", "Audio/actor_54/03-02-06-01-02-54-02-02-02-16.wav",
            "Audio/actor_54/03-02-13-01-02-54-02-02-02-16-01.wav",
        ),
        lacks=("sentence",), blanks=("age_code", "source_code", "language_code"),
    ),
    "baved": Tree(
        [
            "0/46-m-20-0-1-157.wav", "0/49-m-23-6-1-201.wav", "0/100-f-6-0-0-0.wav", "0/53-m-20-0-2-158.wav",
            "0/10-f-20-0-1-0.wav", "6/102-f-40-6-2-5.wav", "6/49-m-23-6-0-202.wav", "3/46-m-20-3-0-300.wav",
        ],
    ),
    "cafe": Tree(
        [
            "CaFE_48k/ColŠre/Faible/01-C-1-1.wav", "CaFE_48k/ColŠre/Fort/02-C-2-1.wav",
            "CaFE_48k/D‚go–t/Faible/03-D-1-1.wav", "CaFE_48k/Dégoût/Fort/04-D-2-6.wav",
            "CaFE_48k/Joie/Faible/05-J-1-2.wav", "CaFE_48k/Joie/Fort/06-J-2-1.wav", "CaFE_48k/Neutre/07-N-1-1.wav",
            "CaFE_48k/Neutre/08-N-1-1.aiff", "CaFE_48k/Peur/Faible/08-P-1-1.aif", "CaFE_48k/Peur/Fort/09-P-2-1.wav",
            "CaFE_48k/Surprise/Fort/11-S-2-1.wav", "CaFE_48k/Surprise/Fort/10-S-2-1.wav",
            "CaFE_48k/Tristesse/Faible/12-T-1-1.wav", "CaFE_48k/Tristesse/Faible/11-T-1-1.wav",
        ],
    ),
    "emov_db": Tree(
        [
            "bea_Amused/amused_1-15_0001.wav", "josh_Amused/amused_141_168_0141.wav", "bea_Angry/anger_85-112_0086.wav",
            "jenie_Angry/anger_337-364_0346.wav", "sam_Disgusted/Disgust_309_336_0329.wav",
            "sam_Disgusted/disgust_309-336_0330.wav", "bea_Disgusted/disgust_1-28_0001.wav",
            "bea_Neutral/Neutral_197-224_0220.wav", "josh_Neutral/neutral_225-252_0228.wav",
            "josh_Sleepy/sleepiness_113_140_0113.wav", "sam_Sleepy/sleepiness_85-112_0101.wav",
        ],
    ),
    "jl_corpus": Tree(
        [
            f"{_JL}{speaker}_{emotion}_10{letter}_1.wav"
            for speaker, letter in (("female1", "a"), ("male2", "b"))
            for emotion in (
                "angry", "anxious", "apologetic", "assertive", "concerned", "encouraging", "excited", "happy",
                "neutral", "sad",
            )
        ],
    ),
    "mesd": Tree(
        [
            f"{_MESD}{emotion}_{voice}_A_{word}.wav"
            for voice, word in (("C", "abajo"), ("F", "basta_ya"), ("M", "hoy"))
            for emotion in ("Anger", "Disgust", "Fear", "Happiness", "Neutral", "Sadness")
        ],
        lacks=("speaker",), genders=BOTH | {""}, blanks=("gender",),
    ),
    "oreau": Tree(
        [
            f"OréauFR_02/{gender}/sess{code.lower()}/{speaker}a0{text}{code}a.wav"
            for gender, speaker, text in (("f", "10", 1), ("m", "07", 2))
            for code in "CDJNPST"
        ]
        + ["OréauFR_02/m/sesss/07z03Sa.wav"],
    ),
    "ravdess": Tree(
        _ravdess(),
        left_out=("Audio_Song_Actors_01-24/Actor_01/03-02-01-01-01-02-01.wav",),
    ),
    "resd": Tree(
        [
            "test/01_happiness_anger/01_happiness_anger a_010.wav",
            "train/01_happiness_anger/01_happiness_anger h_030.wav",
            "train/01_happiness_anger/01_happiness_anger a_020.wav",
            "train/anger_fear_14/14_anger_fear_f_070.wav", "train/anger_fear_14/14_anger_fear_a_010.wav",
            "test/enthusiasm_happiness_26/26_enthusiasm_happiness_h_040.wav",
            "train/neutral_fear_27/27_neutral_fear_f_010.wav",
        ],
        lacks=("gender", "sentence"), genders=frozenset(),
    ),
    "savee": Tree(
        [
            f"AudioData/{speaker}/{code}0{number}.wav"
            for number, speaker in enumerate(("DC", "JE", "JK", "KL"), start=1)
            for code in ("a", "d", "f", "h", "n", "sa", "su")
        ],
        genders=frozenset({"male"}),
    ),
    "tess": Tree(
        [
            "OAF_Fear/OAF_food_fear.wav", "YAF_fear/YAF_neat_fear.wav", "OAF_Sad/OAF_back_sad.wav",
            "YAF_sad/YAF_back_sad.wav", "OAF_Pleasant_surprise/OAF_pad_ps.wav",
            "YAF_pleasant_surprised/YAF_pad_ps.wav", "OAF_neutral/OA_bite_neutral.wav",
            "YAF_neutral/YAF_bite_neutral.wav",
            "OAF_angry/OAF_germ_angry.wav", "YAF_angry/YAF_germ_angry.wav", "OAF_happy/OAF_back_happy.wav",
            "YAF_happy/YAF_back_happy.wav", "OAF_disgust/OAF_back_disgust.wav", "YAF_disgust/YAF_back_disgust.wav",
        ],
        genders=frozenset({"female"}),
    ),
    "turev_db": Tree(
        [
            "Sound Source/Angry/1157_kz_acik.wav", "Sound Source/Angry/1234_kz_cene.wav",
            "Sound Source/Calm/1157_sk_algi.wav", "Sound Source/Calm/7895_sk_beste.wav",
            "Sound Source/Happy/1157_mt_acik.wav", "Sound Source/Happy/1984_mt_acik.wav",
            "Sound Source/Sad/7895_hl_ogul1.wav", "Sound Source/Sad/1157_hl_ogul.wav",
        ],
        lacks=("gender",), genders=frozenset(),
    ),
    "urdu": Tree(
        [
            "Angry/SM1_F10_A010.wav", "Angry/SM4_F48_A0100.wav", "Happy/SF1_F1_H01.wav", "Happy/SM17_F1_H047.wav",
            "Neutral/SF9_F1_N01.wav", "Neutral/SM5_F72_N0100.wav", "Sad/SF10_F1_S01.wav", "Sad/SM6_F4_S0100.wav",
        ],
        lacks=("sentence",),
    ),
}  # fmt: skip


def grow_tree(name: str, request: pytest.FixtureRequest, folder: Path) -> Path:
    """Write the clips of a corpus that an import takes, or have its fixture write them; return its folder."""
    if name in TREES_OF_TABLES:
        return TREES_OF_TABLES[name](folder / name)
    if name not in TREES:
        root = request.getfixturevalue(f"{name}_tree")
        assert isinstance(root, Path)
        return root
    return write_wavs(folder / name, TREES[name].names)
