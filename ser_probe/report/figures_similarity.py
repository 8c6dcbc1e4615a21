"""The figures of similarity, each with how it is read and how it misleads."""

from __future__ import annotations

from ser_probe.report.compose_layers import draw_acoustic_similarity, draw_biased_cka, draw_layer_similarity
from ser_probe.report.figure_specs import FigureSpec

_ACOUSTIC_SIMILARITY = """
Debiased linear CKA between each layer's pooled embeddings and the 88 eGeMAPS functionals over the same clips: 0 for
independent data, 1 for the same geometry up to rotation and scale. The colours span the values found, not 0 to 1, so
a small difference can look large: read the scale. CKA is led by the directions of largest variance; a low value does
not mean that the acoustic information is gone.
"""

_LAYER_SIMILARITY = """
Debiased linear CKA between layers: within the first checkpoint, within the last, and between the two. Blocks are groups
of layers with the same geometry; in the last panel the diagonal says how much each layer kept. Neighbouring layers of a
residual network are alike by construction, so a bright diagonal band is no finding in itself.
"""

_BIASED_CKA = """
The customary (biased) linear CKA with eGeMAPS on the left; on the right what the same estimator gives for independent
data with as many clips and dimensions. Only what exceeds the right-hand panel is similarity. Shown so that values can
be compared with the literature.
"""

SIMILARITY_FIGURES: dict[str, FigureSpec] = {
    "cka_egemaps": FigureSpec(
        "Similarity to eGeMAPS, per layer and checkpoint",
        "similarity",
        draw_acoustic_similarity,
        _ACOUSTIC_SIMILARITY,
        apart=("corpus", "model_a"),
    ),
    "cka_layers": FigureSpec(
        "Similarity between layers",
        "similarity",
        draw_layer_similarity,
        _LAYER_SIMILARITY,
        apart=("corpus", "model_a"),
    ),
    "cka_biased": FigureSpec(
        "Biased CKA beside its independence baseline",
        "similarity",
        draw_biased_cka,
        _BIASED_CKA,
        apart=("corpus", "model_a"),
    ),
}
