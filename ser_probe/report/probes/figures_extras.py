"""The figures of what probes need and where they still work, each with how it is read and how it misleads."""

from __future__ import annotations

from ser_probe.report.figure_specs import FigureSpec
from ser_probe.report.probes.compose_extras import (
    draw_corpus_transfer,
    draw_description_length,
    draw_directions,
    draw_learning_curves,
    draw_transfer,
)

_KEYS = ("corpus", "model", "target", "family", "pooling")

_DESCRIPTION_LENGTH = """
How many times fewer bits the labels cost when each block of speakers is coded by a probe trained on the blocks before
(Voita & Titov 2020). 1: the layer says nothing of the labels; a probe that is sure and wrong falls below. The first
block is sent uncoded, so there is a ceiling, named in the title, and it is low where speakers are few. Bands (first and
last checkpoint) are one standard deviation over orders of the speakers. Higher means readable from less data, not
only readable.
"""
_CURVE = """
Test score against the number of training clips. Solid: fewer speakers, each with all clips; dashed: all speakers, each
with fewer clips. A solid line that still rises at its end says that more speakers would help; a solid line under the
dashed one says that voices count for more than clips. Bands are one standard deviation over random draws, which
overlap: near the right end they are too narrow, and at the end there is one draw only.
"""
_TRANSFER = """
A probe trained at one checkpoint and tested at another, on speakers it has not seen. Upper row: probes of the first
checkpoint on later ones; lower row: the way back. Grey: what the tested checkpoint's own probe reaches (the range over
checkpoints). A probe is tied to its layer's coordinates: a layer that is only shifted, rescaled or rotated fails at
the left although nothing is lost. The middle column undoes shift and scale, the right one the best-fitting rotation
(last checkpoint only); both are fitted on training clips. What the right column wins back was a rotation; what stays
below grey is lost or was rebuilt, or the rotation could not be fitted from so few clips.
"""
_DIRECTIONS = """
Cosine between the directions that probes of the first and of a later checkpoint give to each class, in standardised
units, mean over classes. Dashed: two probes of one checkpoint that differ by their seed only, so the most that can be
seen. Grey band: 95 % of the cosines with probes of shuffled labels. A line inside the band is no evidence that anything
is shared; a line at the dashes is no evidence that anything moved. A rotation of the layer lowers the cosine although
the label is as readable as before.
"""
_CORPUS = """
Probes trained on each corpus, tested on unseen speakers of one: its own probe's line is what could be reached, the
others' what carries over. Only labels that all corpora share count. Features are standardised on the training corpus,
so a difference of level or recording counts as a failure too. Rows: first and last checkpoint.
"""

PROBE_EXTRAS_FIGURES: dict[str, FigureSpec] = {
    "probe_description_length": FigureSpec(
        "Bits that the labels cost", "probe_description_length", draw_description_length, _DESCRIPTION_LENGTH,
        apart=_KEYS,
    ),
    "probe_curve": FigureSpec("Learning curves", "probe_curve", draw_learning_curves, _CURVE, apart=_KEYS),
    "probe_transfer": FigureSpec(
        "Probes at another checkpoint", "probe_transfer", draw_transfer, _TRANSFER, apart=_KEYS
    ),
    "probe_directions": FigureSpec(
        "Directions of probes", "probe_directions", draw_directions, _DIRECTIONS, apart=_KEYS
    ),
    "probe_corpus_transfer": FigureSpec(
        "Probes on another corpus", "probe_corpus_transfer", draw_corpus_transfer, _CORPUS, apart=_KEYS
    ),
}  # fmt: skip
