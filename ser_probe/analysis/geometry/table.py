"""Geometry of every layer and checkpoint as tidy tables, with intervals, nulls, and the change since the first step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ser_probe.analysis.geometry.arrangements import permuted_classes, speaker_blocks
from ser_probe.analysis.geometry.designs import plan_partition
from ser_probe.analysis.geometry.intrinsic_dimension import neighbour_ratios, two_nn, two_nn_mle
from ser_probe.analysis.geometry.isotropy import anisotropy_left_out, mean_pair_cosine, unit_vectors
from ser_probe.analysis.geometry.pairs import (
    PairSums,
    participation_ratio_of,
    participation_ratio_unbiased,
    sum_pairs,
)
from ser_probe.analysis.geometry.silhouettes import check_classes
from ser_probe.analysis.geometry.spectrum import (
    centred,
    effective_rank,
    eigenvalues,
    isoscore,
    isotropic_features,
    rankme,
    variance_shares,
)
from ser_probe.analysis.geometry.variance import VariancePartition
from ser_probe.analysis.inputs import RepresentationKey, check_lengths, title
from ser_probe.analysis.resampling import group_codes, jackknife_interval
from ser_probe.analysis.threads import run_side_by_side

SHAPE_MEASURES: dict[str, tuple[float, float]] = {
    "effective_rank": (1.0, np.inf),
    "rankme": (1.0, np.inf),
    "participation_ratio": (1.0, np.inf),
    "participation_ratio_unbiased": (1.0, np.inf),
    "isoscore": (0.0, 1.0),
    "anisotropy": (-1.0, 1.0),
    "two_nn": (0.0, np.inf),
    "two_nn_mle": (0.0, np.inf),
}
"""Measures of the shape, with their range."""

FACTOR_MEASURES: dict[str, tuple[float, float]] = {
    "silhouette": (-1.0, 1.0),
    "fisher_ratio": (-np.inf, np.inf),
    "marginal_share": (-np.inf, np.inf),
    "unique_share": (-np.inf, np.inf),
}
"""Measures by factor, with their range. A share is adjusted for chance: it may fall below 0, the residual above 1."""

COLUMNS = [
    *RepresentationKey._fields, "measure", "factor", "value", "ci_low", "ci_high", "baseline",
    "change", "change_low", "change_high", "n", "n_speakers",
]  # fmt: skip
_Values = dict[tuple[str, str], np.ndarray]


@dataclass(frozen=True)
class Measured:
    """A representation's geometry.

    Args:
        values: By (measure, factor), of all clips and without each jackknife block, [1 + B]; [1] where the measure is
            not computed without blocks. The factor of a measure of shape is empty.
        baselines: By (measure, factor), the null.
        shares: Each component's share of the variance.
    """

    values: _Values
    baselines: dict[tuple[str, str], float]
    shares: np.ndarray


class Geometry:
    """Measures the geometry of representations of the same clips.

    Args:
        n_clips: N.
        speakers: Each clip's speaker [N]; None for no intervals.
        factors: Each clip's class by factor [N], for the shares of variance; `speaker` names the speaker.
        by: Factors to give silhouette and Fisher ratio for.
        n_permutations: Permutations of each factor for the null.
        rank_intervals: Compute the ranks anew without each speaker, for their intervals: an eigendecomposition each.
        seed: Seed of the permutations and of the isotropic clips.

    Raises:
        AnalysisError: If a factor has one value only, or so many that no clips are left to estimate the noise from.
    """

    def __init__(
        self,
        n_clips: int,
        *,
        speakers: np.ndarray | None = None,
        factors: Mapping[str, np.ndarray] | None = None,
        by: Sequence[str] = ("label", "speaker"),
        n_permutations: int = 20,
        rank_intervals: bool = False,
        seed: int = 0,
    ) -> None:
        factors = dict(factors or {})
        check_lengths(clips=np.empty(n_clips), **factors, **({} if speakers is None else {"speakers": speakers}))
        self.seed, self.rank_intervals, self.by = seed, rank_intervals, [name for name in by if name in factors]
        self.blocks = speaker_blocks(speakers, n_clips, seed=seed)
        codes = {name: group_codes(values)[1] for name, values in factors.items()}
        for name in self.by:
            check_classes(codes[name], f"The silhouette by {name}")
        speaker_codes = None if speakers is None else group_codes(speakers)[1]
        permuted = {
            name: permuted_classes(
                values, speakers=speaker_codes, within=codes.get("label"), n_permutations=n_permutations, seed=seed
            )
            for name, values in codes.items()
            if n_permutations > 0
        }
        self._clusters = {name: codes[name] for name in self.by}
        self._permuted = {name: permuted[name] for name in self.by if name in permuted}
        self._partition = None
        if codes:
            plan = plan_partition(factors, speaker="speaker" if "speaker" in factors else None)
            self._partition = VariancePartition(plan, self.blocks, permuted)
        self._ceilings: dict[int, dict[tuple[str, str], float]] = {}

    def measure(self, x: np.ndarray, what: str = "The features") -> Measured:
        """Measure a representation [N, D].

        Raises:
            AnalysisError: If features are NaN or constant, a clip's are all zero, or there are fewer than 3 clips.
        """
        check_lengths(features=x, clips=self.blocks)
        rows = centred(x, what)
        spectrum = eigenvalues(rows)
        pairs = sum_pairs(rows, self.blocks, self._clusters, self._permuted)
        spectra = [spectrum, *(self._left_out_spectra(rows) if self.rank_intervals else [])]
        values = _shape(spectra, x, pairs, self.blocks, what)
        values |= {("silhouette", name): pairs.silhouettes[name] for name in self.by}
        baselines = dict(self._ceiling(rows.shape[1]))
        baselines |= {("silhouette", name): float(drawn.mean()) for name, drawn in pairs.permuted.items()}
        if self._partition is not None:
            values |= {key: shares for key, shares in self._partition.shares(rows).items() if self._wanted(key)}
            baselines |= self._partition.baselines(rows)
        return Measured(values, baselines, variance_shares(spectrum))

    def _left_out_spectra(self, rows: np.ndarray) -> list[np.ndarray]:
        n_blocks = int(self.blocks.max()) + 1
        subsets = (rows[self.blocks != block] for block in range(n_blocks if n_blocks > 1 else 0))
        return [eigenvalues(kept - kept.mean(axis=0)) for kept in subsets]

    def _wanted(self, key: tuple[str, str]) -> bool:
        return key[0] != "fisher_ratio" or key[1] in self.by

    def _ceiling(self, width: int) -> dict[tuple[str, str], float]:
        """Return the measures of shape of isotropic clips, as many and as wide."""
        if width not in self._ceilings:
            x = isotropic_features(len(self.blocks), width, self.seed)
            rows = centred(x)
            pairs = sum_pairs(rows, np.zeros(len(rows), int))
            shape = _shape([eigenvalues(rows)], x, pairs, np.zeros(len(rows), int), "Isotropic clips")
            self._ceilings[width] = {key: float(numbers[0]) for key, numbers in shape.items()}
        return self._ceilings[width]


def _shape(spectra: Sequence[np.ndarray], x: np.ndarray, pairs: PairSums, blocks: np.ndarray, what: str) -> _Values:
    width, n_blocks = x.shape[1], int(blocks.max()) + 1
    sets = 1 + (n_blocks if n_blocks > 1 else 0)
    scatters = pairs.scatters[:sets]
    plain = np.array([participation_ratio_of(scatter) for scatter in scatters])
    ratios = [neighbour_ratios(pairs.nearest[index]) for index in range(sets)]
    units = unit_vectors(x, what)
    values = {
        "effective_rank": np.array([effective_rank(spectrum) for spectrum in spectra]),
        "rankme": np.array([rankme(spectrum) for spectrum in spectra]),
        "participation_ratio": plain,
        "participation_ratio_unbiased": np.array([participation_ratio_unbiased(scatter) for scatter in scatters]),
        "anisotropy": np.concatenate([
            mean_pair_cosine(units.sum(axis=0)[None], np.array([len(units)])),
            anisotropy_left_out(units, blocks, n_blocks)[: sets - 1],
        ]),
        "two_nn": np.array([two_nn(of_set) for of_set in ratios]),
        "two_nn_mle": np.array([two_nn_mle(of_set) for of_set in ratios]),
    }  # fmt: skip
    if width > 1:
        values["isoscore"] = np.array([isoscore(spectra[0], width), *((plain[1:] - 1) / (width - 1))])
    return {(name, ""): values[name] for name in SHAPE_MEASURES if name in values}


def geometry_table(
    representations: Iterable[tuple[RepresentationKey, np.ndarray]],
    geometry: Geometry,
    *,
    n_speakers: float = float("nan"),
    n_components: int = 64,
    advance: Callable[[], None] = lambda: None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measure representations one after another.

    Args:
        representations: Names and features [N, D]; of each model and layer the first one is what later ones are
            compared with.
        geometry: How.
        n_speakers: For the tables.
        n_components: Components of the spectrum that are listed.
        advance: Called after each.

    Returns:
        - A row per representation, measure and factor: `value` with its 95 % interval (jackknife over speakers), NaN
          where there is none (three speakers or more are needed; ranks have one if `rank_intervals` was set);
          `baseline`, for a measure of shape what isotropic clips give at this N and D, for a measure by factor the mean
          over permuted classes; `change` against the model's first representation of this layer, with the interval of
          the difference (paired by speaker: narrower than the two intervals suggest).
        - A row per representation and component: its share of the variance.
    """
    order: list[RepresentationKey] = []

    def listed() -> Iterator[tuple[RepresentationKey, np.ndarray]]:
        for key, x in representations:
            order.append(key)
            yield key, x

    by_key: dict[RepresentationKey, Measured] = {}
    for (key, _), answer in run_side_by_side(
        lambda task: geometry.measure(task[1], f"The features of {title(task[0])}"), listed()
    ):
        by_key[key] = answer
        advance()
    measured = {key: by_key[key] for key in order}
    return _rows(measured, len(geometry.blocks), n_speakers), _spectra(measured, len(geometry.blocks), n_components)


