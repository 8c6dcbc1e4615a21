"""What a hyper-parameter search draws: ranges and choices, and how optuna stores them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Between:
    """A range to draw from, both ends included.

    Args:
        low: Lowest value.
        high: Highest value; where both are whole numbers, whole numbers are drawn.
        log: Whether orders of magnitude are drawn alike.
    """

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Choice:
    """Values to choose from.

    Args:
        values: JSON-like, at least two.
    """

    values: tuple[Any, ...]


def distribution(kinds: Any, drawn: Between | Choice) -> Any:
    """Return the distribution of optuna for a range or a choice; `kinds` is the module `optuna.distributions`."""
    if isinstance(drawn, Choice):
        # optuna stores text, numbers and truth values; JSON makes text of everything else.
        return kinds.CategoricalDistribution([json.dumps(value) for value in drawn.values])
    is_whole = isinstance(drawn.low, int) and isinstance(drawn.high, int)
    kind = kinds.IntDistribution if is_whole else kinds.FloatDistribution
    return kind(drawn.low, drawn.high, log=drawn.log)


def decode(space: Mapping[str, Between | Choice], params: Mapping[str, Any]) -> dict[str, Any]:
    """Return a trial's values by key, from the parameters that optuna stores."""
    return {
        key: json.loads(params[key]) if isinstance(drawn, Choice) else params[key]
        for key, drawn in space.items()
        if key in params
    }


def is_number(value: Any) -> bool:
    """Tell whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def as_cell(value: Any) -> Any:
    """Return a value as a table's cell: lists and the like as JSON, because a column holds one type."""
    return value if is_number(value) or isinstance(value, str) else json.dumps(value)
