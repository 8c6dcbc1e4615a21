"""The section `analyze.probe`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from ser_probe.config.sections import Count, Flag, Name, NonNegative, Positive, Section, as_list

ProbeFamily = Literal["linear", "logistic", "ridge", "mlp", "knn", "layer_sum"]
ProbeControl = Literal["shuffled_labels", "majority_class"]


class ProbeConfig(Section):
    """Probe heads on frozen embeddings: where is the target readable?"""

    families: Annotated[tuple[ProbeFamily, ...], Field(min_length=1)] = ("linear",)
    """Probe heads. `linear` is Study E's: one softmax layer, Adam, early stopping on validation. `logistic`: the same
    model trained to its optimum, with the L2 strength chosen on inner folds. `mlp`: one hidden layer. `knn`: nearest
    neighbours. `layer_sum`: linear on a learned sum of all layers. Numeric targets always have `ridge`."""
    splits: Literal["auto", "study", "heldout", "kfold", "loso", "study_e_published"] = "auto"
    """`heldout` divides the study's test speakers anew by `split.scheme`, so that fine-tuning has seen no speaker of
    the probe; `study` reuses the study's own splits, the only way with few speakers; `kfold` tests each of `folds`
    groups of speakers once, `loso` each speaker; `study_e_published` divides clips at random, 80/10/10, as Study E did:
    speakers are in several parts, and the tables and figures say so. `auto`: `heldout` where the test split has three
    speakers or more; with fewer, `study` for checkpoints that were fine-tuned on the other splits, else `loso` over all
    speakers (`kfold` with many)."""
    folds: Annotated[int, Field(strict=True, ge=3)] = 5
    """Groups of speakers for `kfold`: each tests once, and the next one validates."""
    among: Literal["test", "all"] = "test"
    """Clips that `kfold` and `loso` divide: those of the study's test split (all clips, where they name no split), or
    `all`: speakers whose labels fine-tuning has seen are then probed too, which flatters later checkpoints."""
    targets: Annotated[tuple[Name, ...], Field(min_length=1), BeforeValidator(as_list)] = ("label",)
    """Columns to predict; `label` is the study's target. `egemaps` stands for all acoustic functionals, and
    `egemaps:NAME` for one of them (needs `extract.egemaps`)."""
    task: Literal["auto", "classes", "numbers"] = "auto"
    """What the targets are; `auto`: a column of numbers with more than 10 different values is numeric."""
    groups: Name = "speaker"
    """Column whose values are never in two parts of the probe's split; intervals are drawn over it."""
    seeds: Count = 10
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
    """What stands beside each probe: the same probe on shuffled labels (doubles the time), and always guessing
    the commonest class. The 88 eGeMAPS functionals are a baseline wherever `extract.egemaps` is on."""
    description_length: Flag = False
    """Also the online code length of the labels given each layer (Voita & Titov 2020): a probe per portion of the
    training clips."""
    learning_curve: Flag = False
    """Also the scores of probes trained on growing shares of the training clips."""
    transfer: Flag = True
    """Also the scores of each checkpoint's linear probes on the embeddings of the first and last checkpoints."""
    directions: Flag = True
    """Also the cosine between the directions of linear probes of different checkpoints."""
