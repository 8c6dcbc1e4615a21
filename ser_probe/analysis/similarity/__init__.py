"""How alike two representations of the same clips are. Arrays in, tables out; no disk, no drawing."""
