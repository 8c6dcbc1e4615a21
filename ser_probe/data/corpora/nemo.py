"""nEMO: Polish emotional speech, 9 actors, 90 sentences, 6 states, 4481 clips.

Source: Christop (2024), "nEMO: Dataset of Emotional Speech in Polish", LREC-COLING.

Labels stand in `data.tsv`, whose speakers have eight leading blanks in every row.
"""

from __future__ import annotations

from ser_probe.data.corpora.clips import FoundClips
from ser_probe.data.corpora.importer import CorpusRows, Importer, Published
from ser_probe.data.labels import name_emotions

CODES = {
    "anger": "anger",
    "fear": "fear",
    "happiness": "happiness",
    "neutral": "neutral",
    "sadness": "sadness",
    "surprised": "surprise",  # the others are nouns
}


def rows(clips: FoundClips) -> CorpusRows:
    """Return a row per clip; `sentence` is its number, `sentence_text` its text, `age` in years where it is told.

    Raises:
        CorpusError: If the table is missing or not as expected.
        ManifestError: If an emotion is not known.
    """
    import pandas as pd

    from ser_probe.data.corpora.matching import match_rows
    from ser_probe.data.corpora.own_tables import find_own_file, read_own_table, settle_numbers

    path = find_own_file(
        clips, ["data.tsv"], folders=(".", ".."), fix="give the folder that holds samples and data.tsv"
    )
    columns = ["file_id", "emotion", "raw_text", "speaker_id", "gender"]
    found = read_own_table(path, columns, "nEMO", separator="\t", quoted=False)
    matched = match_rows(clips, [f"{stem}.wav" for stem in clips.stems()], found, "file_id", path)
    found = matched.rows
    codes = found["emotion"].str.lower()
    table = pd.DataFrame(
        {
            "path": matched.clips.paths,
            "label": name_emotions(codes, CODES, where=path),
            "label_code": codes,
            "speaker": found["speaker_id"],
            "gender": found["gender"].str.lower(),
            "sentence": matched.clips.part("sentence"),
            "sentence_text": found["raw_text"],
            **({"age": settle_numbers(found["age"])} if "age" in found else {}),
            "language": "pl",
            "corpus": "nemo",
        }
    )
    return CorpusRows(table, "intended emotion, from data.tsv", matched.notes)


IMPORTER = Importer(
    name="nemo",
    title="nEMO",
    holds="Polish, 9 actors, 90 sentences, 6 states, 4481 clips",
    paper="Christop (2024): nEMO: Dataset of Emotional Speech in Polish, LREC-COLING",
    licence="CC BY-NC-SA 4.0",
    home="github.com/amu-cai/nEMO",
    layout="samples/WR0_surprised_64.wav with data.tsv",
    clip=r"(?:samples/)?(?P<speaker>[A-Z]{2}\d)_(?P<code>[a-z]+)_(?P<sentence>\d{1,2})\.wav",
    rows=rows,
    published=Published(4481, 9),
)
