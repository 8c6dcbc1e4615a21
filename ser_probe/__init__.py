"""ser-probe: what fine-tuning does to speech representations.

Importing the package loads neither torch nor transformers: the rooms below are imported on use.
"""

__version__ = "0.1.0"
