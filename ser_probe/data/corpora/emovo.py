"""EMOVO: Italian emotional speech, 6 actors (3 women, 3 men), 14 sentences, 7 states, 588 clips.

Source: Costantini, Iaderola, Paoloni, Todisco (2014), "EMOVO Corpus: an Italian Emotional Speech Database",
LREC. The originals are 48 kHz stereo, some mono. The letter of a sentence tells its kind: b short, l long,
n nonsense, d question. Every actor speaks every sentence in every state once.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ser_probe.data.corpora.layout import find_clips
from ser_probe.data.labels import EMOVO_CODES, name_emotions


def import_corpus(root: str | Path) -> pd.DataFrame:
    """Return EMOVO's manifest rows.

    Args:
        root: The folder with the actors' folders, or the folder that holds it.

    Returns:
        One row per clip; `path` is relative to `root`, `label_code` the corpus's own emotion code.

    Raises:
        CorpusError: If the folder does not hold the corpus.
        ManifestError: If an emotion code is not known.
    """
    clips = find_clips(root, "emovo")
    codes = [code.lower() for code in clips.part("code")]
    speakers = [speaker.lower() for speaker in clips.part("speaker")]
    return pd.DataFrame(
        {
            "path": clips.paths,
            "label": name_emotions(codes, EMOVO_CODES, where=clips.home),
            "label_code": codes,
            "speaker": speakers,
            "gender": ["female" if speaker.startswith("f") else "male" for speaker in speakers],
            "sentence": [sentence.lower() for sentence in clips.part("sentence")],
            "language": "it",
            "corpus": "emovo",
        }
    )
