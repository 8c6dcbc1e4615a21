"""EMO-DB (Berlin): German emotional speech, 10 actors (5 women, 5 men), 10 sentences, 7 states, 535 clips.

Only clips that listeners recognised were kept, so states and actors have unequal numbers of clips. The state coded A
(Angst) is called anxiety or fear; it is mapped to fear. `erkennung.txt` says, in percent, how many of some twenty
listeners recognised the state of each clip and how natural they found it; it has 281 more clips, not published.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ser_probe.data.corpora.clips import FoundClips
from ser_probe.data.corpora.importer import CorpusRows, Importer, Published
from ser_probe.data.labels import name_emotions
from ser_probe.errors import CorpusError, shorten

if TYPE_CHECKING:
    import pandas as pd

CODES = {
    "A": "fear",  # Angst
    "E": "disgust",  # Ekel
    "F": "happiness",  # Freude
    "L": "boredom",  # Langeweile
    "N": "neutral",
    "T": "sadness",  # Trauer
    "W": "anger",  # Wut
}
GENDERS = {speaker: "male" for speaker in ("03", "10", "11", "12", "15")} | {
    speaker: "female" for speaker in ("08", "09", "13", "14", "16")
}

_SCORES = "erkennung.txt"
_COLUMNS = {"erkannt": "recognised_percent", "natuerlich": "natural_percent"}


def rows(clips: FoundClips) -> CorpusRows:
    """Return a row per clip; `version` is the take, the listeners' scores are percentages.

    Raises:
        CorpusError: If a speaker is not one of the ten, or the listeners' scores are not as expected.
    """
    import pandas as pd

    codes = [code.upper() for code in clips.part("code")]
    speakers = clips.part("speaker")
    if strangers := sorted({*speakers} - {*GENDERS}):
        raise CorpusError(
            "Speakers who are not in EMO-DB", where=clips.home, expected=shorten(GENDERS), found=shorten(strangers)
        )
    table = pd.DataFrame(
        {
            "path": clips.paths,
            "label": name_emotions(codes, CODES, where=clips.home),
            "label_code": codes,
            "speaker": speakers,
            "gender": [GENDERS[speaker] for speaker in speakers],
            "sentence": [sentence.lower() for sentence in clips.part("sentence")],
            "version": [version.lower() for version in clips.part("version")],
            "language": "de",
            "corpus": "emodb",
        }
    )
    table, notes = _add_scores(table, clips)
    return CorpusRows(table, "intended emotion, from the file name", notes)


def _add_scores(table: pd.DataFrame, clips: FoundClips) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the rows with the listeners' scores where `erkennung.txt` is there; a clip without a score gets none."""
    from ser_probe.data.corpora.own_tables import read_own_table

    path = next((path for path in (clips.home / _SCORES, clips.home.parent / _SCORES) if path.is_file()), None)
    if path is None:
        return table, ()
    scores = read_own_table(path, ["Satz", *_COLUMNS], "EMO-DB", separator="\t", encoding="latin-1")
    scores = scores.drop_duplicates("Satz").set_index("Satz")
    names = [f"{stem}.wav" for stem in clips.stems()]
    added = {}
    for column, name in _COLUMNS.items():
        cells = scores[column].reindex(names).fillna("")
        try:
            added[name] = [float(cell.replace(",", ".")) if cell else float("nan") for cell in cells]
        except ValueError as error:
            raise CorpusError(
                f"EMO-DB's {_SCORES} holds scores that are not numbers", where=path, found=error
            ) from None
    absent = [name for name in names if name not in scores.index]
    notes = (f"{len(absent)} clips have no scores in {_SCORES}: {shorten(absent, 3)}",) if absent else ()
    return table.assign(**added), notes


IMPORTER = Importer(
    name="emodb",
    title="EMO-DB",
    holds="German, 10 actors, 10 sentences, 7 states, 535 clips",
    paper="Burkhardt, Paeschke, Rolfes, Sendlmeier, Weiss (2005): A Database of German Emotional Speech, Interspeech",
    licence="research use",
    home="",
    layout="wav/03a01Fa.wav: <speaker><sentence><emotion><version>.wav; beside wav, erkennung.txt where it is there",
    # Oréau names clips alike, in folders called sessc, sessn and so on.
    clip=r"(?<!sess[a-z]/)(?:wav/)?(?P<speaker>\d{2})(?P<sentence>[ab]\d{2})(?P<code>[A-Z])(?P<version>[a-z])\.wav",
    rows=rows,
    published=Published(535, 10, {"W": 127, "L": 81, "E": 46, "A": 69, "F": 71, "T": 62, "N": 79}),
)
