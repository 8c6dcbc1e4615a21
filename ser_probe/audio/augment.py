"""Augmentation of training clips: classes of audiomentations and torch-audiomentations by name, and a frequency mask.

A transform is a function of the clip and a seed alone. The two packages draw from the process's generators (Python's,
numpy's, torch's), so these are seeded for each call and restored afterwards. So two threads of one process must not
augment at the same time; processes may.

With `augment_classes` the only door to both packages, which come with the extra `augment`.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import random
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ser_probe.audio import frequency_mask
from ser_probe.audio.augment_classes import (
    FILE_PARAMETERS,
    OWN,
    TransformSpec,
    find_class,
    find_files,
    fixed_arguments,
    parameter_faults,
)
from ser_probe.clip_length import MIN_SAMPLES
from ser_probe.errors import AudioError, ConfigError, SerProbeError, collect
from ser_probe.files import content_id
from ser_probe.packages import import_fault
from ser_probe.runtime import derive_seed

_TRIAL_SEEDS = range(8)


class Transform:
    """An augmentation ready to be applied; made by `build_transform`. Pickled as its spec."""

    def __init__(self, spec: TransformSpec, sample_rate_hz: int, instance: Any) -> None:
        self.spec, self.sample_rate_hz, self._instance = spec, sample_rate_hz, instance

    def __reduce__(self) -> tuple[Any, ...]:
        # Instances of the packages hold caches and compiled parts that cannot be sent to a worker process.
        return build_transform, (self.spec, self.sample_rate_hz)

    def __call__(self, samples: np.ndarray, seed: int) -> np.ndarray:
        """Return an augmented copy of a clip.

        Args:
            samples: Mono samples, float32 `[n]`, full scale at 1, at the transform's sampling rate.
            seed: Random seed, in [0, 2**31).

        Returns:
            float32 `[m]` at the same sampling rate; m differs from n only where the class changes the length.

        Raises:
            AudioError: If the class fails on this clip, or makes it too short or not finite.
        """
        name = f"{self.spec.name} ({self.spec.library})"
        try:
            with _seeded(seed):
                augmented = self._apply(np.array(samples, dtype=np.float32), seed)
        except Exception as error:
            if fault := import_fault(error):
                raise fault from error
            raise AudioError(
                f"The augmentation {name} fails on a clip of {len(samples)} samples", found=_message(error)
            ) from error
        if len(augmented) < MIN_SAMPLES:
            raise AudioError(
                f"The augmentation {name} leaves too little of a clip of {len(samples)} samples",
                expected=f"at least {MIN_SAMPLES} samples, the least that the models can use",
                found=f"{len(augmented)} samples",
            )
        if not np.isfinite(augmented).all():
            raise AudioError(f"The augmentation {name} makes samples that are not finite numbers")
        return augmented

    def _apply(self, samples: np.ndarray, seed: int) -> np.ndarray:
        if self.spec.library == OWN:
            return self._instance.apply(samples, self.sample_rate_hz, np.random.default_rng(seed))
        if self.spec.library == "audiomentations":
            return np.asarray(self._instance(samples, self.sample_rate_hz), dtype=np.float32)
        import torch

        with torch.no_grad():
            batch = torch.from_numpy(samples)[None, None]  # [batch, channel, sample]
            return self._instance(samples=batch, sample_rate=self.sample_rate_hz).samples[0, 0].numpy()


def build_transform(spec: TransformSpec, sample_rate_hz: int) -> Transform:
    """Make an augmentation.

    Args:
        spec: What to make.
        sample_rate_hz: Sampling rate of the clips, in Hz.

    Raises:
        ConfigError: With every fault: no such class or parameter, absent files, a value that the class refuses.
        MissingExtraError: If the package is not installed.
    """
    transform_class = find_class(spec)
    files, faults = find_files(spec)
    faults = [*parameter_faults(spec, transform_class), *faults]
    if faults:
        raise collect(ConfigError, f"The augmentation {spec.name} ({spec.library}) cannot be made", faults)
    # In a fixed order, where the packages would take the file system's: a seed must choose the same file everywhere.
    arguments = {key: [str(path) for path in files] if key in FILE_PARAMETERS else value
             for key, value in spec.parameters.items()}  # fmt: skip
    try:
        instance = transform_class(**arguments, **fixed_arguments(spec.library, sample_rate_hz))
    except Exception as error:
        if fault := import_fault(error):
            raise fault from error
        raise ConfigError(f"{spec.name} ({spec.library}) refuses its parameters: {_message(error)}") from error
    return Transform(spec, sample_rate_hz, instance)


def check_transforms(specs: Sequence[TransformSpec], clip: np.ndarray, *, sample_rate_hz: int = 16_000) -> None:
    """Check that all augmentations can be made, and work on a clip.

    Args:
        specs: The augmentations.
        clip: The clip to try them on, float32 `[n]`: the shortest clip, since some classes fail on short ones.
        sample_rate_hz: Sampling rate of the clips, in Hz.

    Raises:
        ConfigError: With the faults of all of them: a class or parameter that does not exist, a value that the class
            refuses, files that are absent, a package that is not installed, a result that is too short, not finite or
            not repeatable.
    """
    faults = []
    for number, spec in enumerate(specs):
        try:
            _try(build_transform(spec, sample_rate_hz), clip)
        except SerProbeError as error:
            faults += [f"transforms[{number}]: {line}" for line in _lines(error)]
    if faults:
        raise collect(ConfigError, "The augmentations cannot be used", faults)


def augment_on_the_fly(
    samples: np.ndarray, transforms: Sequence[Transform], probability: float, seed: int
) -> np.ndarray:
    """Return a clip to which each transform was applied, in order, with the same probability.

    Args:
        samples: Mono samples, float32 `[n]`.
        transforms: The transforms.
        probability: Of each transform, in [0, 1].
        seed: Derived by the caller from run, epoch and clip, so that each epoch is augmented differently.

    Returns:
        float32 `[m]`; the samples themselves where no transform was drawn.
    """
    drawn = np.random.default_rng(seed).random(len(transforms)) < probability
    for number, transform in enumerate(transforms):
        if drawn[number]:
            samples = transform(samples, derive_seed(seed, "transform", number))
    return samples


def augment_copy(
    samples: np.ndarray, transforms: Sequence[Transform], copy: int, *, run_seed: int, clip_id: str
) -> np.ndarray:
    """Return a clip of the union of a training set and its augmented copies, one for each transform.

    Args:
        samples: Mono samples, float32 `[n]`.
        transforms: The A transforms.
        copy: 0 for the training set itself, a in 1..A for the copy that the a-th transform makes of it.
        run_seed: Seed of the run. A copy is the same in every epoch.
        clip_id: Id of the clip.

    Returns:
        float32 `[m]`; the samples themselves in copy 0.
    """
    if copy == 0:
        return samples
    return transforms[copy - 1](samples, derive_seed(run_seed, "augmented copy", copy, clip_id))


def ingredients(spec: TransformSpec) -> dict[str, Any]:
    """Return what a transform's result depends on beside clip and seed, JSON-like; files by content, not by place."""
    version = frequency_mask.RULE_VERSION if spec.library == OWN else importlib.metadata.version(spec.library)
    files, _ = find_files(spec)
    return {
        "library": spec.library,
        "version": version,
        "name": spec.name,
        "parameters": {key: value for key, value in sorted(spec.parameters.items()) if key not in FILE_PARAMETERS},
        "files": [content_id(path) for path in files],
    }


