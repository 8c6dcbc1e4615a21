"""Hyper-parameter search: values are drawn, tried and compared; finished trials are not repeated.

The only door to optuna (extra `search`). The study lies in an SQLite file; the values of a trial depend on the seed and
the results before it alone, so that a search that was killed and resumed draws the same values.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import json
import math
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_probe.errors import DamagedFileError, SerProbeError
from ser_probe.packages import require
from ser_probe.runtime import SILENT, Progress, derive_seed
from ser_probe.training.locks import exclusive
from ser_probe.training.search_space import Between, Choice, as_cell, decode, distribution, is_number

if TYPE_CHECKING:
    import pandas as pd

TABLE_COLUMNS = ("trial", "state", "reason", "value", "best_value", "time_taken_s")
"""The first columns of the table; a column for each key of the search space follows."""

_STUDY = "search"
_INGREDIENTS, _RETRY_OF, _REASON = "ingredients", "retry_of", "reason"
_BELOW_MEDIAN = "below the median"
_NOT_A_NUMBER = "not a number"

Report = Callable[[int, float], None]
Objective = Callable[[int, dict[str, Any], Report], float]


@dataclass(frozen=True)
class SearchResult:
    """The result of a search.

    Args:
        trial: Number of the best trial.
        value: Its value.
        values: The values that it was tried with, by key.
        table: A row per trial: `TABLE_COLUMNS`, then the values; see `run_search`.
        importance: Columns `parameter` and `importance`, adding up to 1; empty where it cannot be told.
    """

    trial: int
    value: float
    values: dict[str, Any]
    table: pd.DataFrame
    importance: pd.DataFrame


class TrialPruned(Exception):
    """Ends a trial that is not promising; raised by `report` or by the objective."""


class OtherSearchError(SerProbeError):
    """The file holds a search that was begun with other settings."""


def run_search(
    path: Path,
    space: Mapping[str, Between | Choice],
    objective: Objective,
    *,
    n_trials: int,
    maximise: bool,
    seed: int,
    prune: bool = True,
    ingredients: Mapping[str, Any],
    after_trial: Callable[[pd.DataFrame], object] | None = None,
    progress: Progress = SILENT,
) -> SearchResult:
    """Try values until so many trials are done, or go on with the search in the same file.

    A trial counts as done when it has ended by itself or was pruned. One that was interrupted is marked as failed and
    tried again with the same values.

    Args:
        path: The SQLite file.
        space: What is drawn, by key.
        objective: Takes the trial's number, its values by key, and `report(step, value)`, which it calls at each
            evaluation and lets raise `TrialPruned`; returns the trial's value.
        n_trials: Trials to be done in all, those of earlier calls included.
        maximise: Whether a larger value is better.
        seed: Random seed.
        prune: End a trial whose best value so far is worse than the median of the others at that step; after five.
        ingredients: What the values of trials depend on besides the space, JSON-like; other ingredients are another
            search.
        after_trial: Told the table after each trial.
        progress: Told of each trial.

    Returns:
        The best trial and the table of all. `state` is `complete`, `pruned` or `failed`; `value` of a pruned trial is
        its last; `best_value` is the best of the complete ones so far.

    Raises:
        OtherSearchError: If the file holds a search that was begun with other settings.
        DamagedFileError: If the file is no search that can be read.
        CheckpointError: If another process runs it.
        MissingExtraError: If optuna is not installed.
        SerProbeError: If no trial was completed.
    """
    with exclusive(path.with_suffix(".lock"), "searches in this folder") as held:
        with _readable(path):
            search = _OptunaStudy(path, space, maximise=maximise, seed=seed, prune=prune, locks=held)
        try:
            with _readable(path):
                search.claim(ingredients)
                search.retry_interrupted()
                search.table()
            progress.start("search", n_trials, "trials")
            progress.advance(search.n_done())
            try:
                while search.n_done() < n_trials:
                    search.run_trial(objective)
                    if after_trial:
                        after_trial(search.table())
                    progress.advance(1, **search.best_so_far())
            finally:
                progress.finish()
            return search.result()
        finally:
            search.close()


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn whatever optuna and SQLite raise on a damaged file, which has no class in common, into one message.

    Raises:
        DamagedFileError: If the file cannot be read.
    """
    try:
        yield
    except SerProbeError:
        raise
    except Exception as error:
        raise DamagedFileError(
            "The search's file cannot be read", where=path, expected="an SQLite file that optuna wrote",
            found=(str(error).splitlines() or [type(error).__name__])[0],
            fix="move it away, or take another folder, to begin the search anew",
        ) from error  # fmt: skip


