"""The classes that can augment: those of audiomentations and torch-audiomentations that change a waveform, and ours.

A name in a config is looked up among the public transforms of a package only, so that it cannot lead to other code.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ser_probe.audio.frequency_mask import FrequencyMask
from ser_probe.errors import ConfigError, MissingExtraError, did_you_mean
from ser_probe.packages import require

OWN = "ser-probe"
OWN_CLASSES: dict[str, type] = {"FrequencyMask": FrequencyMask}

PACKAGES = {"audiomentations": "audiomentations", "torch-audiomentations": "torch_audiomentations"}
"""Libraries by the names that users know, and the modules to import."""

UNFIT: dict[tuple[str, str], str] = {
    ("audiomentations", "Lambda"): "it runs a function, which a config cannot give",
    ("audiomentations", "Resample"): "it changes the sampling rate; TimeStretch and PitchShift do not",
    ("torch-audiomentations", "AddBackgroundNoise"): "it reads files by means that torchaudio no longer has; "
    "take the class of that name with `library: audiomentations`",
    ("torch-audiomentations", "ApplyImpulseResponse"): "it reads files by means that torchaudio no longer has; "
    "take the class of that name with `library: audiomentations`",
    ("torch-audiomentations", "ShuffleChannels"): "it needs several channels, and clips are mono",
}
"""Classes that are not offered, and why."""

FILE_PARAMETERS = ("sounds_path", "ir_path")
"""Parameters of audiomentations that name audio files and folders."""


@dataclass(frozen=True)
class TransformSpec:
    """An augmentation as a config names it.

    Attributes:
        library: `audiomentations`, `torch-audiomentations` or `ser-probe`.
        name: A class of that library.
        parameters: Arguments of the class by name; its own defaults stand for the rest.
    """

    library: str
    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


def list_classes(library: str) -> dict[str, type]:
    """Return the classes of a library that can be named: its public transforms of a waveform, without `UNFIT`.

    Raises:
        ConfigError: If there is no such library.
        MissingExtraError: If it is not installed.
    """
    if library == OWN:
        return OWN_CLASSES
    if library not in PACKAGES:
        raise ConfigError(f"there is no library {library!r}; {did_you_mean(library, [*PACKAGES, OWN])}")
    package = require(PACKAGES[library], extra="augment", purpose=f"augmentation with {library}")
    base = importlib.import_module(f"{package.__name__}.core.transforms_interface").BaseWaveformTransform
    return {
        name: member
        for name, member in vars(package).items()
        if isinstance(member, type) and issubclass(member, base) and member is not base and (library, name) not in UNFIT
    }


def list_parameters(library: str, name: str) -> list[str]:
    """Return the parameters of a class that a config may give."""
    fixed = fixed_arguments(library, 0)
    many = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        key
        for key, parameter in inspect.signature(list_classes(library)[name]).parameters.items()
        # Functions cannot be given in a config.
        if key not in fixed and parameter.kind not in many and "Callable" not in str(parameter.annotation)
    ]


def find_class(spec: TransformSpec) -> Callable[..., Any]:
    """Return the class of a spec.

    Raises:
        ConfigError: If the library has none of that name that can be used.
    """
    classes = list_classes(spec.library)
    if spec.name in classes:
        return classes[spec.name]
    unfit_because = UNFIT.get((spec.library, spec.name))
    if unfit_because is not None:
        raise ConfigError(f"{spec.name} of {spec.library} cannot be used: {unfit_because}")
    elsewhere = [library for library in (*PACKAGES, OWN) if spec.name in _classes_at_hand(library)]
    hint = f"give `library: {' or '.join(elsewhere)}`" if elsewhere else did_you_mean(spec.name, classes)
    raise ConfigError(f"{spec.library} has no transform {spec.name!r}; {hint}")


def _classes_at_hand(library: str) -> Mapping[str, type]:
    try:
        return list_classes(library)
    except MissingExtraError:
        return {}


def parameter_faults(spec: TransformSpec, transform_class: Callable[..., Any]) -> Iterator[str]:
    """Yield the faults of the names of a spec's parameters, with near matches of unknown ones."""
    settable = list_parameters(spec.library, spec.name)
    for key in spec.parameters:
        if key in settable:
            continue
        if key in fixed_arguments(spec.library, 0):
            fix = "; how often it is applied says `probability`" if key == "p" else ""
            yield f"the parameter {key!r} is set by ser-probe{fix}"
        else:
            yield f"there is no parameter {key!r}; {did_you_mean(key, settable) if settable else 'it has none'}"
    for key, parameter in inspect.signature(transform_class).parameters.items():
        if key in settable and parameter.default is inspect.Parameter.empty and key not in spec.parameters:
            yield f"the parameter {key!r} is required, and not given"


def fixed_arguments(library: str, sample_rate_hz: int) -> dict[str, Any]:
    """Return the arguments that ser-probe sets itself: whether to apply a class is decided before it is called."""
    if library == "audiomentations":
        return {"p": 1.0}
    if library == "torch-audiomentations":
        return {
            "p": 1.0, "p_mode": None, "mode": "per_example", "sample_rate": sample_rate_hz, "target_rate": None,
            "output_type": "dict",
        }  # fmt: skip
    return {}


def find_files(spec: TransformSpec) -> tuple[list[Path], list[str]]:
    """Return the audio files that file parameters name, folders searched, in a fixed order; and the faults."""
    audio_files: list[Path] = []
    faults: list[str] = []
    for key, value in spec.parameters.items():
        if spec.library != "audiomentations" or key not in FILE_PARAMETERS:
            continue
        search = importlib.import_module("audiomentations.core.utils").find_audio_files_in_paths
        for item in value if isinstance(value, list | tuple) else [value]:
            path = Path(str(item)).expanduser()
            files = sorted(search(path)) if path.exists() else []
            if not path.exists():
                faults.append(f"{key}: there is no file or folder {str(path)!r}")
            elif not files:
                faults.append(f"{key}: there is no audio file in {str(path)!r}")
            audio_files += files
    return audio_files, faults
