"""How far a representation has moved from a reference. Arrays in, tables out; no disk, no drawing."""
