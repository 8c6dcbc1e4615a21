"""ser-probe: what fine-tuning does to speech representations.

The names below are the library; everything else is laid out in docs/architecture.md. Importing the package loads
neither torch nor transformers: a name is imported when it is used first.

    import ser_probe

    with ser_probe.EmbeddingCache.open("cache/x.h5") as cache:     # embeddings of every layer
        x = cache.layer("final")                                   # float32 [clips, width]
        labels = cache.clips["label"]

    classifier = ser_probe.load_classifier("runs/x")               # a fine-tuned classifier
    table = classifier.predict(["a.wav", "b.wav"])                 # a row a clip

    clips = ser_probe.read_manifest("clips.csv").table             # clips, checked and with settled names
    probe = ser_probe.read_table("runs/x/tables", "probe")         # a table of an analysis
    study = ser_probe.load_study("study.yaml")                     # a study, with all its defaults
    ser_probe.run_study(study)                                     # what is missing or stale of it

Faults of files and of settings are `ser_probe.SerProbeError`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ser_probe.config import load_study
    from ser_probe.data.manifest import read_manifest
    from ser_probe.embeddings.store import EmbeddingCache
    from ser_probe.errors import SerProbeError
    from ser_probe.steps.classify import export_onnx, load_classifier
    from ser_probe.steps.study.run import run_study
    from ser_probe.steps.tables import read_table

__version__ = "0.1.0"

__all__ = [
    "EmbeddingCache",
    "SerProbeError",
    "__version__",
    "export_onnx",
    "load_classifier",
    "load_study",
    "read_manifest",
    "read_table",
    "run_study",
]

_ON_USE = {
    "EmbeddingCache": "ser_probe.embeddings.store",
    "SerProbeError": "ser_probe.errors",
    "export_onnx": "ser_probe.steps.classify",
    "load_classifier": "ser_probe.steps.classify",
    "load_study": "ser_probe.config",
    "read_manifest": "ser_probe.data.manifest",
    "read_table": "ser_probe.steps.tables",
    "run_study": "ser_probe.steps.study.run",
}


def __getattr__(name: str) -> Any:
    if name in _ON_USE:
        return getattr(importlib.import_module(_ON_USE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__} - {"Any", "TYPE_CHECKING", "importlib"})
