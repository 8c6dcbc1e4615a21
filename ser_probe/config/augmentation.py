"""The section `finetune.augment`: how training clips are varied. Validation and test clips never are."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from ser_probe.config.sections import Name, Section


class TransformConfig(Section):
    """One augmentation. Every key beside `library` and `name` is a parameter of the class, as in
    `{library: audiomentations, name: AddGaussianSNR, min_snr_db: 5, max_snr_db: 30}`."""

    model_config = ConfigDict(extra="allow")

    library: Literal["audiomentations", "torch-audiomentations", "ser-probe"] = "ser-probe"
    """Where the class is from; the first two need the extra `augment`. `ser-probe` has `FrequencyMask`."""
    name: Name
    """A class of the library that changes a waveform, such as `PitchShift`; it is tried before training begins."""

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that were given."""
        return dict(self.model_extra or {})


class AugmentConfig(Section):
    """Augmentation of the training clips."""

    mode: Literal["on-the-fly", "union"] = "on-the-fly"
    """`on-the-fly` varies each clip anew in every epoch. `union` adds one copy of the training set for each transform:
    two transforms make an epoch three times as long, and every epoch hears the same."""
    probability: Annotated[float, Field(strict=True, gt=0, le=1)] = 0.5
    """Of each transform, `on-the-fly` only; in a `union` every copy is transformed."""
    transforms: Annotated[tuple[TransformConfig, ...], Field(min_length=1)]
    """The augmentations; `on-the-fly` applies them in this order."""
