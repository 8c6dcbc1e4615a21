"""Training: full fine-tuning of a backbone with a head, with checkpoints that can be extracted and resumed.

The forward pass is the one that extraction uses, so that the trained model is the measured one. This room runs the only
training loop of the project and writes a run's checkpoints; it reads no manifest, config or embedding cache.

Axis letters: N clips, B clips of a batch, T frames, C front-end channels, D width, K classes.
"""
