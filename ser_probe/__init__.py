"""ser-probe: what fine-tuning does to speech representations.

Importing the package loads neither torch nor transformers: the rooms below are imported on use, and so is

    ser_probe.load_classifier(path)   a fine-tuned classifier, for files and arrays
    ser_probe.export_onnx(classifier, path)
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_ON_USE = {"load_classifier": "ser_probe.steps.classify", "export_onnx": "ser_probe.steps.classify"}


def __getattr__(name: str) -> Any:
    if name in _ON_USE:
        return getattr(importlib.import_module(_ON_USE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
