"""Public models whose training data hold a corpus: on it, they are no unseen models. With sources; few and sure.

Only what a model's own paper or model card says. A model that is not in the table may have heard a corpus too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pandas as pd

from ser_probe.analysis.audit.findings import Finding


@dataclass(frozen=True)
class TrainedModel:
    """A public model and the corpora of emotional speech it learnt from.

    Args:
        name: On the Hugging Face hub, or as it is published.
        corpora: Plain names, as `plain_name` makes them.
        how: What it learnt of them.
        source: Who says so.
    """

    name: str
    corpora: tuple[str, ...]
    how: str
    source: str


_WAGNER = "Wagner et al., Dawn of the transformer era in speech emotion recognition, IEEE TPAMI 2023; model card"
_EMOTION2VEC = "Ma et al., emotion2vec, Findings of ACL 2024"
# Of the corpora that EmoBox (Ma et al., Interspeech 2024) collects, those that its file lists were read for.
_EMOBOX = (
    "aesdd", "asvpesd", "cafe", "cremad", "emodb", "emovdb", "emovo", "emozionalmente", "iemocap", "jlcorpus", "meld",
    "mesd", "msppodcast", "oreau", "ravdess", "resd", "savee", "shemo", "subesco", "tess",
)  # fmt: skip
MODELS = (
    TrainedModel("audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim", ("msppodcast",), "labels", _WAGNER),
    TrainedModel(
        "emotion2vec (base)", ("iemocap", "meld", "msppodcast", "mead", "cmumosei"),
        "audio, without labels", _EMOTION2VEC,
    ),
    TrainedModel("emotion2vec+ (seed, base, large)", _EMOBOX, "labels of corpora that EmoBox collects; which clips is "
                 "not published", "model card of emotion2vec_plus_seed, of which the larger two are made"),
    TrainedModel("speechbrain/emotion-recognition-wav2vec2-IEMOCAP", ("iemocap",), "labels", "model card"),
    TrainedModel("superb/wav2vec2-base-superb-er, superb/hubert-large-superb-er", ("iemocap",), "labels",
                 "Yang et al., SUPERB, Interspeech 2021; model cards"),
    TrainedModel("ehcalabres/wav2vec2-lg-xlsr-en-speech-emotion-recognition", ("ravdess",), "labels", "model card"),
)  # fmt: skip


def plain_name(corpus: object) -> str:
    """Return a corpus's name in small letters and digits: `EMO-DB`, `emodb` and `emo_db` are one."""
    return re.sub(r"[^a-z0-9]", "", str(corpus).lower())


def models_trained_on(corpora: pd.Series) -> pd.DataFrame:
    """Return the public models that learnt from corpora: corpus (as written), model, how, source."""
    rows = [
        (corpus, model.name, model.how, model.source)
        for corpus in dict.fromkeys(str(name) for name in corpora.dropna())
        for model in MODELS
        if plain_name(corpus) in model.corpora
    ]
    return pd.DataFrame(rows, columns=["corpus", "model", "how", "source"])


def judge_models(table: pd.DataFrame) -> list[Finding]:
    """Return a note for each corpus that a public model has learnt from."""
    return [
        Finding(
            "leak", "known_to_models", "note",
            f"Public models have learnt from {corpus}: {', '.join(rows['model'])}. On it they are not unseen models.",
        )
        for corpus, rows in table.groupby("corpus", sort=False)
    ]  # fmt: skip
