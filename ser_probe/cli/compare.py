"""ser-probe compare: is one evaluated model better than another on the same clips?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ser_probe.cli import flags
from ser_probe.cli.options import Flag, Offer, offer, offers
from ser_probe.cli.terminal import finish, print_json, print_result, print_table
from ser_probe.cli.words import checked


def _offers() -> Iterator[Offer]:
    from ser_probe.config.evaluation import EvaluateConfig

    yield offer(
        EvaluateConfig, "", "resamples seed figures", flags={"figures": Flag(help="Draw figures besides the tables.")}
    )


@offers(_offers)
def compare(
    evaluations: Annotated[
        list[Path],
        typer.Argument(
            metavar="EVALUATION...",
            help="Folders that evaluate wrote, or their predictions (Parquet or CSV); two or more.",
        ),
    ],
    output: Annotated[Path, flags.output("DIR", "Folder of the tables and figures.")],
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name", metavar="NAME", help="What tables and figures call a model; once for each, in their order."
        ),
    ] = None,
    as_json: flags.AsJson = False,
) -> None:
    """Compare models on the same clips: paired tests and intervals over speakers, McNemar's beside them.

    Clips that not all evaluations have are left out and counted. p is of swaps of whole speakers, corrected over pairs
    of models (Holm); McNemar's takes clips for independent, which clips of one speaker are not.
    """
    from ser_probe.cli.progress import open_progress
    from ser_probe.config.evaluation import EvaluateConfig
    from ser_probe.steps.compare import compare_evaluations

    config = checked(EvaluateConfig)
    with open_progress() as progress:
        comparison = compare_evaluations(
            evaluations,
            output,
            names=name or (),
            resamples=config.resamples,
            seed=config.seed,
            figures=config.figures,
            progress=progress,
        )
    if as_json:
        rows = comparison.table.astype(object).where(comparison.table.notna(), None).to_dict("records")
        print_json({"comparison": rows, "sentences": comparison.sentences, "files": comparison.outcome.files})
        return
    shown = [_row(record) for record in comparison.table.to_dict("records")]
    print_table(shown, list(shown[0]))
    print_result()
    for sentence in comparison.sentences:
        print_result(sentence)
    print_result()
    finish(comparison.outcome)


def _row(record: dict[Any, Any]) -> dict[str, object]:
    from ser_probe.names.measures import SCORES

    row: dict[str, object] = {name: record[name] for name in ("corpus", "target") if name in record}
    row |= {"A": record["model_a"], "B": record["model_b"]}
    row["measure"] = SCORES[record["measure"]].brief
    row["score A"], row["score B"] = f"{record['score_a']:.3f}", f"{record['score_b']:.3f}"
    known = record["ci_low"] == record["ci_low"]  # a float that is not itself is NaN
    row["A - B"] = f"{record['value']:+.3f}" + (f" [{record['ci_low']:.3f}, {record['ci_high']:.3f}]" if known else "")
    row["p (Holm)"] = _p(record["p_holm"])
    row["McNemar"] = _p(record.get("p_mcnemar_holm", float("nan")))
    return row


def _p(value: float) -> str:
    return "-" if value != value else "<0.001" if value < 0.001 else f"{value:.3f}"
