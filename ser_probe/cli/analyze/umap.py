"""ser-probe analyze umap."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ser_probe.cli import flags
from ser_probe.cli.terminal import finish
from ser_probe.cli.words import checked


def umap(
    caches: flags.CacheFiles,
    output: flags.TableFolder,
    clips: flags.Clips = None,
    name: flags.ModelNames = None,
    layers: Annotated[
        str | None, typer.Option(metavar="0,6,final", help="Layers to draw.", show_default="0,final")
    ] = None,
    color: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Columns to colour by; one of numbers along a scale.",
                     show_default="label,speaker,gender"),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Predictions as `evaluate` writes them: colours clips by right and wrong."),
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
    stability_seeds: Annotated[
        int | None, typer.Option(help="Seeds whose maps are compared; 1 turns it off.", show_default="2")
    ] = None,
    page: Annotated[bool, typer.Option(help="Also a page in which a point shows its clip and plays it.")] = True,
    audio_root: flags.AudioRoot = None,
    embed_audio: Annotated[
        bool, typer.Option("--embed-audio", help="Put the clips' audio into the page instead of linking to it.")
    ] = False,
    embed_mb: Annotated[
        int | None, typer.Option(help="Audio in the page at most, in megabytes.", show_default="25")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=flags.LARGEST_SEED, help="Seed of the layout.")] = 0,
    splits: flags.ClipSplits = None,
) -> None:  # fmt: skip
    """Draw maps of the clips in two dimensions, coloured by label, speaker, gender, or right and wrong."""
    from ser_probe.cli.progress import open_progress
    from ser_probe.config import AnalyzeConfig, UmapConfig
    from ser_probe.steps.analyses.cache_names import name_caches
    from ser_probe.steps.analyses.entries import run_analysis
    from ser_probe.steps.analyses.figures import draw_analysis
    from ser_probe.steps.analyses.inputs import Inputs
    from ser_probe.steps.analyses.representations import read_clips

    options = {
        "splits": flags.listed(splits) or "all",
        "umap.layers": flags.listed(layers),
        "umap.color": flags.names(color),
        "umap.n_neighbors": n_neighbors,
        "umap.min_dist": min_dist,
        "umap.fit": fit,
        "umap.pca_dims": pca_dims,
        "umap.stability_seeds": stability_seeds,
        "umap.page": page,
        "umap.embed_audio": embed_audio,
        "umap.embed_mb": embed_mb,
    }
    config = checked(AnalyzeConfig, options, section="analyze")
    if audio_root is None and clips is not None:
        audio_root = clips.expanduser().parent
    with open_progress() as progress:
        inputs = Inputs(
            output, caches=name_caches(caches, name), clips=read_clips(clips), predictions=predictions,
            audio_root=audio_root, splits=config.splits, seed=seed, progress=progress,
        )  # fmt: skip
        outcome = run_analysis("umap", inputs, config.section(UmapConfig) or UmapConfig())
        outcome = draw_analysis(outcome, output, progress=progress)
    finish(outcome)
