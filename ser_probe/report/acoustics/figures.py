"""The figures of acoustics, each with how it is read and how it misleads."""

from __future__ import annotations

from ser_probe.report.acoustics.compose import draw_acoustics_groups, draw_acoustics_map, draw_acoustics_ranking
from ser_probe.report.corpora.compose import CORPORA_CAPTION, draw_acoustics_corpora
from ser_probe.report.figure_specs import FigureSpec

_MAP = """
How well each acoustic functional is predicted, by ridge regression for speakers that the fit has not heard, from each
layer before and after fine-tuning, and the change. 0 is what always answering the training mean reaches. Functionals
marked † vary in a few clips only, or not at all (pale): their value says whether those clips were hit. A functional
that differs between the sexes, as pitch does, is predicted by any layer that can tell these apart: see the figure
within speakers. A functional that is predicted worse has not left the layer; it is less easily read by a linear map of
these few clips. Loudness is normalised before extraction, so the level of a clip is known to no model.
"""

_WITHIN = """
The same within speakers: each speaker's mean is taken off the truth and off the predictions, so that only what varies
from clip to clip counts. What knows nothing but the voice has 0 or a little less here.
"""

_RANKING = """
The functionals that fine-tuning lost and gained most, on the mean over layers; functionals marked as unreliable are
left out. Bars: 95 % intervals over speakers of the paired change. Filled: p < 0.05 after Holm's correction over all
functionals. The ranking is of many, so the first places are flattered by chance.
"""

_GROUPS = """
Means over the functionals of each group of eGeMAPS: R2, R2 within speakers, and debiased CKA with the group; one line
per checkpoint, bands are 95 % intervals over speakers of the first and the last one. Close dots: the clips of each
speaker shuffled, which leaves what the voice alone tells; red dashes: random weights; wide dots: the mean of the
speaker's gender. R2 asks whether the functionals can be read from a layer, CKA whether they are what its largest
directions are about: a layer can keep them and not be about them.
"""

ACOUSTICS_FIGURES: dict[str, FigureSpec] = {
    "acoustics_map": FigureSpec("Acoustic functionals kept by each layer", "acoustics", draw_acoustics_map, _MAP),
    "acoustics_within": FigureSpec(
        "Acoustic functionals kept within speakers",
        "acoustics",
        draw_acoustics_map,
        _WITHIN,
        options={"measure": "r2_within"},
        pooled=True,
    ),
    "acoustics_ranking": FigureSpec(
        "Acoustic functionals lost and gained", "acoustics_changes", draw_acoustics_ranking, _RANKING, pooled=True
    ),
    "acoustics_groups": FigureSpec(
        "Groups of acoustic functionals per layer", "acoustics_groups", draw_acoustics_groups, _GROUPS, pooled=True
    ),
    "acoustics_corpora": FigureSpec(
        "Acoustic functionals kept, by corpus",
        "acoustics_groups",
        draw_acoustics_corpora,
        CORPORA_CAPTION,
        apart=("model",),
        optional=True,
    ),
}
