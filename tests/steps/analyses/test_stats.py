"""Statistics of a table on disk: the study's own, and any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ser_probe.config import StatsConfig
from ser_probe.errors import AnalysisError, MissingExtraError
from ser_probe.steps.analyses import stats as analyze_stats
from ser_probe.steps.analyses.inputs import Inputs
from ser_probe.steps.analyses.stats import run
from ser_probe.steps.outcome import Outcome
from ser_probe.steps.results_file import read_results
from ser_probe.steps.tables import write_table

from ..conftest import Said

needs_statsmodels = pytest.mark.skipif(
    __import__("importlib.util").util.find_spec("statsmodels") is None, reason="needs the extra stats"
)


def analyze_table(table: Path, output: Path, *, stats: StatsConfig, **given: Any) -> Outcome:
    return run(Inputs(output, table=table, **given), stats)


def study_statistics(tables: Path, output: Path, *, stats: StatsConfig, **given: Any) -> Outcome:
    return run(Inputs(output, tables=tables, **given), stats)


def probe_table(rng: np.random.Generator, **columns: Any) -> pd.DataFrame:
    """Scores as the probe writes them: two steps, three layers, four seeds, two splits, a control, and eGeMAPS."""
    rows = []
    for control in ("none", "shuffled_labels"):
        for split in ("validation", "test"):
            for seed in range(4):
                for measure in ("uar", "accuracy"):
                    common = {"control": control, "split": split, "probe_seed": seed, "measure": measure}
                    for step in (0.0, 50.0):
                        rows += [
                            {**common, "step": step, "layer": layer, "model": "tiny",
                             "value": 0.4 + (control == "none") * step / 200 + 0.02 * rng.standard_normal()}
                            for layer in ("0", "1", "final")
                        ]  # fmt: skip
                    rows.append({**common, "step": np.nan, "layer": "functionals", "model": "eGeMAPSv02", "value": 0.3})
    return pd.DataFrame(rows).assign(**{"family": "linear", "run_seed": 0, **columns})


@needs_statsmodels
def test_a_studys_statistics_are_over_its_test_scores(tmp_path: Path, rng: np.random.Generator) -> None:
    write_table(probe_table(rng), tmp_path, "probe")
    (tmp_path / "equivalence.csv").write_text("of an earlier run")
    said = Said()
    outcome = study_statistics(
        tmp_path, tmp_path, stats=StatsConfig(), context={"corpus": "small", "run_seed": 7}, progress=said
    )
    anova = pd.read_parquet(tmp_path / "anova.parquet")
    assert anova["term"].tolist() == ["step", "layer", "step × layer", "Residual"]
    assert anova["p"][0] < 1e-6
    assert anova["n"][0] == 2 * 3 * 4
    assert set(anova["corpus"]) == {"small"}
    contrasts = pd.read_parquet(tmp_path / "contrasts.parquet")
    assert contrasts["within"].tolist() == ["layer=0", "layer=1", "layer=final"]
    assert (contrasts[["level_a", "level_b"]] == ["50", "0"]).all().all()
    page = (tmp_path / "stats_summary.md").read_text(encoding="utf-8")
    assert "They are no independent repetitions of fine-tuning" in page
    assert "uar was analysed by step and layer (2 × 3; 24 observations, 4 in each cell)" in page
    assert "4 rows without step (eGeMAPSv02)" in page
    assert said.lines == ["statistics leave out: 4 rows without step (eGeMAPSv02)"]
    assert outcome.files[-1] == tmp_path / "stats_summary.md"
    assert all(path.is_file() for path in outcome.files)
    assert not (tmp_path / "equivalence.csv").exists()
    # The same seeds are in every cell.
    assert set(contrasts["test"]) == {"paired"}
    assert "with probe\\_seed as random intercept" in page


@needs_statsmodels
def test_runs_count_where_there_are_several_and_families_are_kept_apart(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    runs = [probe_table(rng, run_seed=run, family=family) for run in range(3) for family in ("linear", "knn")]
    write_table(pd.concat(runs), tmp_path, "probe")
    study_statistics(tmp_path, tmp_path, stats=StatsConfig())
    anova = pd.read_parquet(tmp_path / "anova.parquet")
    assert anova.groupby("analysis", sort=False)["n"].first().to_dict() == {"family linear": 18, "family knn": 18}
    page = (tmp_path / "stats_summary.md").read_text(encoding="utf-8")
    assert "An observation is one fine-tuning run" in page
    assert "72 rows were averaged to 18 observations, one for each run\\_seed and cell" in page


@needs_statsmodels
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t[t["step"] != 50], "The factor 'step' has one level"),
        (lambda t: t[t["probe_seed"] == 0], "Cells have fewer than 2 observations"),
        (lambda t: t.assign(value=t["layer"].map(len) / 10), "The response 'uar' does not vary within cells"),
        (lambda t: t.assign(value=0.5), "The response 'value' is constant"),
        (lambda t: t.assign(step=np.nan), "28 rows without step (tiny, eGeMAPSv02)"),
    ],
)
def test_a_study_that_admits_no_test_is_told_why(
    tmp_path: Path, rng: np.random.Generator, change: Any, reason: str
) -> None:
    write_table(change(probe_table(rng)), tmp_path, "probe")
    outcome = study_statistics(tmp_path, tmp_path, stats=StatsConfig())
    page = (tmp_path / "stats_summary.md").read_text(encoding="utf-8").replace("\\", "")
    assert reason in page
    assert outcome.files == (tmp_path / "stats_summary.md",)
    assert not (tmp_path / "anova.csv").exists()


@needs_statsmodels
def test_any_table_is_analysed_and_its_rows_are_the_observations(tmp_path: Path, rng: np.random.Generator) -> None:
    rows = [
        (a, b, rng.standard_normal() + 2 * (b == "none"))
        for a in ("w2v", "NA")
        for b in ("it", "none")
        for _ in "123456"
    ]
    path = tmp_path / "r.tsv"
    pd.DataFrame(rows, columns=["a", "b", "acc"]).to_csv(path, sep="\t", index=False)
    stats = StatsConfig(response="acc", factors=("a", "b"), where={}, unit=None, contrasts=(), pairs="all")
    outcome = analyze_table(path, tmp_path / "out", stats=stats)
    assert outcome.summary["observations"] == "24 in 4 cells"
    assert str(outcome.summary["b"]).startswith("F(1, 20) = ")
    contrasts = pd.read_csv(tmp_path / "out" / "contrasts.csv", keep_default_na=False)
    assert contrasts[["level_a", "level_b"]].to_numpy().tolist() == [["NA", "w2v"], ["none", "it"]]
    assert {path.name for path in outcome.files} >= {"anova.tex", "contrasts.tex", "descriptives.tex", "summary.md"}
    assert set(contrasts["test"]) == {"welch"}
    assert not (tmp_path / "out" / "mixed.csv").exists()
    page = (tmp_path / "out" / "summary.md").read_text(encoding="utf-8")
    assert page.startswith("# Statistics of acc\n")
    again = analyze_table(path, tmp_path / "again", stats=stats)
    for one, other in zip(outcome.files, again.files, strict=True):
        if one.suffix != ".parquet":
            assert one.read_bytes() == other.read_bytes(), one.name


@needs_statsmodels
def test_seeds_of_one_set_of_speakers_are_no_sample_of_speakers(tmp_path: Path, rng: np.random.Generator) -> None:
    rows = [(model, seed, rng.standard_normal()) for model in "ab" for seed in range(5)]
    path = tmp_path / "r.csv"
    pd.DataFrame(rows, columns=["model", "run_seed", "uar"]).to_csv(path, index=False)
    given = {"response": "uar", "factors": ("model",), "where": {}, "contrasts": (), "pairs": "all"}
    for unit in (None, "run_seed"):
        outcome = analyze_table(path, tmp_path, stats=StatsConfig(unit=unit, **given))
        assert "no independent samples of speakers" in outcome.warnings[0]
        assert "(run_seed)" in outcome.warnings[0]
        page = (tmp_path / "summary.md").read_text(encoding="utf-8")
        assert "nothing about other speakers" in page or "they say nothing about other speakers" in page
    pd.read_csv(path).rename(columns={"run_seed": "speaker"}).to_csv(path, index=False)
    assert analyze_table(path, tmp_path, stats=StatsConfig(unit="speaker", **given)).warnings == ()


@needs_statsmodels
def test_what_leads_to_the_opposite_answer_is_printed(tmp_path: Path) -> None:
    values = {"a": [0.50, 0.51, 0.52, 0.53, 0.54, 0.55, 0.56], "b": [0.60, 0.61, 0.62, 0.63, 0.64, 0.65, 2.9]}
    path = tmp_path / "r.csv"
    pd.DataFrame(values).melt(var_name="model", value_name="uar").to_csv(path, index=False)
    stats = StatsConfig(response="uar", factors=("model",), where={}, unit=None, contrasts=(), pairs="all")
    outcome = analyze_table(path, tmp_path, stats=stats)
    assert "(OPPOSITE at alpha = 0.05: by the Kruskal-Wallis test p = .00" in str(outcome.summary["model"])
    (line,) = outcome.warnings
    assert line.startswith("model b against a: p = ")
    assert "by the Mann-Whitney test" in line


@needs_statsmodels
def test_rows_of_all_corpora_are_no_observations_beside_those_of_each(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    table = pd.DataFrame([(c, m, 0.1 * k) for c in ("all", "a", "b") for m in "xy" for k in range(3)])
    table.set_axis(["corpus", "model", "uar"], axis=1).to_csv(path, index=False)
    given = {"response": "uar", "factors": ("model",), "unit": None, "contrasts": (), "pairs": "all"}
    with pytest.raises(AnalysisError, match="rows of all corpora together beside rows of each corpus"):
        analyze_table(path, tmp_path, stats=StatsConfig(where={}, apart=(), **given))
    outcome = analyze_table(path, tmp_path, stats=StatsConfig(where={"corpus": "all"}, apart=(), **given))
    assert outcome.summary["observations"] == "6 in 2 cells"


@needs_statsmodels
def test_parts_are_analysed_apart(tmp_path: Path, rng: np.random.Generator) -> None:
    table = pd.concat([probe_table(rng, family=name) for name in ("linear", "mlp")])
    path = tmp_path / "t.parquet"
    table[table["step"].notna()].to_parquet(path)
    stats = StatsConfig(
        factors=("step",), contrasts=(), apart=("family",), unit="probe_seed", test="paired",
        where={"measure": ("uar", "accuracy"), "split": "test", "control": "none"},
    )  # fmt: skip
    said = Said()
    outcome = analyze_table(path, tmp_path, stats=stats, progress=said)
    assert said.lines == ["statistics: family linear", "statistics: family mlp"]
    contrasts = pd.read_parquet(tmp_path / "contrasts.parquet")
    assert len(contrasts) == 2
    assert (contrasts["n_a"] == 4).all()
    assert "48 rows were averaged to 8" in str(outcome.summary["family mlp: note"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"no such table[\s\S]*other.csv"),
        (b"", "cannot be read"),
        (b"a,b\n1,2\n1,2,3\n", r"cannot be read[\s\S]*Expected 2 fields in line 3"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_files_that_are_no_tables_are_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    (tmp_path / "other.csv").write_text("a\n1\n")
    path = tmp_path / "table.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AnalysisError, match=message):
        read_results(path)


def test_delimiters_are_found_and_words_for_nothing_are_levels(tmp_path: Path) -> None:
    for delimiter in ",;\t|":
        path = tmp_path / "t.csv"
        path.write_text(delimiter.join(["a", " b"]) + "\n" + delimiter.join(["None", ""]) + "\n", encoding="utf-8-sig")
        table = read_results(path)
        assert table["a"].tolist() == ["None"]
        assert table["b"].isna().all()


@needs_statsmodels
@pytest.mark.parametrize("option", [{"random": "seed"}, {"unit": "seed"}])
def test_means_have_no_units(tmp_path: Path, option: dict[str, str]) -> None:
    with pytest.raises(AnalysisError, match=r"which observations belong together[\s\S]*found: unit"):
        analyze_table(tmp_path / "x.csv", tmp_path, stats=StatsConfig(**option), from_moments=True)  # type: ignore[arg-type]


def test_without_statsmodels_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "statsmodels.formula.api", None)
    with pytest.raises(MissingExtraError, match=r"needs the package[\s\S]*ser-probe\[stats\]"):
        analyze_table(tmp_path / "x.csv", tmp_path, stats=StatsConfig())
    with pytest.raises(MissingExtraError, match=r"ser-probe\[stats\]"):
        study_statistics(tmp_path, tmp_path, stats=StatsConfig())
    assert analyze_stats.TABLES


@needs_statsmodels
def test_columns_have_their_aliases_everywhere(tmp_path: Path, rng: np.random.Generator) -> None:
    row = np.arange(48)
    table = pd.DataFrame({
        "label": np.array(["anger", "joy"])[row % 2], "speaker": [f"s{n}" for n in row // 2 % 4],
        "gender": np.array(["f", "m"])[row // 2 % 2], "score": rng.standard_normal(48),
    })  # fmt: skip
    table.to_csv(tmp_path / "scores.csv", index=False)
    options = StatsConfig(
        response="score", where={"Emotion": ("anger", "joy")}, factors=("emotion",), apart=("Gender",), unit="actor",
        random="Actor", contrasts=("emotion",),
    )  # fmt: skip
    analyze_table(tmp_path / "scores.csv", tmp_path / "alias", stats=options)
    own = StatsConfig(
        response="score", where={"label": ("anger", "joy")}, factors=("label",), apart=("gender",), unit="speaker",
        random="speaker", contrasts=("label",),
    )  # fmt: skip
    analyze_table(tmp_path / "scores.csv", tmp_path / "own", stats=own)
    for path in sorted((tmp_path / "own").glob("*.parquet")):
        pd.testing.assert_frame_equal(pd.read_parquet(path), pd.read_parquet(tmp_path / "alias" / path.name))
    # A table's own column of that name is the one that is meant.
    assert analyze_stats.resolve_columns(StatsConfig(factors=("emotion",)), ["emotion", "label"]).factors == (
        "emotion",
    )
    found = analyze_stats.resolve_columns(StatsConfig(contrasts=("emotion:actor",)), ["label", "speaker"])
    assert found.contrasts == ("label:speaker",)
