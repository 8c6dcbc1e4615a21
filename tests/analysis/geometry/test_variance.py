"""The partition of variance: against statsmodels, against a fit of each model, its null, its balance, its faults."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ortho_group

from ser_probe.analysis.geometry.arrangements import permuted_classes, speaker_blocks
from ser_probe.analysis.geometry.designs import one_hot, plan_partition, rank_of
from ser_probe.analysis.geometry.spectrum import centred
from ser_probe.analysis.geometry.variance import JOINT, RESIDUAL, VariancePartition
from ser_probe.errors import AnalysisError

ROUNDING = 1e-9
Factors = dict[str, np.ndarray]


@pytest.fixture
def unbalanced(rng: np.random.Generator) -> Factors:
    n = 240
    speaker = rng.integers(0, 6, n)
    # Labels go with speakers, so that marginal and unique shares differ.
    label = np.where(rng.random(n) < 0.4, speaker % 3, rng.integers(0, 3, n))
    return {"label": label, "speaker": speaker, "gender": speaker % 2, "sentence": rng.integers(0, 4, n)}


@pytest.fixture
def balanced() -> Factors:
    row = np.arange(3 * 6 * 4 * 2)
    return {"label": row % 3, "speaker": row // 3 % 6, "gender": row // 3 % 6 % 2, "sentence": row // 18 % 4}


def simulated(factors: Factors, rng: np.random.Generator, width: int = 5, **effects: float) -> np.ndarray:
    x = rng.standard_normal((len(factors["label"]), width))
    for name, size in effects.items():
        x += size * rng.standard_normal((factors[name].max() + 1, width))[factors[name]]
    return x


def shares_of(x: np.ndarray, factors: Factors) -> dict[tuple[str, str], np.ndarray]:
    partition = VariancePartition(
        plan_partition(factors, speaker="speaker"), speaker_blocks(factors["speaker"], len(x))
    )
    return partition.shares(centred(x))


def test_statsmodels_sums_of_squares(unbalanced: Factors, rng: np.random.Generator) -> None:
    """One dimension, type II; gender is left to the next test, since statsmodels has no nesting."""
    smf = pytest.importorskip("statsmodels.formula.api")
    anova_lm = pytest.importorskip("statsmodels.stats.anova").anova_lm
    factors = {name: unbalanced[name] for name in ("label", "speaker", "sentence")}
    x = simulated(factors, rng, 1, label=0.5, speaker=1.0)
    shares = shares_of(x, factors)
    frame = pd.DataFrame(factors).assign(y=x)
    additive = "y ~ C(label) + C(speaker) + C(sentence)"
    whole = smf.ols(f"{additive} + C(label):C(speaker)", frame).fit()
    table = anova_lm(smf.ols(additive, frame).fit(), typ=2)
    interaction = anova_lm(whole, typ=2).loc["C(label):C(speaker)"]
    noise, total = whole.mse_resid, whole.centered_tss
    by_speaker = interaction["sum_sq"] / interaction["df"]
    for name in factors:
        term = table.loc[f"C({name})"]
        expected = (term["sum_sq"] - term["df"] * (by_speaker if name == "label" else noise)) / total
        assert shares["unique_share", name][0] == pytest.approx(expected, abs=ROUNDING)
        marginal = smf.ols(f"y ~ C({name})", frame).fit()
        assert shares["marginal_share", name][0] == pytest.approx(marginal.rsquared_adj, abs=ROUNDING)
        between = (marginal.ess - marginal.df_model * marginal.mse_resid) / len(x) / marginal.mse_resid
        assert shares["fisher_ratio", name][0] == pytest.approx(between, abs=ROUNDING)
    moved = table.loc["C(label)", "df"] * (by_speaker - noise)
    expected = (interaction["sum_sq"] - interaction["df"] * noise + moved) / total
    assert shares["unique_share", "label:speaker"][0] == pytest.approx(expected, abs=ROUNDING)


def test_many_dimensions_and_each_left_out_speaker(unbalanced: Factors, rng: np.random.Generator) -> None:
    """By fitting every model of every set of clips by least squares."""
    x = simulated(unbalanced, rng, label=0.5, speaker=1.0, sentence=0.2)
    shares = shares_of(x, unbalanced)

    def explained(rows: np.ndarray, kept: np.ndarray, *model: str) -> tuple[float, int]:
        columns = one_hot({name: unbalanced[name] for name in model}, model)[kept]
        fitted = columns @ np.linalg.lstsq(columns, rows, rcond=None)[0]
        return float((fitted**2).sum()), int(np.linalg.matrix_rank(columns))

    for index, kept in enumerate([unbalanced["speaker"] >= 0, *(unbalanced["speaker"] != g for g in range(6))]):
        rows = x[kept] - x[kept].mean(axis=0)
        total = float((rows**2).sum())
        alone, rank = explained(rows, kept, "gender")
        speakers, more = explained(rows, kept, "speaker")
        expected = (alone - (rank - 1) * (speakers - alone) / (more - rank)) / total
        assert shares["marginal_share", "gender"][index] == pytest.approx(expected, abs=ROUNDING)
        base, rank_base = explained(rows, kept, "label", "sentence")
        gender, rank_gender = explained(rows, kept, "label", "sentence", "gender")
        additive, rank_additive = explained(rows, kept, "label", "sentence", "speaker")
        stratum = (additive - gender) / (rank_additive - rank_gender)
        expected = (gender - base - (rank_gender - rank_base) * stratum) / total
        assert shares["unique_share", "gender"][index] == pytest.approx(expected, abs=ROUNDING)
        assert shares["unique_share", RESIDUAL][index] <= 1


def test_balanced_shares_agree_and_sum_to_one(balanced: Factors, rng: np.random.Generator) -> None:
    x = simulated(balanced, rng, label=1.0, speaker=1.0, gender=0.5)
    shares = {key: values[0] for key, values in shares_of(x, balanced).items()}
    assert shares["unique_share", JOINT] == pytest.approx(0, abs=ROUNDING)
    assert sum(value for key, value in shares.items() if key[0] == "unique_share") == pytest.approx(1)
    slightly = 0.02  # the noise of a marginal share holds what other factors do
    for name in ("label", "sentence", "gender"):
        assert shares["marginal_share", name] == pytest.approx(shares["unique_share", name], abs=slightly)


def test_entangled_factors_have_a_joint_share(unbalanced: Factors, rng: np.random.Generator) -> None:
    shares = {key: values[0] for key, values in shares_of(simulated(unbalanced, rng, speaker=2.0), unbalanced).items()}
    assert shares["marginal_share", "label"] > 5 * abs(shares["unique_share", "label"])
    assert shares["unique_share", JOINT] > 0.05


def test_factors_that_mean_nothing_have_no_share(unbalanced: Factors, rng: np.random.Generator) -> None:
    """On average over data sets, for factors of 2, 3, 4 and 6 values; not adjusted, they would have 0.004 to 0.02."""
    drawn = [shares_of(simulated(unbalanced, rng), unbalanced) for _ in range(40)]
    for key in drawn[0]:
        if key[1] not in (RESIDUAL, JOINT):
            values = np.array([one[key][0] for one in drawn])
            assert abs(values.mean()) < 4 * values.std() / np.sqrt(len(values)), key


def test_gender_is_not_credited_with_its_few_speakers(balanced: Factors, rng: np.random.Generator) -> None:
    """Speakers differ, genders do not: with six speakers the naive share of gender would be 0.1 on average."""
    drawn = [shares_of(simulated(balanced, rng, speaker=2.0), balanced) for _ in range(40)]
    values = np.array([one["unique_share", "gender"][0] for one in drawn])
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(len(values))
    assert np.mean([one["unique_share", "speaker"][0] for one in drawn]) > 0.5


def test_the_label_is_not_credited_with_what_it_means_for_single_speakers(
    balanced: Factors, rng: np.random.Generator
) -> None:
    """Each speaker has an own way of each label and labels have nothing in common: naively 1 / 6 of it, 0.1."""
    cell = balanced["label"] * 6 + balanced["speaker"]
    drawn = []
    for _ in range(40):
        x = simulated(balanced, rng) + 2 * rng.standard_normal((18, 5))[cell]
        drawn.append(shares_of(x, balanced))
    values = np.array([one["unique_share", "label"][0] for one in drawn])
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(len(values))
    assert np.mean([one["unique_share", "label:speaker"][0] for one in drawn]) > 0.5


def test_invariances_and_sensitivity(unbalanced: Factors, rng: np.random.Generator) -> None:
    x = simulated(unbalanced, rng, label=0.7, speaker=1.0)
    shares = shares_of(x, unbalanced)
    turned = shares_of(9 * x @ ortho_group.rvs(5, random_state=1) + 40, unbalanced)
    for key, values in shares.items():
        np.testing.assert_allclose(turned[key], values, atol=ROUNDING)
    stronger = shares_of(x + 3 * rng.standard_normal((3, 5))[unbalanced["label"]], unbalanced)
    for measure in ("marginal_share", "unique_share", "fisher_ratio"):
        assert stronger[measure, "label"][0] > shares[measure, "label"][0] + 0.2
    assert stronger["unique_share", "speaker"][0] < shares["unique_share", "speaker"][0]


def test_baselines_are_the_shares_of_permuted_classes(unbalanced: Factors, rng: np.random.Generator) -> None:
    x = simulated(unbalanced, rng, label=1.0, speaker=1.0)
    permuted = {
        name: permuted_classes(
            unbalanced[name], speakers=unbalanced["speaker"], within=unbalanced["label"], n_permutations=4
        )
        for name in ("label", "sentence")
    }
    factors = {name: unbalanced[name] for name in ("label", "speaker", "sentence")}
    plan, blocks = plan_partition(factors, speaker="speaker"), np.zeros(len(x), int)
    found = VariancePartition(plan, blocks, permuted).baselines(centred(x))
    for name, copies in permuted.items():
        # Without a speaker there is no interaction; the null has none either.
        drawn = []
        for own in copies:
            swapped = plan_partition(factors | {name: own}, speaker=None)
            drawn.append(VariancePartition(swapped, blocks).shares(centred(x)))
        for measure in ("marginal_share", "unique_share", "fisher_ratio"):
            assert found[measure, name] == pytest.approx(np.mean([one[measure, name][0] for one in drawn]))
    assert abs(found["unique_share", "label"]) < 0.02


def test_one_block_gives_values_without_intervals(unbalanced: Factors, rng: np.random.Generator) -> None:
    x = simulated(unbalanced, rng)
    found = VariancePartition(plan_partition(unbalanced), np.zeros(len(x), int)).shares(centred(x))
    assert {len(values) for values in found.values()} == {1}


def test_an_interaction_needs_clips_in_every_cell(balanced: Factors) -> None:
    names = {term.name for term in plan_partition(balanced, speaker="speaker").terms}
    assert "label:speaker" in names
    kept = (balanced["label"] != 2) | (balanced["speaker"] != 5)
    holes = {name: own[kept] for name, own in balanced.items()}
    assert "label:speaker" not in {term.name for term in plan_partition(holes, speaker="speaker").terms}
    once = {name: balanced[name][:18] for name in ("label", "speaker")}
    assert "label:speaker" not in {term.name for term in plan_partition(once, speaker="speaker").terms}


def test_two_names_of_one_factor(balanced: Factors, rng: np.random.Generator) -> None:
    """Language and corpus that always go together: neither has anything of its own, both are joint."""
    doubled = balanced | {"emotion": balanced["label"]}
    shares = shares_of(simulated(balanced, rng, label=2.0), doubled)
    assert shares["unique_share", "label"][0] == pytest.approx(0, abs=ROUNDING)
    assert shares["unique_share", JOINT][0] > 0.4


def test_faults(balanced: Factors) -> None:
    with pytest.raises(AnalysisError, match="There is no factor to explain the variance by"):
        plan_partition({})
    with pytest.raises(AnalysisError, match="A factor with a single value explains nothing") as raised:
        plan_partition(balanced | {"corpus": np.zeros(144)})
    assert raised.value.where == "corpus"
    with pytest.raises(AnalysisError, match="no clips are left to estimate the noise from") as raised:
        plan_partition(balanced | {"clip": np.arange(144)})
    assert "clip: 144" in str(raised.value.found)
    assert rank_of(one_hot(balanced, list(balanced))) == 2 + 5 + 3 + 1
