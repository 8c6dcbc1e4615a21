"""EMO-DB (Berlin): German emotional speech, 10 actors (5 women, 5 men), 10 sentences, 7 states, 535 clips.

Source: Burkhardt, Paeschke, Rolfes, Sendlmeier, Weiss (2005), "A Database of German Emotional Speech",
Interspeech. Only clips that listeners recognised were kept, so states and actors have unequal numbers of clips.
The state coded A (Angst) is called anxiety or fear; it is mapped to fear.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ser_probe.data.corpora.layout import find_clips
from ser_probe.data.labels import EMODB_CODES, name_emotions
from ser_probe.errors import CorpusError, shorten

GENDERS = {speaker: "male" for speaker in ("03", "10", "11", "12", "15")} | {
    speaker: "female" for speaker in ("08", "09", "13", "14", "16")
}


def import_corpus(root: str | Path) -> pd.DataFrame:
    """Return EMO-DB's manifest rows.

    Args:
        root: The folder with `wav/`, the folder of the clips themselves, or the folder that holds either.

    Returns:
        One row per clip; `path` is relative to `root`, `label_code` the corpus's own emotion code, `version` the
        take.

    Raises:
        CorpusError: If the folder does not hold the corpus, or a speaker is not one of its ten.
        ManifestError: If an emotion code is not known.
    """
    clips = find_clips(root, "emodb")
    codes = [code.upper() for code in clips.part("code")]
    speakers = clips.part("speaker")
    if strangers := sorted({*speakers} - {*GENDERS}):
        raise CorpusError(
            "Speakers who are not in EMO-DB", where=clips.home, expected=shorten(GENDERS), found=shorten(strangers)
        )
    return pd.DataFrame(
        {
            "path": clips.paths,
            "label": name_emotions(codes, EMODB_CODES, where=clips.home),
            "label_code": codes,
            "speaker": speakers,
            "gender": [GENDERS[speaker] for speaker in speakers],
            "sentence": [sentence.lower() for sentence in clips.part("sentence")],
            "version": [version.lower() for version in clips.part("version")],
            "language": "de",
            "corpus": "emodb",
        }
    )
