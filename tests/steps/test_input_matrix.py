"""Every analysis and its figures on inputs that are usual and small: tables and figures, or a message that says why.

A cell of the matrix is an input, an analysis, and whether acoustic features stand beside the embeddings. Figures are
drawn and laid out; to save them takes seconds each and is tested with the figures.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from ser_probe.config import AnalyzeConfig, ProbeConfig, check_options
from ser_probe.embeddings.key import CacheKey
from ser_probe.embeddings.seal import seal
from ser_probe.embeddings.shards import Rows, ShardWriter
from ser_probe.embeddings.store_header import Layout
from ser_probe.errors import AnalysisError
from ser_probe.report import figures
from ser_probe.report.style import styled
from ser_probe.report.titles import fit_titles
from ser_probe.steps.analyses.cache_names import name_caches
from ser_probe.steps.analyses.entries import run_analysis
from ser_probe.steps.analyses.figures import draw_analysis
from ser_probe.steps.analyses.inputs import Inputs
from ser_probe.steps.analyses.representations import CacheFile
from ser_probe.steps.outcome import Outcome

from .conftest import FEATURES, analyse, tuned

WIDTH = 8
NAMES = [
    "F0semitoneFrom27.5Hz_sma3nz_amean", "F0semitoneFrom27.5Hz_sma3nz_stddevNorm", "loudness_sma3_amean",
    "mfcc1_sma3_amean", "mfcc2_sma3_amean",
]  # fmt: skip
SETS = {**FEATURES, "feature_names": NAMES}
COLUMNS = ("label", "speaker", "gender", "split", "valence")


@dataclass(frozen=True)
class Files:
    """An input: the embedding files, and acoustic features of the same clips."""

    caches: list[CacheFile]
    features: Path


def made_clips(speakers: int = 6, labels: int = 3, takes: int = 2, columns: tuple[str, ...] = COLUMNS) -> pd.DataFrame:
    rows = np.array([(s, label) for s in range(speakers) for label in range(labels) for _ in range(takes)])
    speaker, label = rows.T
    table = pd.DataFrame({
        "clip_id": [f"{row:032x}" for row in range(len(rows))],
        "path": [f"{row}.wav" for row in range(len(rows))],
        "label": np.array(["anger", "joy", "sadness"])[label],
        "speaker": [f"s{each}" for each in speaker],
        "gender": np.array(["female", "male"])[speaker % 2],
        "split": np.array(["train", "train", "validation", "test", "train", "test"])[speaker],
        "valence": np.linspace(1, 5, len(rows)),
    })  # fmt: skip
    return table[["clip_id", "path", *columns]]


class Maker:
    """Writes files of clips; the last layer tells the labels apart."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(
        self, name: str, clips: pd.DataFrame, attributes: dict[str, Any], layers: tuple[str, ...] = ("0", "1", "2"),
        fill: float | None = None,
    ) -> Path:  # fmt: skip
        features = layers == ("functionals",)
        path, width = self.folder / f"{name}.h5", len(NAMES) if features else WIDTH
        rng = np.random.default_rng(len(name))
        values = rng.standard_normal((len(layers), len(clips), width)).astype(np.float32)
        if "label" in clips:
            values[-1, np.arange(len(clips)), pd.factorize(clips["label"], sort=True)[0]] += 6
        if fill is not None:
            values[:] = fill
        kind = "features" if features else "embeddings"
        key = CacheKey(kind, name.encode().hex().zfill(64), {}, {}, {}, "mean", "fp32", 1)
        aliases = {} if features or layers[-1] == "final" else {"final": layers[-1]}
        with ShardWriter(path, key, Layout(layers, width, aliases)) as writer:
            n = len(clips)
            writer.add(Rows(clips["clip_id"].tolist(), values, np.full(n, 50), np.ones(n)))
        seal(path, key, clips, attributes)
        return path

    def series(self, clips: pd.DataFrame, **options: Any) -> Files:
        """Two checkpoints of a model, and features."""
        caches = [self.file(f"step-{step}", clips, tuned(step), **options) for step in (0, 50)]
        options.pop("layers", None)
        return Files(caches, self.file("features", clips, SETS, ("functionals",), **options))

    def models(self, *attributes: dict[str, Any]) -> Files:
        """A file of each of several models, and features."""
        clips = made_clips()
        caches = [self.file(f"model-{place}", clips, each) for place, each in enumerate(attributes)]
        return Files(caches, self.file("features", clips, SETS, ("functionals",)))


def _bare(name: str) -> dict[str, Any]:
    return {"model": name, "pooling": "mean"}


def _features_alone(maker: Maker) -> Files:
    made = maker.series(made_clips())
    others = maker.file("other-features", made_clips(), SETS, ("functionals",))
    return Files(name_caches([made.features], ["first set"]), others)


def _with_gaps(maker: Maker) -> Files:
    clips = made_clips()
    clips.loc[::5, "gender"] = None
    return maker.series(clips)


