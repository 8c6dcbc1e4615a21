"""How loops are compiled: the only door to numba.

Compiled functions let other threads run and never start threads: numba's own change torch's number for the process.
Numba's cache of machine code does not notice that a function of another file has changed: functions that call each
other belong in one file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

# Sums in any order and fused products. Infinities and NaN keep their meaning.
SUMS_REORDER = frozenset({"reassoc", "contract", "nsz"})
# For loops that see neither: division may be a reciprocal with a Newton step.
DIVISION_BY_RECIPROCAL = SUMS_REORDER | {"arcp", "nnan", "ninf"}


def compiled(*, fastmath: frozenset[str] = SUMS_REORDER) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile on the first call and keep the machine code on disk; only in memory where no folder can be written to."""
    how: dict[str, Any] = {"nogil": True, "fastmath": set(fastmath), "error_model": "numpy"}

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return numba.njit(cache=True, **how)(function)
        except RuntimeError:  # numba found no folder for the cache
            return numba.njit(**how)(function)

    return decorate
