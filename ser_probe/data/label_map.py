"""Labels of one corpus as the classes of a model that was trained on another: by an explicit map, never by guessing.

Two corpora may use one word for different recordings, so a label that is neither a class nor mapped is left out and
counted. The spelling of a word does not matter (`Anger`, `anger`), as within a manifest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ser_probe.data.identities import find_value
from ser_probe.errors import ConfigError, collect, did_you_mean

LabelMap = Mapping[str, str | Mapping[str, str | None] | None]
"""Class by label, or, under a corpus's name, class by label of that corpus alone. `None` or `-` leave a label out."""
LEAVE_OUT = "-"

NO_CLASS, MAPPED_OUT, EMPTY = "no class of the model", "left out by the map", "no label"


@dataclass(frozen=True, eq=False)
class MappedLabels:
    """Labels as classes.

    Attributes:
        classes: The class of each clip, [N]; the empty text where the clip is left out.
        left_out: A row per corpus and label that was left out: `corpus`, `label`, `n`, `reason`.
        unused: Labels of the map that no clip has.
        absent: Classes that no clip of a corpus has, by corpus; corpora that have all are not in it.
    """

    classes: np.ndarray
    left_out: pd.DataFrame
    unused: list[str]
    absent: dict[str, list[str]]


def map_labels(
    labels: Sequence[str], corpora: Sequence[str], classes: Sequence[str], label_map: LabelMap
) -> MappedLabels:
    """Return labels as classes of a model.

    An entry for the label's corpus goes before one for all corpora, and that before a class of the same name.

    Args:
        labels: Each clip's label, [N].
        corpora: Each clip's corpus, [N].
        classes: The model's classes.
        label_map: What labels stand for.

    Raises:
        ConfigError: If the map names classes that the model does not have; all of them at once.
    """
    check_label_map(label_map, classes)
    by_pair = {pair: _find(*pair, classes, label_map) for pair in dict.fromkeys(zip(corpora, labels, strict=True))}
    mapped = np.array([by_pair[pair][0] for pair in zip(corpora, labels, strict=True)], dtype=object)
    counts = pd.Series(list(zip(corpora, labels, strict=True)), dtype=object).value_counts()
    left_out = [
        {"corpus": corpus, "label": label, "n": int(counts[(corpus, label)]), "reason": reason}
        for (corpus, label), (_, reason) in by_pair.items()
        if reason
    ]
    present: dict[str, set[str]] = {}
    for (corpus, _), (name, _) in by_pair.items():
        present.setdefault(corpus, set()).add(name)
    absent = {corpus: [name for name in classes if name not in names] for corpus, names in present.items()}
    return MappedLabels(
        mapped,
        pd.DataFrame(left_out, columns=["corpus", "label", "n", "reason"]),
        [label for corpus, label, _ in _entries(label_map) if not _occurs(corpus, label, by_pair)],
        {corpus: names for corpus, names in absent.items() if names},
    )


def check_label_map(label_map: LabelMap, classes: Sequence[str]) -> None:
    """Refuse a map to classes that the model does not have.

    Raises:
        ConfigError: With every such entry and the classes near it.
    """
    faults = [
        f"{label if corpus is None else f'{corpus}: {label}'} -> {name}: {did_you_mean(name, classes)}"
        for corpus, label, name in _entries(label_map)
        if name not in (None, LEAVE_OUT) and name not in classes
    ]
    if faults:
        raise collect(ConfigError, "The label map names classes that the model does not have", faults)


def _entries(label_map: LabelMap) -> Iterator[tuple[str | None, str, str | None]]:
    """Yield corpus (None: any), label and class of each entry."""
    for label, name in label_map.items():
        if isinstance(name, Mapping):
            yield from ((label, inner, inner_name) for inner, inner_name in name.items())
        else:
            yield None, label, name


def _find(corpus: str, label: str, classes: Sequence[str], label_map: LabelMap) -> tuple[str, str]:
    """Return the class of a label, or the empty text and why there is none."""
    if not label:
        return "", EMPTY
    of_corpus = label_map.get(corpus)
    for entries in (of_corpus if isinstance(of_corpus, Mapping) else {}, label_map):
        # A corpus of the label's name has a map of entries, which is no class.
        labels = [entry for entry, name in entries.items() if not isinstance(name, Mapping)]
        if (entry := find_value(label, labels)) is not None:
            name = entries[entry]
            return ("", MAPPED_OUT) if name in (None, LEAVE_OUT) else (str(name), "")
    same_name = find_value(label, classes)
    return (same_name, "") if same_name is not None else ("", NO_CLASS)


def _occurs(corpus: str | None, label: str, pairs: Mapping[tuple[str, str], object]) -> bool:
    return any(find_value(given, [label]) is not None for home, given in pairs if corpus in (None, home))
