"""ser-probe evaluate: predictions of a fine-tuned classifier on manifests, and what a paper reports of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ser_probe.cli import flags
from ser_probe.cli.options import Offer, offer, offers
from ser_probe.cli.terminal import finish, print_json, print_result, print_table
from ser_probe.cli.words import checked

if TYPE_CHECKING:
    import pandas as pd

_SHOWN_GROUPS = 12
"""Groups of one column that are printed; of more (speakers) the table has them."""


def _offers() -> Iterator[Offer]:
    from ser_probe.config.evaluation import EvaluateConfig

    yield offer(EvaluateConfig, "", but="label_map target_columns")


@offers(_offers, spelled={"label_map": "--label-map", "target_columns": "--truth"}, former={"--split": "--splits"})
def evaluate(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT",
            help="A checkpoint-<step>, a run (its best checkpoint), or a folder of seed-<n>/ (each one's best).",
        ),
    ],
    manifests: Annotated[
        list[Path], typer.Argument(metavar="MANIFEST...", help="Manifests of the clips: CSV, TSV or Parquet.")
    ],
    output: Annotated[Path, flags.output("DIR", "Folder of predictions, tables and figures.")],
    name: Annotated[
        str | None,
        typer.Option(help="What tables and figures call the model.", show_default="the run's folder"),
    ] = None,
    audio_root: flags.AudioRoot = None,
    label_map: Annotated[
        Path | None,
        typer.Option("--label-map", metavar="FILE.yaml", help="Which class each label of another corpus stands for."),
    ] = None,
    pairs: Annotated[
        list[str] | None,
        typer.Option(
            "--map", metavar="LABEL=CLASS", help="One entry of that map; - leaves a label out. May be repeated."
        ),
    ] = None,
    truth: Annotated[
        list[str] | None,
        typer.Option(
            "--truth",
            metavar="TARGET=COLUMN",
            help="Column of a numeric target, or of a class's votes, that is called otherwise. May be repeated.",
        ),
    ] = None,
    as_json: flags.AsJson = False,
) -> None:
    """Predict every clip and score it: UAR, F1, calibration, per class and group, with confusion matrices.

    Labels of another corpus count only where they are a class of the model or are mapped to one; clips
    with others are left out and counted. Intervals are over speakers.
    """
    from ser_probe.cli.progress import open_progress
    from ser_probe.config.evaluation import EvaluateConfig, load_label_map, parse_pairs
    from ser_probe.steps.evaluate import evaluate_checkpoint

    given = {
        "label_map": load_label_map(label_map, pairs or []),
        "target_columns": parse_pairs(truth or [], "--truth", "arousal=EmoAct"),
    }
    config = checked(EvaluateConfig, given)
    with open_progress() as progress:
        evaluation = evaluate_checkpoint(
            checkpoint, manifests, output, config, name=name, audio_root=audio_root, progress=progress
        )
    if as_json:
        print_json(
            {
                "headline": evaluation.headline.astype(object)
                .where(evaluation.headline.notna(), None)
                .to_dict("records"),
                "facts": evaluation.outcome.summary,
                "n_rejected": evaluation.outcome.n_rejected,
                "files": evaluation.outcome.files,
            }
        )
        finish(dataclasses.replace(evaluation.outcome, files=(), summary={}))
    else:
        _print_headline(evaluation.headline)
        finish(evaluation.outcome)


def _print_headline(headline: pd.DataFrame) -> None:
    """Print the scores of all clips and of each group, of columns with few of them."""
    if headline.empty:
        return
    sizes = headline.groupby("group_by")["group"].nunique()
    shown = headline[headline["group_by"].map(sizes) <= _SHOWN_GROUPS]
    rows = [_row(record) for record in shown.to_dict("records")]
    print_table(rows, list(rows[0]))
    if hidden := [str(name) for name, size in sizes.items() if size > _SHOWN_GROUPS]:
        print_result(f"by {', '.join(hidden)}: in the table scores")
    print_result()


def _row(record: dict[Any, Any]) -> dict[str, object]:
    """Return a row as it is printed: values with three decimals, and their interval or deviation."""
    from ser_probe.names.measures import SCORES

    row: dict[str, object] = {"corpus": record["corpus"]}
    row["clips"] = "all" if record["group_by"] == "overall" else f"{record['group_by']} {record['group']}"
    row |= {name: record[name] for name in ("target", "n") if name in record}
    if "n_speakers" in record:
        row["speakers"] = record["n_speakers"] or "?"
    for name, value in record.items():
        if name in row or name in ("group_by", "group", "n_speakers") or str(name).endswith(("_low", "_high", "_std")):
            continue
        row[SCORES[name].brief if name in SCORES else name] = _number(value) + _spread(record, name)
    return row


def _spread(record: dict[Any, Any], name: str) -> str:
    """Return the interval over speakers of a single run, or the deviation over several, or nothing."""
    if f"{name}_std" in record:
        return f" ± {_number(record[f'{name}_std'])}"
    low, high = record.get(f"{name}_low"), record.get(f"{name}_high")
    known = low is not None and low == low  # a float that is not itself is NaN
    return f" [{_number(low)}, {_number(high)}]" if name in ("uar", "ccc") and known else ""


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.3f}"
