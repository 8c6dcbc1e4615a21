"""From an audio file to the samples that a model hears, and facts about the file.

The room decodes, mixes down, resamples and levels; it is the only one that opens audio. It knows nothing of labels,
models or caches: code that stores results of a clip puts `AudioSpec.ingredients` into its key.
"""
