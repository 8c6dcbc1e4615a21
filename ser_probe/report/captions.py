"""How each figure is read, and how it misleads."""

from __future__ import annotations

SPLITS = """
How many clips of each emotion and gender each split holds. The splits share no speaker, so with few speakers the
shares of the classes cannot be equal: compare a score with the majority class of the same split.
"""

TRAINING = """
Loss, scores on the validation speakers, and learning rate against the step. Triangles: saved checkpoints; red
dashes: the step chosen on validation. The training loss is measured while the weights change and with dropout, the
validation loss after it and without, so the gap between them is not overfitting alone; and the best of many
evaluations on few speakers looks better than it is.
"""

TRAINING_RUNS = """
Fine-tuning runs side by side, a column a run; of several seeds each line is one. Panels of a row have one scale. The
training loss is measured while the weights change and with dropout, the validation loss afterwards and without, so a
gap between them is no measure of overfitting by itself. Losses of runs with other targets, weights or smoothing do
not compare.
"""

ACOUSTIC_SIMILARITY = """
Debiased linear CKA between each layer's pooled embeddings and the 88 eGeMAPS functionals over the same clips: 0 for
independent data, 1 for the same geometry up to rotation and scale. The colours span the values found, not 0 to 1, so
a small difference can look large: read the scale. CKA is led by the directions of largest variance; a low value does
not mean that the acoustic information is gone.
"""

BIASED_CKA = """
The customary (biased) linear CKA with eGeMAPS on the left; on the right what the same estimator gives for independent
data with as many clips and dimensions. Only what exceeds the right-hand panel is similarity. Shown so that values can
be compared with the literature.
"""

SCORES = """
Mean score of a linear probe on speakers it has not seen, per layer; one line per checkpoint, dark for early and bright
for late. Red dashes: the same probe on the eGeMAPS features. Grey dots: the probe with shuffled labels (close dots) and
always answering the most frequent class (wide dots): what is not above them is not evidence. A ring marks the layer
that is best on the validation speakers; the highest point of a test curve would flatter. The bands (first and last
checkpoint) are one standard deviation over probe seeds: they say how repeatable the probe is, not how far other
speakers would differ, so lines whose bands do not touch may still not differ.
"""

LAYER_SIMILARITY = """
Debiased linear CKA between layers: within the first checkpoint, within the last, and between the two. Blocks are groups
of layers with the same geometry; in the last panel the diagonal says how much each layer kept. Neighbouring layers of a
residual network are alike by construction, so a bright diagonal band is no finding in itself.
"""

DRIFT_STEPS = """
How far each layer is from its own state before fine-tuning; one line per layer, dark at the input and bright at the
output, dashed after the final norm. The dotted line is no change. The vertical scales differ between the panels and
start where the values do. A layer can turn as a whole (low cosine) and keep its geometry (high CKA).
"""

DRIFT_LAYERS = """
The same drift against depth; one line per checkpoint, dark for early and bright for late. A layer inherits the changes
of all layers before it, so a late layer that differs need not have been changed itself.
"""

UMAP = """
Each point is a clip; every row shows the same projections, coloured by another property, and all panels share their
axis limits. What lies close together is alike. Distances between groups, their sizes and their orientation mean little,
and another seed gives another picture: a claim needs a probe. Trustworthiness, where given, says how far neighbours in
the picture are neighbours in the embedding (1 is best).
"""
