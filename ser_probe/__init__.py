"""ser-probe: what fine-tuning does to speech representations.

The names below are the library (docs/library.md); everything else is laid out in docs/architecture.md. Importing the
package loads neither torch nor transformers: a name is imported when it is used first.

    import ser_probe

    clips = ser_probe.read_manifest("clips.csv")                           # clips, with settled names
    run = ser_probe.finetune(clips, "microsoft/wavlm-base-plus", "runs/x", scheme="study_e")
    ser_probe.evaluate(run, clips).scores                                  # UAR, F1, ECE, with intervals
    table = ser_probe.load_classifier(run).predict(["a.wav", "b.wav"])     # a row a clip

    caches = ser_probe.extract(clips, [run], "cache")                      # every layer at every checkpoint
    x = caches[-1].layer("final")                                          # float32 [clips, width]
    ser_probe.probe(caches).plot()                                         # also similarity, drift, geometry, umap ...
    ser_probe.probe(x, labels=labels, speakers=speakers).best_layers       # arrays will do

    study = ser_probe.load_study("study.yaml")                             # a study, with all its defaults
    ser_probe.run_study(study)                                             # what is missing or stale of it
    probe = ser_probe.read_table("runs/x/tables", "probe")                 # a table of it

Faults of files, settings and arguments are `ser_probe.SerProbeError`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ser_probe.config import load_study
    from ser_probe.data.manifest import Manifest, read_manifest
    from ser_probe.embeddings.store import EmbeddingCache
    from ser_probe.errors import SerProbeError
    from ser_probe.library.analyses import acoustics, drift, geometry, probe, similarity, umap
    from ser_probe.library.data import read_corpus, split_speakers
    from ser_probe.library.estimators import LinearProbe, LogisticProbe, RidgeProbe
    from ser_probe.library.plots import (
        plot_acoustics,
        plot_confusion,
        plot_drift,
        plot_geometry,
        plot_probe_changes,
        plot_probe_scores,
        plot_reliability,
        plot_similarity,
        plot_training,
        plot_umap,
    )
    from ser_probe.library.results import AnalysisResult, FinetuneResult
    from ser_probe.library.runs import evaluate, extract, finetune
    from ser_probe.steps.classify import export_onnx, load_classifier
    from ser_probe.steps.study.run import run_study
    from ser_probe.steps.tables import read_table

__version__ = "0.1.0"

_HOMES = {
    "config": ("load_study",),
    "data.manifest": ("Manifest", "read_manifest"),
    "embeddings.store": ("EmbeddingCache",),
    "errors": ("SerProbeError",),
    "library.analyses": ("acoustics", "drift", "geometry", "probe", "similarity", "umap"),
    "library.data": ("read_corpus", "split_speakers"),
    "library.estimators": ("LinearProbe", "LogisticProbe", "RidgeProbe"),
    "library.plots": (
        *("plot_acoustics", "plot_confusion", "plot_drift", "plot_geometry", "plot_probe_changes", "plot_probe_scores"),
        *("plot_reliability", "plot_similarity", "plot_training", "plot_umap"),
    ),
    "library.results": ("AnalysisResult", "FinetuneResult"),
    "library.runs": ("evaluate", "extract", "finetune"),
    "steps.classify": ("export_onnx", "load_classifier"),
    "steps.study.run": ("run_study",),
    "steps.tables": ("read_table",),
}
_ON_USE = {name: f"ser_probe.{module}" for module, names in _HOMES.items() for name in names}

__all__ = [
    "AnalysisResult",
    "EmbeddingCache",
    "FinetuneResult",
    "LinearProbe",
    "LogisticProbe",
    "Manifest",
    "RidgeProbe",
    "SerProbeError",
    "__version__",
    "acoustics",
    "drift",
    "evaluate",
    "export_onnx",
    "extract",
    "finetune",
    "geometry",
    "load_classifier",
    "load_study",
    "plot_acoustics",
    "plot_confusion",
    "plot_drift",
    "plot_geometry",
    "plot_probe_changes",
    "plot_probe_scores",
    "plot_reliability",
    "plot_similarity",
    "plot_training",
    "plot_umap",
    "probe",
    "read_corpus",
    "read_manifest",
    "read_table",
    "run_study",
    "similarity",
    "split_speakers",
    "umap",
]


def __getattr__(name: str) -> Any:
    if name in _ON_USE:
        return getattr(importlib.import_module(_ON_USE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__} - {"Any", "TYPE_CHECKING", "importlib"})
