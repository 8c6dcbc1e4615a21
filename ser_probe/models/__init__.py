"""Models: which backbones there are, how they are loaded, and how a batch runs through them exactly.

Everything here knows tensors and weights only; it reads no corpus, no cache and no config.

Axis letters: B clips of a batch, n samples, T frames, C front-end channels, L layers, D width, K classes.
"""
