"""Who trains, who validates, who tests: splits of whole speakers, and the audit that proves it.

A model that was trained on a test speaker is scored too well, so whole speakers are split and clips follow their
speaker. Nothing here can put one speaker into two splits; a `split` column of the user's that does is refused.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ser_probe.data.allocation import allocate_speakers
from ser_probe.data.schemes import FRACTIONS, SCHEMES, SPLITS
from ser_probe.errors import SplitError, collect, did_you_mean
from ser_probe.runtime import derive_seed

_SUM_TOLERANCE = 1e-6  # decimal fractions such as 0.64 + 0.2 + 0.16 do not add up exactly
_N_TRIES = 200


def split_speakers(
    table: pd.DataFrame,
    *,
    scheme: str | Mapping[str, float] = "study_e",
    seed: int = 0,
    k: int = 5,
    fold: int = 0,
    n_tries: int = _N_TRIES,
) -> pd.Series:
    """Return the split of each clip; no speaker is in two.

    Within each gender the speakers are shared out by largest remainder, at least one to each split where there are
    enough; of `n_tries` random assignments with these counts, the one is taken whose splits are nearest to the
    whole in their labels and to the asked shares in their clips. The order of the rows does not matter.

    Args:
        table: Manifest rows with `speaker`; `gender` and `label` are used where they are.
        scheme: A key of `SCHEMES`, or the share of speakers for each split.
        seed: Another seed gives another assignment.
        k: Number of groups for `kfold`.
        fold: Which group tests, for `kfold` and `loso`; the next one validates.
        n_tries: How many assignments are compared.

    Returns:
        A series on the table's index: 'train', 'validation' or 'test'.

    Raises:
        SplitError: If speakers are missing or too few, the scheme or fold is not known, or the manifest's own
            splits share a speaker.
    """
    if scheme == "manifest":
        check_splits(table)
        return table["split"].rename("split")
    if scheme in ("loso", "kfold"):
        groups = speaker_folds(table, None if scheme == "loso" else k, seed, n_tries=n_tries)
        return _rotate(groups, fold)
    fractions = _fractions(scheme)
    assigned = _assign_speakers(table, fractions, seed, n_tries)
    return table["speaker"].map(assigned).rename("split")


def speaker_folds(table: pd.DataFrame, k: int | None, seed: int = 0, *, n_tries: int = _N_TRIES) -> pd.Series:
    """Return the fold (0 to k - 1) of each clip; a speaker is in one fold only.

    Args:
        table: Manifest rows with `speaker`.
        k: Number of folds; None makes a fold of each speaker, in the order of their names.
        seed: Another seed gives other folds.
        n_tries: How many assignments are compared.

    Returns:
        A series of integers on the table's index.

    Raises:
        SplitError: If there are fewer speakers than folds, or fewer than two folds.
    """
    if k is None:
        speakers = sorted(_speaker_genders(table).index)
        _require_speakers(len(speakers), 2, "leave-one-speaker-out")
        return table["speaker"].map({speaker: fold for fold, speaker in enumerate(speakers)}).rename("fold")
    if k < 2:
        raise SplitError("Folds need at least two groups of speakers", expected="k >= 2", found=k)
    assigned = _assign_speakers(table, {str(fold): 1 / k for fold in range(k)}, seed, n_tries)
    return table["speaker"].map(assigned).astype(int).rename("fold")


def check_splits(table: pd.DataFrame) -> None:
    """Stop if the `split` column cannot be used as it is.

    Raises:
        SplitError: If it is missing, has other values than the splits' names, or a speaker is in two splits.
    """
    if "split" not in table:
        raise SplitError(
            "The manifest has no column 'split'", expected=", ".join(SPLITS), fix=f"use one of {', '.join(FRACTIONS)}"
        )
    genders = _speaker_genders(table)
    counts = table["split"].fillna("").value_counts()
    faults = [
        f"split {name!r} ({count} clips): {did_you_mean(str(name), SPLITS)}"
        for name, count in sorted(counts.items())
        if name not in SPLITS
    ]
    splits = table.groupby("speaker")["split"].unique().map(lambda names: sorted(map(str, names)))
    faults += [
        f"speaker {speaker!r} is in {' and '.join(name or '(none)' for name in splits[speaker])}"
        for speaker in sorted(genders.index)
        if len(splits[speaker]) > 1
    ]
    if faults:
        raise collect(
            SplitError, "The manifest's own splits cannot be used", faults,
            fix="mend the column 'split', or split the speakers anew (--scheme study_e; in a study: split.scheme)",
        )  # fmt: skip


def _rotate(groups: pd.Series, fold: int) -> pd.Series:
    """Return splits where one fold tests, the next validates, and the others train."""
    n_folds = int(groups.max()) + 1
    _require_speakers(n_folds, 3, "a fold to test, one to validate and one to train")
    if not 0 <= fold < n_folds:
        raise SplitError("There is no such fold", expected=f"0 to {n_folds - 1}", found=fold)
    names = {fold: "test", (fold + 1) % n_folds: "validation"}
    return groups.map(lambda group: names.get(group, "train")).rename("split")


def _fractions(scheme: str | Mapping[str, float]) -> Mapping[str, float]:
    if isinstance(scheme, str):
        if scheme not in FRACTIONS:
            raise SplitError("There is no such split scheme", found=scheme, fix=did_you_mean(scheme, SCHEMES))
        return FRACTIONS[scheme]
    unknown = [name for name in scheme if name not in SPLITS]
    if unknown:
        raise SplitError(
            "A split has a name that is not known",
            expected=", ".join(SPLITS),
            found=", ".join(map(repr, unknown)),
            fix=did_you_mean(unknown[0], SPLITS),
        )
    if not scheme or min(scheme.values()) <= 0 or abs(sum(scheme.values()) - 1) > _SUM_TOLERANCE:
        raise SplitError(
            "The shares of the splits must be above 0 and add up to 1",
            expected="train: 0.8, test: 0.2",
            found=dict(scheme),
        )
    return scheme


def _speaker_genders(table: pd.DataFrame) -> pd.Series:
    """Return each speaker's gender ('' where none is given), by speaker in sorted order."""
    if "speaker" not in table:
        raise SplitError(
            "Clips can only be split by speaker if the manifest names the speakers", fix="add a column 'speaker'"
        )
    unnamed = int((table["speaker"].isna() | (table["speaker"] == "")).sum())
    if unnamed:
        raise SplitError(f"{unnamed} clips name no speaker", fix="fill the column 'speaker'")
    if "gender" not in table:
        return pd.Series("", index=sorted(table["speaker"].unique()))
    # A blank cell is filled by the gender that other clips of the speaker have.
    genders = table.assign(gender=table["gender"].replace("", None)).groupby("speaker", sort=True)["gender"]
    torn = genders.unique()[genders.nunique() > 1]
    if len(torn):
        faults = [f"{speaker!r}: {', '.join(sorted(map(str, set(pair) - {None})))}" for speaker, pair in torn.items()]
        raise collect(SplitError, "Speakers appear with two genders", faults, fix="mend the column 'gender'")
    return genders.first().fillna("")


