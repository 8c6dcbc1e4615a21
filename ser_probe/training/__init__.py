"""Training: full fine-tuning of a backbone with a head, with checkpoints that can be extracted and resumed.

The forward pass is the one extraction uses, so that what is trained is what is measured. This room runs the one
loop of the project and writes a run's checkpoints; it reads no manifest, no config and no embedding cache.

Axis letters: N clips, B clips of a batch, T frames, C front-end channels, D width, K classes.
"""
