"""What `ser-probe audit` looks for, and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from ser_probe.config.sections import Flag, Positive, Section, Seed, Whole, as_list

FindingKind = Literal["leaks", "shortcuts", "health"]


class AuditConfig(Section):
    """What in a corpus would make results false: leaks, shortcuts and faults of files."""

    fail_on: Annotated[tuple[FindingKind, ...], BeforeValidator(as_list)] = ()
    """Kinds of findings that end the command with exit code 1, for scripts: `leaks`, `shortcuts`, `health`. Notes do
    not."""
    min_duration_s: Annotated[float, Field(strict=True, ge=0.025)] = 0.1
    """Clips shorter than this, in seconds, are named as too short."""
    max_duration_s: Positive = 600.0
    """Clips longer than this, in seconds, are not measured, and named."""
    figures: Flag = True
    """Draw durations and levels by label, copies, and counts besides writing the tables."""
    workers: Literal["auto"] | Whole = "auto"
    """Processes that measure clips; `auto`: one a processor; 0 measures in the main process."""
    seed: Seed = 0
    """Seed of permutations."""
