"""The study's configuration: one YAML, checked as a whole before anything runs. Layer 3.

`sections`, `finetune`, `augmentation`, `search` and `analyze_*` say which keys there are, `analyses` which analyses,
`study` which keys exclude each other, `loading` turns a file and `--set` overrides into a `StudyConfig` or into one
message with every fault. Only steps and the command line see these objects; the rooms below take plain arguments.
Nothing loads torch, and each name is loaded when it is asked for: a page of help needs one section, not all, and an
analysis may be registered before the sections are settled.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ser_probe.config.analyze import AnalyzeConfig
    from ser_probe.config.analyze_acoustics import AcousticsConfig
    from ser_probe.config.analyze_drift import DriftConfig
    from ser_probe.config.analyze_geometry import GeometryConfig
    from ser_probe.config.analyze_probe import ProbeConfig
    from ser_probe.config.analyze_similarity import SimilarityConfig
    from ser_probe.config.analyze_stats import StatsConfig
    from ser_probe.config.analyze_umap import UmapConfig
    from ser_probe.config.augmentation import AugmentConfig, TransformConfig
    from ser_probe.config.finetune import EarlyStopping, FinetuneConfig, HeadConfig, LoraConfig
    from ser_probe.config.loading import check_options, json_schema, load_study, study_yaml
    from ser_probe.config.sections import (
        NULL,
        AudioConfig,
        BackboneConfig,
        DataConfig,
        ExtractConfig,
        Fractions,
        OutputConfig,
        Section,
        SplitConfig,
    )
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

_MODULES = (
    *("sections", "finetune", "augmentation", "analyze_probe", "analyze_similarity", "analyze_drift", "analyze_umap"),
    *("analyze_geometry", "analyze_acoustics", "analyze_stats", "analyze", "study", "loading"),
)
"""What the names are looked for in; what loads the others comes last."""


def __getattr__(name: str) -> Any:
    if name in __all__:
        for module in _MODULES:
            loaded = importlib.import_module(f"{__name__}.{module}")
            if hasattr(loaded, name):
                return getattr(loaded, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
