"""How far a representation has moved from a reference. Arrays in, tables out; no disk, no drawing.

A layer's drift is measured between two states of it on the same clips, row by row: nothing here may be given clips
that are not paired. `measures` says what there is and how each is read; `table` puts them together for one layer.
"""
