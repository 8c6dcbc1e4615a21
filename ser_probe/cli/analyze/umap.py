"""ser-probe analyze umap."""

from __future__ import annotations

from typing import Annotated

import typer

from ser_probe.cli import flags
from ser_probe.cli.terminal import finish


def umap(
    caches: flags.CacheFiles,
    output: flags.TableFolder,
    clips: flags.Clips = None,
    layers: Annotated[
        str | None, typer.Option(metavar="0,6,final", help="Layers to draw.", show_default="0,final")
    ] = None,
    color: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Columns to colour by.", show_default="label,speaker,gender"),
    ] = None,
    n_neighbors: Annotated[
        int | None, typer.Option(help="Neighbours a clip is kept close to.", show_default="15")
    ] = None,
    min_dist: Annotated[float | None, typer.Option(help="How close two points may come.", show_default="0.1")] = None,
    fit: Annotated[
        str | None,
        typer.Option(help="joint: one map of all files; reference: all on the first one's map.",
                     show_default="joint"),
    ] = None,
    pca_dims: Annotated[
        int | None, typer.Option(help="Principal components kept before laying out.", show_default="50")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the layout.")] = 0,
    splits: flags.ClipSplits = None,
) -> None:  # fmt: skip
    """Draw maps of the clips in two dimensions, coloured by label, speaker, gender."""
    from ser_probe.cli.progress import open_progress
    from ser_probe.config import AnalyzeConfig, check_options
    from ser_probe.steps.analyze_umap import map_caches
    from ser_probe.steps.representations import read_clips

    options = {
        "splits": flags.listed(splits) or "all",
        "umap.layers": flags.listed(layers),
        "umap.color": flags.names(color),
        "umap.n_neighbors": n_neighbors,
        "umap.min_dist": min_dist,
        "umap.fit": fit,
        "umap.pca_dims": pca_dims,
    }
    config = check_options(AnalyzeConfig, options)
    with open_progress() as progress:
        outcome = map_caches(caches, output, analyze=config, seed=seed, clips=read_clips(clips), progress=progress)
    finish(outcome)
