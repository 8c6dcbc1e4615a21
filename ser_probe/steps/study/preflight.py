"""What a study or command needs of the installation, tried before its first clip is looked at: seconds, not hours.

A package is loaded where a stage is still to be done, which loads it anyway. A study that is fresh loads nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator

from ser_probe.config import StudyConfig
from ser_probe.config.analyses import ANALYSES
from ser_probe.errors import PackageError, collect
from ser_probe.packages import Need, import_fault, is_absent, leave_out_torchaudio, require

# torch first: torchaudio is tried after it and before transformers, which may load torchaudio.
_TRANSFORMERS = ("torch", "transformers.models.wav2vec2.feature_extraction_wav2vec2", "safetensors")
_LOADED = {
    "prepare": ("soundfile", "soxr", "pyarrow"),
    "finetune": (*_TRANSFORMERS, "accelerate"),
    "extract": (*_TRANSFORMERS, "h5py"),
    "repeat": (*_TRANSFORMERS, "h5py"),
    "egemaps": ("h5py",),
    "report": ("matplotlib", "jinja2"),
    "evaluate": ("soundfile", "soxr", "pyarrow", *_TRANSFORMERS),
    "evaluation figures": ("matplotlib",),
    "classify": ("soundfile", "soxr", *_TRANSFORMERS),
}
"""Packages with compiled parts, and those that load others, by stage or command."""
_FOUND = {
    "prepare": ("pyloudnorm",),
    "finetune": ("tensorboard",),
    "evaluate": ("pyloudnorm",),
    "classify": ("pyloudnorm",),
}
"""Packages that only have to be there."""


def check_packages(study: StudyConfig | None, stages: Iterable[str]) -> None:
    """See that all that stages will need is there, then load it, stage by stage.

    Args:
        study: The study; None for a command that has none.
        stages: Names of stages that are still to be done, in their order, and of commands: keys of `_LOADED`, `search`.

    Raises:
        PackageError: If packages are not installed, all of them in one message, or if some of a stage cannot be loaded.
        MissingExtraError: If that is one package, and an optional one.
    """
    wanted = [stage for stage in stages if _is_wanted(study, stage)]
    _raise(fault for stage in wanted for fault in _absent(study, stage))
    for stage in wanted:
        _raise(_broken(study, stage))


def _raise(found: Iterable[PackageError]) -> None:
    """Raise one fault as it is, and several as a list."""
    faults = list({str(fault): fault for fault in found}.values())
    if len(faults) == 1:
        raise faults[0]
    if faults:
        lines = [f"{fault.what} ({fault.found}); to do: {fault.fix}" for fault in faults]
        raise collect(PackageError, "The installation lacks what is needed here", lines)


def _is_wanted(study: StudyConfig | None, stage: str) -> bool:
    """Tell whether a study has a stage at all."""
    if study is None:
        return True
    if stage == "finetune":
        return study.finetune.enabled
    if stage == "evaluate":
        return study.finetune.enabled and study.evaluate is not None
    if stage == "egemaps":
        return study.extract.egemaps
    return stage not in ANALYSES or study.analyze.options_of(stage) is not None


def _loaded(stage: str) -> tuple[str, ...]:
    """Return the modules that a stage or command loads."""
    return ANALYSES[stage].loads if stage in ANALYSES else _LOADED.get(stage, ())


def _found(stage: str) -> tuple[str, ...]:
    """Return the packages that only have to be there for a stage or command."""
    return ANALYSES[stage].finds if stage in ANALYSES else _FOUND.get(stage, ())


def _absent(study: StudyConfig | None, stage: str) -> Iterator[PackageError]:
    """Yield a fault for each package that is not installed, which takes no time to see."""
    for module in (*_loaded(stage), *_found(stage)):
        package = module.partition(".")[0]
        if is_absent(package):
            fault = import_fault(ModuleNotFoundError(f"No module named {package!r}", name=package))
            assert fault is not None
            yield fault
    for need in _extras(study, stage):
        if is_absent(need.module.partition(".")[0]):
            yield from _required(need)


def _broken(study: StudyConfig | None, stage: str) -> Iterator[PackageError]:
    """Yield a fault for each package that cannot be loaded."""
    for module in _loaded(stage):
        if module.startswith("transformers"):
            leave_out_torchaudio()
        if fault := _load(module):
            yield fault
    for need in _extras(study, stage):
        yield from _required(need)


def _required(need: Need) -> Iterator[PackageError]:
    try:
        require(need.module, extra=need.extra, purpose=need.purpose)
    except PackageError as fault:
        yield fault


def _load(module: str) -> PackageError | None:
    try:
        importlib.import_module(module)
    except Exception as error:
        fault = import_fault(error)
        if fault is None:
            raise
        return fault
    return None


def _extras(study: StudyConfig | None, stage: str) -> Iterator[Need]:
    """Yield the optional packages that a stage of a study needs."""
    if study is None:
        return
    finetune = study.finetune
    if stage == "egemaps":
        yield Need("opensmile", "egemaps", "extracting eGeMAPSv02 (extract.egemaps)")
    if stage in ANALYSES and (need := ANALYSES[stage].extra) is not None:
        yield need
    if stage == "search":
        yield Need("optuna", "search", "hyper-parameter search")
    if stage == "extract" and "speech-mean" in study.extract.pooling:
        yield Need("silero_vad", "vad", "the pooling 'speech-mean' (extract.pooling)")
    if stage in ("extract", "egemaps", "finetune", "evaluate") and study.audio.trim == "voice":
        yield Need("silero_vad", "vad", "removing silence by voice activity (audio.trim)")
    if stage in ("finetune", "evaluate") and finetune.head.pooling == "ecapa":
        yield Need("speechbrain.lobes.models.ECAPA_TDNN", "ecapa", "the pooling 'ecapa' (finetune.head.pooling)")
    if stage == "finetune":
        if finetune.trained == "lora":
            yield Need("peft", "peft", "training low-rank adapters (finetune.trained)")
        for transform in finetune.augment.transforms if finetune.augment is not None else ():
            if transform.library != "ser-probe":
                module = transform.library.replace("-", "_")
                yield Need(module, "augment", f"augmentation with {transform.library} (finetune.augment)")
