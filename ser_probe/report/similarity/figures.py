"""The figures of similarity, each with how it is read and how it misleads."""

from __future__ import annotations

from ser_probe.report.canvas import draw_acoustic_similarity, draw_biased_cka, draw_layer_similarity
from ser_probe.report.corpora.compose import CORPORA_CAPTION, draw_similarity_corpora
from ser_probe.report.figure_specs import FigureSpec
from ser_probe.report.similarity.compose import draw_functional_groups, draw_measures, draw_models

_ACOUSTIC_SIMILARITY = """
Similarity (the measure is named at the colours) between each layer's pooled embeddings and the 88 eGeMAPS functionals
over the same clips. Debiased linear CKA is 0 for independent data and 1 for the same geometry up to rotation and scale.
The colours span the values found, not 0 to 1, so a small difference can look large: read the scale. CKA is led by the
directions of largest variance; a low value does not mean that the acoustic information is gone.
"""

_LAYER_SIMILARITY = """
Similarity (the measure is named at the colours) between layers: within the first checkpoint, within the last, and
between the two. Blocks are groups of layers with the same geometry; in the last panel the diagonal says how much each
layer kept. Neighbouring layers of a residual network are alike by construction, so a bright diagonal band is no finding
in itself.
"""

_BIASED_CKA = """
The customary (biased) linear CKA with eGeMAPS on the left; on the right what the same estimator gives for independent
data with as many clips and dimensions. Only what exceeds the right-hand panel is similarity. Shown so that values can
be compared with the literature.
"""

_GROUPS = """
The same with each group of the eGeMAPS functionals alone, on one scale: frequency (pitch, jitter, formants), energy
(loudness, shimmer, harmonics to noise), spectral (balance, MFCC, flux), temporal (rates, lengths of segments). Groups
share information: pitch and loudness rise together in speech, so similarity to one may come through another. They also
differ in size (24, 15, 43 and 6 functionals), and values depend on that: compare layers and checkpoints within a panel
rather than panels.
"""

_MEASURES = """
Several measures of the same comparison, each on its own scale: do not compare the colours of two panels, read whether
they agree on which layers and checkpoints are nearer. Of distances (Procrustes, angular shape) dark is near. Measures
that agree see the same thing; where one stands alone, ask what it alone is blind to.
"""

_MODELS = """
Layers of one model against layers of another over the same clips; widths may differ. A band along the diagonal says
that the models build up alike; a block that late layers share says that both were trained for the same. Models fed the
same audio are alike for that alone: compare with the first layers.
"""

SIMILARITY_FIGURES: dict[str, FigureSpec] = {
    "cka_egemaps": FigureSpec(
        "Similarity to eGeMAPS, per layer and checkpoint",
        "similarity",
        draw_acoustic_similarity,
        _ACOUSTIC_SIMILARITY,
        apart=("corpus", "model_a"),
        optional=True,
    ),
    "similarity_corpora": FigureSpec(
        "Similarity by corpus",
        "similarity",
        draw_similarity_corpora,
        CORPORA_CAPTION,
        apart=("model_a",),
        optional=True,
    ),
    "cka_layers": FigureSpec(
        "Similarity between layers",
        "similarity",
        draw_layer_similarity,
        _LAYER_SIMILARITY,
        apart=("corpus", "model_a"),
        optional=True,
    ),
    "cka_biased": FigureSpec(
        "Biased CKA beside its independence baseline",
        "similarity",
        draw_biased_cka,
        _BIASED_CKA,
        apart=("corpus", "model_a"),
        pooled=True,
        optional=True,
    ),
    "similarity_groups": FigureSpec(
        "Similarity to groups of functionals",
        "similarity",
        draw_functional_groups,
        _GROUPS,
        apart=("corpus", "model_a"),
        pooled=True,
        optional=True,
    ),
    "similarity_measures": FigureSpec(
        "Several measures of similarity to eGeMAPS",
        "similarity",
        draw_measures,
        _MEASURES,
        apart=("corpus", "model_a"),
        pooled=True,
        optional=True,
    ),
    "similarity_models": FigureSpec(
        "Similarity between models",
        "similarity",
        draw_models,
        _MODELS,
        apart=("corpus",),
        optional=True,
    ),
}
