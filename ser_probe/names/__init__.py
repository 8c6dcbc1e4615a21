"""Names that a user types or reads, in one table each: what they are called in words, and where they come from.

Layer 0: the configuration, help pages, analyses, figures and docs read the same tables. Nothing here computes.
"""