INPUTS: dict[str, Callable[[Maker], Files]] = {
    "usual": lambda maker: maker.series(made_clips()),
    "features alone": _features_alone,
    "one model": lambda maker: maker.models(tuned(0)),
    "one model without a step": lambda maker: maker.models(_bare("one")),
    "two models": lambda maker: maker.models(tuned(0), {**tuned(0), "model": "other"}),
    "two models without steps": lambda maker: maker.models(_bare("one"), _bare("other")),
    "one layer": lambda maker: maker.series(made_clips(), layers=("final",)),
    "two clips a class": lambda maker: maker.series(made_clips(2, 3, 1)),
    "one speaker": lambda maker: maker.series(made_clips(1, 3, 4)),
    "one class": lambda maker: maker.series(made_clips(6, 1, 4)),
    "one clip": lambda maker: maker.series(made_clips(1, 1, 1)),
    "constant embeddings": lambda maker: maker.series(made_clips(), fill=1.5),
    "no gender, no splits": lambda maker: maker.series(made_clips(columns=("label", "speaker"))),
    "gender blank in some rows": _with_gaps,
    "no label": lambda maker: maker.series(made_clips(columns=("speaker", "valence"))),
}


def _probe(**options: Any) -> Callable[[Files, Path | None, Path], Outcome]:
    probe = check_options(
        ProbeConfig, {"initialisations": 1, "max_epochs": 8, "controls": ["shuffled_labels"], **options}
    )

    def run(files: Files, features: Path | None, output: Path) -> Outcome:
        return run_analysis("probe", Inputs(output, caches=files.caches, features=features), probe)

    return run


def _analyze(**options: Any) -> AnalyzeConfig:
    return check_options(AnalyzeConfig, {"splits": "all", **options})


def _similarity(files: Files, features: Path | None, output: Path) -> Outcome:
    analyze = _analyze(**{"similarity.egemaps": features is not None, "similarity.permutations": 9})
    return analyse("similarity", files.caches, output, features=features, analyze=analyze)


def _drift(files: Files, features: Path | None, output: Path) -> Outcome:
    return analyse("drift", files.caches, output, reference=files.caches[0], analyze=_analyze())


def _geometry(files: Files, features: Path | None, output: Path) -> Outcome:
    analyze = _analyze(**{"geometry.permutations": 2})
    return analyse("geometry", files.caches, output, features=features, analyze=analyze)


def _acoustics(files: Files, features: Path | None, output: Path) -> Outcome:
    return analyse("acoustics", files.caches, output, features=files.features, analyze=_analyze())


def _umap(files: Files, features: Path | None, output: Path) -> Outcome:
    analyze = _analyze(**{"umap.neighbours": 3, "umap.stability_seeds": 1})
    return analyse("umap", files.caches, output, analyze=analyze)


ANALYSES: dict[str, Callable[[Files, Path | None, Path], Outcome]] = {
    "probe": _probe(),
    "probe logistic": _probe(families=["logistic"], division="loso", among="all"),
    "probe mlp, knn": _probe(families=["mlp", "knn"], division="kfold", folds=3, among="all"),
    "probe layer_sum": _probe(families=["layer_sum"]),
    "probe numbers": _probe(families=["ridge"], targets=["valence"]),
    "probe egemaps": _probe(families=["ridge"], targets=["egemaps"]),
    "probe extras": _probe(division="study", description_length=True, learning_curve=True),
    "similarity": _similarity,
    "drift": _drift,
    "geometry": _geometry,
    "acoustics": _acoustics,
    "umap": _umap,
}

_FEW_SPEAKERS = "too few speakers for probes"
_ONE_VALUE = "All clips have the same value of the target"
_NO_FIGURE = "tables alone"
"""Of a series of one, drift has nothing to draw, and says so."""

