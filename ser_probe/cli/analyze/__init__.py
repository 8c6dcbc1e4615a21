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
from ser_probe.cli.words import InFlags

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Analyse embedding files; seconds, on a laptop.",
)
app.command("probe", cls=InFlags)(probe)
app.command("similarity", cls=InFlags)(similarity)
app.command("drift", cls=InFlags)(drift)
app.command("geometry", cls=InFlags)(geometry)
app.command("acoustics", cls=InFlags)(acoustics)
app.command("umap", cls=InFlags)(umap)
app.command("stats", cls=InFlags)(stats)
