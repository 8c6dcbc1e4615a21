"""The study's configuration: one YAML, checked as a whole before anything runs. Layer 3.

`sections`, `finetune`, `augmentation`, `search` and `analyze_*` say which keys there are, `analyses` which analyses,
`study` which keys exclude each other, `loading` turns a file and `--set` overrides into a `StudyConfig` or into one
message with every fault. Only steps and the command line see these objects; the rooms below take plain arguments.
Nothing loads torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ser_probe.config.analyze_acoustics import AcousticsConfig
from ser_probe.config.analyze_drift import DriftConfig
from ser_probe.config.analyze_geometry import GeometryConfig
from ser_probe.config.analyze_probe import ProbeConfig
from ser_probe.config.analyze_similarity import SimilarityConfig
from ser_probe.config.analyze_stats import StatsConfig
from ser_probe.config.analyze_umap import UmapConfig
from ser_probe.config.augmentation import AugmentConfig, TransformConfig
from ser_probe.config.finetune import EarlyStopping, FinetuneConfig, HeadConfig, LoraConfig
from ser_probe.config.sections import (
    AudioConfig,
    BackboneConfig,
    DataConfig,
    ExtractConfig,
    Fractions,
    OutputConfig,
    Section,
    SplitConfig,
)

if TYPE_CHECKING:
    from ser_probe.config.analyze import AnalyzeConfig
    from ser_probe.config.loading import NULL, check_options, json_schema, load_study, study_yaml
    from ser_probe.config.study import StudyConfig

__all__ = [
    "NULL",
    "AcousticsConfig",
    "AnalyzeConfig",
    "AudioConfig",
    "AugmentConfig",
    "BackboneConfig",
    "DataConfig",
    "DriftConfig",
    "EarlyStopping",
    "ExtractConfig",
    "FinetuneConfig",
    "Fractions",
    "GeometryConfig",
    "HeadConfig",
    "LoraConfig",
    "OutputConfig",
    "ProbeConfig",
    "Section",
    "SimilarityConfig",
    "SplitConfig",
    "StatsConfig",
    "StudyConfig",
    "TransformConfig",
    "UmapConfig",
    "check_options",
    "json_schema",
    "load_study",
    "study_yaml",
]

_ON_USE = {
    "AnalyzeConfig": "analyze",
    "StudyConfig": "study",
    **dict.fromkeys(("NULL", "check_options", "json_schema", "load_study", "study_yaml"), "loading"),
}
"""What knows the keys of all analyses, and is made once these are known: an analysis may be registered before."""


def __getattr__(name: str) -> Any:
    if name in _ON_USE:
        return getattr(importlib.import_module(f"{__name__}.{_ON_USE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