def _try(transform: Transform, clip: np.ndarray) -> None:
    """Apply a transform to a clip, each time twice.

    Raises:
        SerProbeError: If it fails, or gives another result the second time.
    """
    for seed in _TRIAL_SEEDS:
        with contextlib.redirect_stderr(io.StringIO()):  # some classes print the error that they raise
            once, again = transform(clip, seed), transform(clip, seed)
        if not np.array_equal(once, again):
            raise ConfigError(
                f"{transform.spec.name} ({transform.spec.library}) with these parameters is not repeatable: it does "
                "not draw from generators that can be seeded"
            )


def _lines(error: SerProbeError) -> list[str]:
    """Return the faults of an error, one a line."""
    head, *listed = error.what.splitlines()
    name = head.removeprefix("The augmentation ").split(" cannot be made", maxsplit=1)[0]
    if listed:
        return [f"{name}: {line.removeprefix('  - ')}" for line in listed]
    details = [str(detail) for detail in (error.found, error.fix) if detail is not None]
    return ["; ".join([head, *details])]


def _message(error: BaseException) -> str:
    """Return the text of an exception; of an assertion without text, the asserted condition."""
    if isinstance(error, AssertionError) and not str(error):
        line = traceback.extract_tb(error.__traceback__)[-1].line or "an assertion"
        return f"it does not hold that {line.removeprefix('assert ')}"
    text = " ".join(str(error).split())
    return text if isinstance(error, SerProbeError | ValueError | AssertionError) else f"{type(error).__name__}: {text}"


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the generators that the packages draw from while the block runs, and restore their states after it."""
    import torch

    python, legacy, tensor = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - the generator that audiomentations draws from
        # Not torch.manual_seed, which would also seed the GPUs, whose states are not restored here.
        torch.default_generator.manual_seed(seed)
        yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
        torch.set_rng_state(tensor)
