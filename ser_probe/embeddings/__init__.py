"""Embeddings: extraction into HDF5 caches that are computed once, resumed anywhere, and never served stale.

The room may use data, audio and models; it must not know analyses, reports or training.
"""
