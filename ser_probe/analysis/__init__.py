"""Arrays in, tidy tables out: probes, similarity, drift, projections, and their uncertainty.

This room reads and writes no disk, draws nothing, and imports no other room. Axis letters: N clips, L layers,
D width, C classes, R and S representations (a layer of a model at a checkpoint), G speakers, P probes.
"""
