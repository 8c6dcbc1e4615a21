"""Probe heads on frozen embeddings: what can be read from a layer. Arrays in, tables out; no disk, no drawing."""