def _require_speakers(count: int, needed: int, purpose: str) -> None:
    if count < needed:
        raise SplitError(
            f"There are too few speakers for {purpose}",
            expected=f"at least {needed}",
            found=count,
            fix="take another scheme, or test on another corpus",
        )


def _assign_speakers(table: pd.DataFrame, fractions: Mapping[str, float], seed: int, n_tries: int) -> dict[str, str]:
    """Return the split of each speaker."""
    genders = _speaker_genders(table)
    names = list(fractions)
    _require_speakers(len(genders), len(names), f"{len(names)} splits ({', '.join(names)})")
    labels = table["label"].fillna("") if "label" in table else pd.Series("", index=table.index)
    clips = pd.crosstab(table["speaker"].to_numpy(), labels.to_numpy()).loc[genders.index]
    chosen = allocate_speakers(
        strata=genders.to_numpy(dtype=str),
        clips=clips.to_numpy(dtype=float),
        shares=np.array([fractions[name] for name in names]),
        rng=np.random.default_rng(derive_seed("split", seed)),
        n_tries=n_tries,
    )
    return {speaker: names[split] for speaker, split in zip(genders.index, chosen, strict=True)}


def audit_splits(table: pd.DataFrame) -> pd.DataFrame:
    """Count who and what is in each split.

    Args:
        table: Manifest rows with `split` and `speaker`.

    Returns:
        A tidy table with columns split, measure, level, value. Measures: clips, hours, speakers, speakers_by_gender,
        clips_by_gender, clips_by_label (these three with a level each), sentences, and the proof: shared_speakers,
        how many of the split's speakers are in another split too. Sentences may be shared, since the actors of most
        corpora speak the same ones: shared_sentences counts them, so that nobody takes them for unseen. Columns that
        the table does not have are not counted.

    Raises:
        SplitError: If there is no column `split` or `speaker`.
    """
    for name in ("split", "speaker"):
        if name not in table:
            raise SplitError(f"An audit needs the column {name!r}", found=", ".join(map(str, table.columns)))
    parts = {str(name): part for name, part in table.groupby("split", sort=False)}
    rows: list[tuple[str, str, str, float]] = []
    for split in sorted(parts, key=lambda name: (*SPLITS, name).index(name)):
        part, rest = parts[split], table[table["split"] != split]
        rows.append((split, "clips", "", len(part)))
        if "duration_s" in table:
            rows.append((split, "hours", "", part["duration_s"].sum() / 3600))
        for name in ("speaker", "sentence"):
            if name in table:
                shared = {*part[name]} & {*rest[name]}
                rows.append((split, f"{name}s", "", part[name].nunique()))
                rows.append((split, f"shared_{name}s", "", len(shared)))
        # Levels are those of the whole table, so that a split without one shows a 0.
        if "gender" in table:
            speakers = part.drop_duplicates("speaker")["gender"].value_counts()
            rows += _by_level(split, "speakers_by_gender", speakers, table["gender"])
        for name in ("gender", "label"):
            if name in table:
                rows += _by_level(split, f"clips_by_{name}", part[name].value_counts(), table[name])
    return pd.DataFrame(rows, columns=["split", "measure", "level", "value"])


def _by_level(split: str, measure: str, counts: pd.Series, column: pd.Series) -> list[tuple[str, str, str, float]]:
    return [(split, measure, level, counts.get(level, 0)) for level in sorted(column.dropna().unique())]


def summarise_audit(audit: pd.DataFrame) -> str:
    """Return an audit as text: a column per split, and a last line that says whether speakers are shared."""
    measures = audit["measure"].replace("hours", "hours of audio")
    names = measures.where(audit["level"] == "", measures + ": " + audit["level"])
    wide = audit.assign(row=names).pivot(index="row", columns="split", values="value")
    wide = wide.loc[list(dict.fromkeys(names)), list(dict.fromkeys(audit["split"]))]
    shown = wide.map(lambda value: f"{value:g}" if value == int(value) else f"{value:.3f}")
    shared = audit.loc[audit["measure"] == "shared_speakers", "value"].max()
    proof = "No speaker is in two splits." if shared == 0 else f"{shared:g} SPEAKERS ARE IN MORE THAN ONE SPLIT."
    return shown.rename_axis(index=None, columns=None).to_string() + "\n" + proof