def _rows(measured: Mapping[RepresentationKey, Measured], n: int, n_speakers: float) -> pd.DataFrame:
    rows: list[list[object]] = []
    first: dict[tuple[str, str], Measured] = {}
    for key, geometry in measured.items():
        before = first.setdefault((key.model, key.layer), geometry)
        for (measure, factor), values in geometry.values.items():
            change = values - before.values[measure, factor]
            rows.append([
                *key, measure, factor, *_interval(values, (SHAPE_MEASURES | FACTOR_MEASURES)[measure]),
                geometry.baselines.get((measure, factor), np.nan),
                *(_interval(change, (-np.inf, np.inf)) if before is not geometry else (np.nan, np.nan, np.nan)),
                n, n_speakers,
            ])  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)


def _spectra(measured: Mapping[RepresentationKey, Measured], n: int, n_components: int) -> pd.DataFrame:
    tables = []
    for key, geometry in measured.items():
        shares = geometry.shares[:n_components]
        named = {name: [value] * len(shares) for name, value in key._asdict().items()}
        numbered = {"component": np.arange(1, len(shares) + 1), "value": shares}
        tables.append(pd.DataFrame({**named, "measure": "variance_share", **numbered, "n": n}))
    return pd.concat(tables, ignore_index=True)


def _interval(values: np.ndarray, bounds: tuple[float, float]) -> tuple[float, float, float]:
    low, high = jackknife_interval(values[0], values[1:], bounds=bounds)
    return float(values[0]), float(low), float(high)