# What a cell comes to where it is not tables and figures, by input, a pattern of analyses, and whether only without
# features beside the embeddings. The first that fits counts.
SAID: dict[tuple[str, str, bool], str] = {
    ("features alone", "probe layer_sum", False): "nothing that these probes could learn from",
    ("features alone", "similarity", True): "There is nothing to compare",
    ("features alone", "drift", False): _NO_FIGURE,
    ("one model", "drift", False): _NO_FIGURE,
    ("one model without a step", "drift", False): _NO_FIGURE,
    ("two models", "drift", False): _NO_FIGURE,
    ("two models without steps", "drift", False): _NO_FIGURE,
    ("two models", "umap", False): "different models cannot share a layout",
    ("two models without steps", "umap", False): "different models cannot share a layout",
    ("one layer", "probe layer_sum", False): "nothing that these probes could learn from",
    ("two clips a class", "probe extras", False): "no clips in: validation, test",
    ("two clips a class", "probe (logistic|mlp, knn)", False): "fewer speakers than folds",
    ("two clips a class", "probe.*", False): _FEW_SPEAKERS,
    ("two clips a class", "acoustics", False): "Too few speakers or folds",
    ("two clips a class", "umap", False): "too few clips for a map",
    ("one speaker", "probe extras", False): "no clips in: validation, test",
    ("one speaker", "probe (logistic|mlp, knn)", False): "fewer speakers than folds",
    ("one speaker", "probe.*", False): _FEW_SPEAKERS,
    ("one speaker", "acoustics", False): "Too few speakers or folds",
    ("one class", "probe (numbers|egemaps)", False): "",
    ("one class", "probe.*", False): _ONE_VALUE,
    ("one clip", "probe (logistic|mlp, knn|extras)", False): _ONE_VALUE,
    ("one clip", "probe.*", False): _FEW_SPEAKERS,
    ("one clip", "similarity", False): "Similarity needs at least 4 clips",
    ("one clip", "drift", False): "Drift is measured over several clips",
    ("one clip", "geometry", False): "too few clips to have a shape",
    ("one clip", "acoustics", False): "No acoustic feature varies",
    ("one clip", "umap", False): "too few clips for a map",
    ("constant embeddings", "probe egemaps", False): "No acoustic functional varies",
    ("constant embeddings", "(similarity|drift|geometry)", False): "do(es)? not vary|no shape|all equal|same",
    ("constant embeddings", "acoustics", False): "No acoustic feature varies",
    ("no gender, no splits", "probe numbers", False): "no column 'valence' to predict",
    ("no gender, no splits", "probe extras", False): "no column 'split'",
    ("no label", "probe (numbers|egemaps)", False): "",
    ("no label", "probe.*", False): "no column 'label' to predict",
}

# Cells of the quick suite that are drawn; the others take minutes together.
DRAWN = {
    ("features alone", "probe logistic", False),
    ("features alone", "probe numbers", False),
    ("features alone", "geometry", False),
    ("one model without a step", "probe logistic", True),
    ("one model without a step", "similarity", True),
    ("one model without a step", "acoustics", True),
}


def expected(case: str, analysis: str, *, features: bool) -> str:
    """Return the message of a cell; empty for tables and figures."""
    for (own, pattern, alone), said in SAID.items():
        if own == case and re.fullmatch(pattern, analysis) and not (alone and features):
            return said
    return ""


def _cells() -> list[Any]:
    cells = []
    for case in INPUTS:
        for analysis in ANALYSES:
            takes_features = analysis not in ("drift", "umap", "acoustics", "probe egemaps")
            for features in (True, False) if takes_features else (True,):
                fails = expected(case, analysis, features=features) not in ("", _NO_FIGURE)
                quick = fails or (case, analysis, features) in DRAWN
                name = f"{case}, {analysis}" + (", with features" if takes_features and features else "")
                marks = () if quick else (pytest.mark.slow,)
                cells.append(pytest.param(case, analysis, features, id=name, marks=marks))
    return cells


@pytest.fixture
def laid_out(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Draw and lay figures out without saving them; return the names of those drawn."""
    names: list[str] = []

    def lay_out(figure: Figure, folder: Path, name: str) -> list[Path]:
        with styled():
            figure.draw_without_rendering()
            fit_titles(figure)
        names.append(name)
        return [folder / f"{name}.png", folder / f"{name}.svg"]

    monkeypatch.setattr(figures, "save_figure", lay_out)
    return names


@pytest.fixture(scope="module")
def files_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Files]:
    """The files of an input, written once; analyses only read them."""
    return functools.cache(lambda case: INPUTS[case](Maker(tmp_path_factory.mktemp("files"))))


@pytest.mark.filterwarnings("error:constrained_layout not applied")
@pytest.mark.parametrize(("case", "analysis", "features"), _cells())
def test_input_matrix(
    case: str, analysis: str, features: bool, files_of: Callable[[str], Files], tmp_path: Path, laid_out: list[str]
) -> None:
    files = files_of(case)
    beside = files.features if features else None
    said = expected(case, analysis, features=features)
    if said not in ("", _NO_FIGURE):
        with pytest.raises(AnalysisError, match=said):
            ANALYSES[analysis](files, beside, tmp_path / "out")
        return
    outcome = ANALYSES[analysis](files, beside, tmp_path / "out")
    tables = [pd.read_parquet(path) for path in outcome.files if path.suffix == ".parquet"]
    assert tables
    assert all(len(table) for table in tables)
    draw_analysis(outcome, tmp_path / "out")
    assert bool(laid_out) == (said == "")


def test_embeddings_and_features_of_one_name(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    first, second = (maker.file(name, made_clips(), SETS, ("functionals",)) for name in ("first", "second"))
    with pytest.raises(AnalysisError, match=r"both called by one name(.|\n)*eGeMAPSv02(.|\n)*--name"):
        _geometry(Files([first], second), second, tmp_path / "out")


def test_the_same_file_as_embeddings_and_as_features(tmp_path: Path) -> None:
    features = Maker(tmp_path).series(made_clips()).features
    with pytest.raises(AnalysisError, match="The same file is given as the embeddings and as the features"):
        _geometry(Files([features], features), features, tmp_path / "out")
