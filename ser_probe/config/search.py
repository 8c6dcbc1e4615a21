"""The section `search`: which keys of a study are tried with which values before the final training."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ser_probe.config.sections import Count, Flag, Name, Section, Seed

# Whole numbers stay whole: what is drawn between two of them is whole, too.
Bound = Annotated[int, Field(strict=True)] | Annotated[float, Field(strict=True)]


class DrawnConfig(Section):
    """Where the value of a key is drawn from: a range with `low` and `high`, or `choices`."""

    low: Bound | None = None
    """Lowest value."""
    high: Bound | None = None
    """Highest value. Where both are whole numbers, whole numbers are drawn."""
    log: Flag = False
    """Draw orders of magnitude alike: as many values between 1e-5 and 1e-4 as between 1e-4 and 1e-3."""
    choices: Annotated[tuple[Any, ...], Field(min_length=2)] | None = None
    """The values themselves, as `[8, 16]`."""

    @model_validator(mode="after")
    def _refuse_half_ranges(self) -> Self:
        bounds = (self.low, self.high)
        if self.choices is not None:
            if bounds != (None, None) or self.log:
                raise ValueError("give choices, or low and high, not both")
            return self
        if self.low is None or self.high is None:
            raise ValueError("give low and high, or choices")
        if self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")
        if self.log and self.low <= 0:
            raise ValueError(f"low must be above 0 where log is true, found {self.low:g}")
        return self


def _flatten(space: object) -> object:
    """Let `finetune: {dropout: {low: ...}}` stand for `finetune.dropout: {low: ...}`, as `--set` writes it."""
    if not isinstance(space, dict):
        return space
    flat: dict[object, object] = {}
    for key, value in space.items():
        if isinstance(value, dict) and value and not {*DrawnConfig.model_fields} & {*value}:
            below = _flatten(value)
            assert isinstance(below, dict)
            flat |= {f"{key}.{name}": drawn for name, drawn in below.items()}
        else:
            flat[key] = value
    return flat


def _refuse_empty(space: dict[str, DrawnConfig]) -> dict[str, DrawnConfig]:
    if not space:
        raise ValueError("name at least one key, such as finetune.learning_rate")
    return space


DEFAULT_SPACE = {"finetune.learning_rate": DrawnConfig(low=5e-5, high=1e-3, log=True)}


class SearchConfig(Section):
    """Search for the values of some keys with optuna's TPE sampler (needs the extra `search`)."""

    trials: Count = 20
    """Trainings to compare. More can be asked for later: what has been tried is kept."""
    fraction: Annotated[float, Field(strict=True, gt=0, le=1)] = 0.5
    """Share of the training speakers that trials train on, two at least. The validation speakers are always all."""
    metric: Name | None = None
    """What decides, at the step that the run itself would choose; null: `finetune.early_stopping.metric`, and without
    early stopping uar, or ccc for numeric targets."""
    seed: Seed | None = None
    """Seed of the draws of values and speakers; null: the study's. All trials train with `finetune.seed`."""
    pruning: Literal["median", "none"] = "median"
    """`median` ends a trial that is, at an evaluation, worse than half of the trials before it were at that step;
    after the first five."""
    space: Annotated[dict[Name, DrawnConfig], AfterValidator(_refuse_empty), BeforeValidator(_flatten)] = DEFAULT_SPACE
    """What is drawn, by key: `finetune.learning_rate: {low: 5e-5, high: 1e-3, log: true}`,
    `finetune.batch_size: {choices: [8, 16]}`."""
