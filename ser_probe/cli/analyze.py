"""ser-probe analyze: tables from embedding files, joined on clip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ser_probe.cli import flags
from ser_probe.cli.terminal import finish

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Analyse embedding files; seconds, on a laptop.")

Features = Annotated[
    Path | None, typer.Option("--with", metavar="FEATURES.h5", help="Features to set beside the layers (eGeMAPS).")
]


@app.command("probe")
def probe(
    caches: flags.CacheFiles,
    output: flags.TableFolder,
    clips: flags.Clips = None,
    features: Features = None,
    target: Annotated[str | None, typer.Option(help="Column to predict.", show_default="label")] = None,
    groups: Annotated[
        str | None, typer.Option(help="Column never shared by two splits.", show_default="speaker")
    ] = None,
    families: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Kinds of probe: linear.", show_default="linear")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Initialisations per layer.", show_default="10")] = None,
    splits: Annotated[
        str | None,
        typer.Option(help="study: the splits in the file; heldout: its test speakers split anew.",
                     show_default="heldout"),
    ] = None,
    scheme: flags.Scheme = None,
    split_seed: Annotated[int | None, typer.Option(help="Seed of the new split.", show_default="0")] = None,
    controls: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="shuffled_labels, majority_class, or both.",
                     show_default="shuffled_labels,majority_class"),
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of Adam.", show_default="0.01")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Clips per step.", show_default="16")] = None,
    max_epochs: Annotated[int | None, typer.Option(help="Passes at most.", show_default="1000")] = None,
    patience: Annotated[
        int | None, typer.Option(help="Epochs without improvement before stopping.", show_default="5")
    ] = None,
    min_delta: Annotated[
        float | None, typer.Option(help="Smallest improvement of the loss.", show_default="0.025")
    ] = None,
) -> None:  # fmt: skip
    """Train probe heads on every layer of every file: where is the target linearly readable?"""
    from ser_probe.cli.progress import open_progress
    from ser_probe.config import ProbeConfig, SplitConfig, check_options
    from ser_probe.steps.analyze_probe import probe_caches
    from ser_probe.steps.representations import read_clips

    config = check_options(
        ProbeConfig,
        {
            "target": target or "label",
            "groups": groups,
            "families": flags.names(families),
            "seeds": seeds,
            "splits": splits,
            "controls": flags.names(controls),
            "learning_rate": learning_rate,
            "batch_size": batch_size,
            "max_epochs": max_epochs,
            "patience": patience,
            "min_delta": min_delta,
        },
    )
    split = check_options(SplitConfig, {"scheme": scheme, "seed": split_seed})
    with open_progress() as progress:
        outcome = probe_caches(
            caches, output, probe=config, split=split, features=features, clips=read_clips(clips), progress=progress
        )
    finish(outcome)


@app.command("similarity")
def similarity(
    caches: flags.CacheFiles,
    output: flags.TableFolder,
    clips: flags.Clips = None,
    features: Features = None,
    measures: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="cka_debiased, cka, or both.", show_default="cka_debiased,cka"),
    ] = None,
    within: Annotated[bool, typer.Option(help="All pairs of layers within each file.")] = True,
    across: Annotated[bool, typer.Option(help="All pairs of layers between the first file and each other.")] = True,
    splits: flags.ClipSplits = None,
) -> None:
    """Compare layers with features, with each other, and between files."""
    from ser_probe.cli.progress import open_progress
    from ser_probe.config import AnalyzeConfig, check_options
    from ser_probe.steps.analyze_similarity import compare_caches
    from ser_probe.steps.representations import read_clips

    options = {
        "splits": flags.listed(splits) or "all",
        "similarity.measures": flags.names(measures),
        "similarity.egemaps": features is not None,
        "similarity.layers_within": within,
        "similarity.across": across,
    }
    config = check_options(AnalyzeConfig, options)
    with open_progress() as progress:
        outcome = compare_caches(
            caches, output, features=features, analyze=config, clips=read_clips(clips), progress=progress
        )
    finish(outcome)


@app.command("drift")
def drift(
    caches: flags.CacheFiles,
    reference: Annotated[Path, typer.Option(metavar="CACHE", help="File to measure from, usually step 0.")],
    output: flags.TableFolder,
    clips: flags.Clips = None,
    measures: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="What to measure.",
                     show_default="cka_debiased,mean_cosine,relative_norm_change"),
    ] = None,
    splits: flags.ClipSplits = None,
) -> None:  # fmt: skip
    """Measure how far each layer moved from the same layer of a reference file."""
    from ser_probe.cli.progress import open_progress
    from ser_probe.config import AnalyzeConfig, check_options
    from ser_probe.steps.analyze_drift import measure_drift
    from ser_probe.steps.representations import read_clips

    options = {"splits": flags.listed(splits) or "all", "drift.measures": flags.names(measures)}
    config = check_options(AnalyzeConfig, options)
    with open_progress() as progress:
        outcome = measure_drift(
            caches, output, reference=reference, analyze=config, clips=read_clips(clips), progress=progress
        )
    finish(outcome)


@app.command("umap")
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
