"""The shape of a representation: dimension, isotropy, what its variance is about.

Arrays in, tables out; no disk, no drawing.
"""