class _OptunaStudy:
    """A search in its file."""

    def __init__(
        self,
        path: Path,
        space: Mapping[str, Between | Choice],
        *,
        maximise: bool,
        seed: int,
        prune: bool,
        locks: bool = True,
    ) -> None:
        self.optuna: Any = require("optuna", extra="search", purpose="hyper-parameter search")
        # Its log repeats at each trial what the progress says.
        self.optuna.logging.set_verbosity(self.optuna.logging.WARNING)
        self.path, self.space, self.maximise, self.seed = path, dict(space), maximise, seed
        self.states = self.optuna.trial.TrialState
        # Connected by path and not by URL, in which a path could not hold every character.
        # Where the file system has no locks, SQLite must not ask for them either.
        uri = f"{path.resolve().as_uri()}{'' if locks else '?nolock=1'}"
        connect = functools.partial(sqlite3.connect, uri, uri=True)
        self.storage = self.optuna.storages.RDBStorage(f"sqlite:///{_STUDY}.db", engine_kwargs={"creator": connect})
        self.study = self.optuna.create_study(
            storage=self.storage,
            study_name=_STUDY,
            direction="maximize" if maximise else "minimize",
            pruner=self.optuna.pruners.MedianPruner() if prune else self.optuna.pruners.NopPruner(),
            load_if_exists=True,
        )
        kinds = self.optuna.distributions
        self.distributions = {key: distribution(kinds, drawn) for key, drawn in self.space.items()}

    def close(self) -> None:
        """Let go of the file."""
        self.storage.remove_session()
        self.storage.engine.dispose()

    def claim(self, ingredients: Mapping[str, Any]) -> None:
        """Record what the search is made from, or check that the file's search has the same ingredients.

        Raises:
            OtherSearchError: If it is not.
        """
        current = {
            **ingredients,
            "space": {key: vars(drawn) for key, drawn in self.space.items()},
            "maximise": self.maximise,
            "seed": self.seed,
        }
        current = json.loads(json.dumps(current, default=str))
        recorded = self.study.user_attrs.get(_INGREDIENTS)
        if recorded is None:
            self.study.set_user_attr(_INGREDIENTS, current)
        elif recorded != current:
            names = [name for name in sorted({*recorded, *current}) if recorded.get(name) != current.get(name)]
            raise OtherSearchError(
                "The folder holds another search",
                where=self.path.parent,
                expected="the settings and clips that it was begun with",
                found="; ".join(f"{name} was {recorded.get(name)!r}, is {current.get(name)!r}" for name in names),
                fix="take another folder",
            )

    def retry_interrupted(self) -> None:
        """Mark trials as failed whose process is gone, and put their values first in the queue."""
        retried = {trial.user_attrs.get(_RETRY_OF) for trial in self.study.get_trials(deepcopy=False)}
        for trial in self.study.get_trials(states=(self.states.RUNNING,)):
            # A trial that was killed while its values were drawn is not retried: the same ones will be drawn again.
            if trial.number not in retried and trial.params.keys() == self.space.keys():
                self.study.enqueue_trial(trial.params, user_attrs={_RETRY_OF: trial.number})
            # Marked last: if we are killed in between, the trial and its retry are both found again.
            self.study.tell(trial.number, state=self.states.FAIL)

    def n_done(self) -> int:
        """Return how many trials have ended by themselves or were pruned."""
        return len(self.study.get_trials(deepcopy=False, states=(self.states.COMPLETE, self.states.PRUNED)))

    def run_trial(self, objective: Objective) -> None:
        """Draw values and try them; after an error of the objective the trial can be tried again."""
        # A seed for each trial instead of one generator, so that resuming restores no state. Failed trials do not
        # count, as for the sampler.
        self.study.sampler = self.optuna.samplers.TPESampler(seed=derive_seed(self.seed, "trial", self.n_done()))
        trial = self.study.ask(self.distributions)

        def report(step: int, value: float) -> None:
            if not math.isfinite(value):
                raise TrialPruned(_NOT_A_NUMBER)
            trial.report(value, step)
            if trial.should_prune():
                raise TrialPruned(_BELOW_MEDIAN)

        try:
            value = float(objective(trial.number, decode(self.space, trial.params), report))
            if not math.isfinite(value):
                raise TrialPruned(_NOT_A_NUMBER)
        except TrialPruned as end:
            trial.set_user_attr(_REASON, str(end))
            self.study.tell(trial, state=self.states.PRUNED)
        else:
            self.study.tell(trial, value)

    def best_so_far(self) -> dict[str, float]:
        """Return the best value as a field of the progress; nothing where there is none."""
        values = [trial.value for trial in self._complete()]
        return {"best": (max if self.maximise else min)(values)} if values else {}

    def result(self) -> SearchResult:
        """Return the best trial and the tables.

        Raises:
            SerProbeError: If no trial was completed.
        """
        if not self.best_so_far():
            raise SerProbeError(
                "No trial of the search was completed",
                where=self.path,
                found=", ".join(f"trial {row.trial}: {row.state}, {row.reason}" for row in self.table().itertuples()),
                fix="draw from gentler values, such as lower learning rates",
            )
        best = self.study.best_trial
        return SearchResult(best.number, best.value, decode(self.space, best.params), self.table(), self._importance())

    def table(self) -> pd.DataFrame:
        """Return a row per trial that has ended, in order."""
        import pandas as pd

        names = {self.states.COMPLETE: "complete", self.states.PRUNED: "pruned", self.states.FAIL: "failed"}
        rows: list[dict[str, Any]] = []
        best = math.nan
        for trial in self.study.get_trials(deepcopy=False, states=tuple(names)):
            failed, complete = trial.state == self.states.FAIL, trial.state == self.states.COMPLETE
            if complete:
                best = (max if self.maximise else min)(trial.value, trial.value if math.isnan(best) else best)
            rows.append({
                "trial": trial.number,
                "state": names[trial.state],
                "reason": "interrupted" if failed else trial.user_attrs.get(_REASON, ""),
                "value": math.nan if failed or trial.value is None else trial.value,
                "best_value": best,
                # The end of an interrupted trial is when that was noticed, not when it stopped.
                "time_taken_s": math.nan if failed else (trial.duration or datetime.timedelta()).total_seconds(),
                **{key: as_cell(value) for key, value in decode(self.space, trial.params).items()},
            })  # fmt: skip
        table = pd.DataFrame(rows, columns=[*TABLE_COLUMNS, *self.space])
        for key, drawn in self.space.items():
            if isinstance(drawn, Choice) and not all(is_number(value) for value in drawn.values):
                table[key] = table[key].map(str, na_action="ignore")
        return table

    def _importance(self) -> pd.DataFrame:
        """Return how much of the values' variance each parameter explains (fANOVA, Hutter et al. 2014)."""
        import pandas as pd

        importance = self.optuna.importance
        shares: dict[str, float] = {}
        if len(self._complete()) > 1:
            evaluator = importance.FanovaImportanceEvaluator(seed=self.seed)
            with contextlib.suppress(RuntimeError):  # raised where all values are equal
                shares = importance.get_param_importances(self.study, evaluator=evaluator, params=sorted(self.space))
        return pd.DataFrame(list(shares.items()), columns=["parameter", "importance"])

    def _complete(self) -> list[Any]:
        return list(self.study.get_trials(deepcopy=False, states=(self.states.COMPLETE,)))
