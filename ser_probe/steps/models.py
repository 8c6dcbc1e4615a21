"""The verb `models`: the backbones known by name. Nothing is loaded or fetched for it."""

from __future__ import annotations

from ser_probe.errors import ConfigError, did_you_mean
from ser_probe.models.catalogue import KNOWN_CHECKPOINTS, SUPPORTED_FAMILIES, TINY_CONFIGS

OTHERS = f"Any other Hugging Face id or local folder of these families works too: {', '.join(SUPPORTED_FAMILIES)}."


def list_models(family: str | None = None) -> list[dict[str, object]]:
    """Return the known backbones, a row each: published checkpoints first, then those that are built here.

    Args:
        family: `model_type` to keep; None keeps all.

    Raises:
        ConfigError: If there is no such family.
    """
    if family is not None and family not in SUPPORTED_FAMILIES:
        raise ConfigError(
            f"There is no family {family!r}",
            expected=", ".join(SUPPORTED_FAMILIES),
            fix=did_you_mean(family, SUPPORTED_FAMILIES),
        )
    rows: list[dict[str, object]] = [
        {
            "name": name,
            "family": known.family,
            "layers": known.layers,
            "width": known.width,
            "parameters_m": known.parameters_m,
            "sample_rate_hz": known.sample_rate_hz,
            "input": known.input,
            "norms": known.norms,
            "licence": known.licence,
        }
        for name, known in KNOWN_CHECKPOINTS.items()
    ]
    rows += [
        {
            "name": name,
            "family": config["model_type"],
            "layers": config["num_hidden_layers"],
            "width": config["hidden_size"],
            "sample_rate_hz": 16_000,
            "licence": "built here, random weights",
        }
        for name, config in TINY_CONFIGS.items()
    ]
    return [row for row in rows if family in (None, row["family"])]
