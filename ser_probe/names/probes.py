"""Kinds of probe, and their controls, by name."""

from __future__ import annotations

from ser_probe.names.named import Named

FAMILIES: dict[str, Named] = {
    "linear": Named("linear", "one softmax layer, as Study E's"),
    "logistic": Named("logistic", "the same trained to its optimum, L2 chosen on inner folds"),
    "ridge": Named("ridge", "numeric targets, which always have it"),
    "mlp": Named("MLP", "one hidden layer"),
    "knn": Named("k-NN", "nearest neighbours"),
    "layer_sum": Named("layer sum", "linear on a learned sum of all layers"),
}

CONTROLS: dict[str, Named] = {
    "shuffled_labels": Named("shuffled labels", "the same probe on shuffled labels", "Hewitt & Liang 2019"),
    "majority_class": Named("commonest class", "always guessing the commonest class"),
}
