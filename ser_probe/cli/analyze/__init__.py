"""ser-probe analyze: tables and figures from embedding files, joined on clip. One file per command."""

from __future__ import annotations

import typer

from ser_probe.cli.analyze.acoustics import acoustics
from ser_probe.cli.analyze.drift import drift
from ser_probe.cli.analyze.geometry import geometry
from ser_probe.cli.analyze.probe import probe
from ser_probe.cli.analyze.similarity import similarity
from ser_probe.cli.analyze.stats import stats
from ser_probe.cli.analyze.umap import umap
from ser_probe.cli.analyze.words import AnalyzeCommands

app = typer.Typer(
    cls=AnalyzeCommands,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Analyse embedding files; seconds, on a laptop.",
)
app.command("probe")(probe)
app.command("similarity")(similarity)
app.command("drift")(drift)
app.command("geometry")(geometry)
app.command("acoustics")(acoustics)
app.command("umap")(umap)
app.command("stats")(stats)
