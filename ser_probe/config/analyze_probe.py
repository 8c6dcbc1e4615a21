"""The section `analyze.probe`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field

from ser_probe.config.analysis import Analysis, OwnCommand
from ser_probe.config.clashes import Clash, splits_not_extracted
from ser_probe.config.sections import Count, Flag, Name, NonNegative, OneOf, Positive, Section, as_list
from ser_probe.names.probes import CONTROLS, FAMILIES

if TYPE_CHECKING:
    from ser_probe.config.study import StudyConfig

ProbeFamily = Annotated[str, OneOf(FAMILIES)]
ProbeControl = Annotated[str, OneOf(CONTROLS)]


class ProbeConfig(Section):
    """Probe heads on every layer of every checkpoint: where is the target readable, and did that change?"""

    families: Annotated[tuple[ProbeFamily, ...], Field(min_length=1)] = ("linear",)
    """Kinds of probe. `linear` is Study E's: one softmax layer, Adam, early stopping on validation. `logistic`: the
    same model trained to its optimum, with the L2 strength chosen on inner folds. `mlp`: one hidden layer. `knn`:
    nearest neighbours. `layer_sum`: linear on a learned sum of all layers. Numeric targets always have `ridge`."""
    division: Literal["auto", "study", "heldout", "kfold", "loso", "study_e_published"] = "auto"
    """Which clips train and test: `study`, the splits of the study; `heldout`, its test speakers split anew; `kfold` or
    `loso`, each tests once; `study_e_published`, clips at random; `auto`: `heldout` where that can be, else said.
    `heldout` divides the test speakers by `split.scheme`, so that fine-tuning has seen no speaker of the probe; `study`
    is the only way with few speakers; `kfold` has `folds` groups of speakers; `study_e_published` divides 80/10/10, as
    Study E did: speakers are in several parts, and the tables and figures say so. `auto`: `heldout` where the test
    split has three speakers or more; with fewer, `study` for checkpoints that were fine-tuned on the other splits, else
    `loso` over all speakers (`kfold` with many)."""
    folds: Annotated[int, Field(strict=True, ge=3)] = 5
    """Groups of speakers for `kfold`: each tests once, and the next one validates."""
    among: Literal["test", "all"] = "test"
    """Clips that `kfold` and `loso` divide: those of the `test` split (all clips, where they name no split), or `all`.
    Of `all`, speakers whose labels fine-tuning has seen are probed too, which flatters later checkpoints."""
    targets: Annotated[tuple[Name, ...], Field(min_length=1), BeforeValidator(as_list)] = ("label",)
    """Columns to predict; `egemaps` or `egemaps:NAME` for all acoustic functionals or one. `label` is the study's
    target. Functionals need `extract.egemaps`."""
    task: Literal["auto", "classes", "numbers"] = "auto"
    """What the targets are; `auto`: numbers, if a column has more than 10 different ones."""
    groups: Name = "speaker"
    """Column whose values are never in two parts of the probe's split; intervals are drawn over it."""
    initialisations: Count = 10
    """Initialisations per layer and checkpoint; time grows with it."""
    learning_rate: Positive = 1e-2
    """Learning rate of Adam, of `linear` and `layer_sum`; `mlp` has 1e-3."""
    batch_size: Count = 16
    """Clips per step of the probe."""
    max_epochs: Count = 1000
    """Passes over the probe's training clips at most."""
    patience: Count = 5
    """Epochs without improvement of the validation loss before a probe stops."""
    min_delta: NonNegative = 0.025
    """Smallest fall of the validation loss that counts as an improvement."""
    controls: tuple[ProbeControl, ...] = ("shuffled_labels", "majority_class")
    """What stands beside each probe. Shuffled labels double the time. The 88 eGeMAPS functionals are a baseline
    wherever `extract.egemaps` is on."""
    description_length: Flag = False
    """Also the online code length of the labels given each layer (Voita & Titov 2020): a probe per portion of the
    training clips."""
    learning_curve: Flag = False
    """Also the scores of probes trained on growing shares of the training clips."""
    transfer: Flag = True
    """Also the scores of each checkpoint's linear probes on the embeddings of the first and last checkpoints."""
    directions: Flag = True
    """Also the cosine between the directions of linear probes of different checkpoints."""


def probe_clashes(probe: ProbeConfig, study: StudyConfig) -> Iterator[Clash]:
    """Yield what the options of the probes and what a study extracts exclude."""
    everything = probe.division == "study" or (probe.division in ("kfold", "loso") and probe.among == "all")
    # `auto` divides what is there.
    needed = () if probe.division == "auto" else "all" if everything else ("test",)
    if missing := splits_not_extracted(needed, study.extract):
        yield Clash(
            ("analyze.probe.division", "extract.splits"),
            f"'{probe.division}' needs clips that extract.splits leaves out: {', '.join(missing)}",
        )
    if not study.extract.egemaps and any(target.split(":")[0] == "egemaps" for target in probe.targets):
        yield Clash(("analyze.probe.targets", "extract.egemaps"), "egemaps as a target needs extract.egemaps: true")


ANALYSIS = Analysis(
    name="probe",
    section=ProbeConfig,
    summary="Probe heads per layer and checkpoint.",
    run="ser_probe.steps.analyses.probe:run",
    tables=(
        *("probe", "probe_summary", "best_layers", "probe_classes", "probe_confusion", "probe_changes"),
        *("probe_centre", "probe_models", "probe_layer_weights", "probe_numbers", "probe_number_changes"),
        *("probe_description_length", "probe_curve", "probe_transfer", "probe_directions", "probe_corpus_transfer"),
    ),
    needs=frozenset({"caches", "features", "control", "split"}),
    command=OwnCommand(spelled={"targets": ("--target", "--targets")}, former={"--split": "--scheme"}),
    figures=("ser_probe.report.probes.figures:PROBES_FIGURES",),
    headlines=(
        "ser_probe.report.probes.headline:PROBE_HEADLINE",
        "ser_probe.report.probes.headline:PROBE_MODELS_HEADLINE",
        "ser_probe.report.probes.headline:NUMBERS_HEADLINE",
        "ser_probe.report.probes.headline:PROBE_CHANGES_HEADLINE",
    ),
    clashes=probe_clashes,
    look_ahead="ser_probe.steps.analyses.probe:look_ahead",
    loads=("sklearn", "numba"),
)
