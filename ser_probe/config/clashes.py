"""Values of a study that exclude each other: what a check of combinations yields, and what several checks look up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from ser_probe.config.sections import ExtractConfig
from ser_probe.data.schemes import SPLITS
from ser_probe.models.catalogue import KNOWN_CHECKPOINTS, TINY_CONFIGS


class Clash(NamedTuple):
    """Values that exclude each other: the keys involved, the first of them the one to mend, and why."""

    keys: tuple[str, ...]
    message: str


def splits_not_extracted(wanted: Literal["all"] | Sequence[str], extract: ExtractConfig) -> list[str]:
    """Return those of the wanted splits that a study does not extract."""
    extracted = SPLITS if extract.splits == "all" else extract.splits
    return [split for split in (SPLITS if wanted == "all" else wanted) if split not in extracted]


def known_depth(backbone: str) -> int | None:
    """Return the number of blocks of a backbone that the catalogue knows."""
    if backbone in KNOWN_CHECKPOINTS:
        return KNOWN_CHECKPOINTS[backbone].layers
    config = TINY_CONFIGS.get(backbone)
    return None if config is None else int(config["num_hidden_layers"])
