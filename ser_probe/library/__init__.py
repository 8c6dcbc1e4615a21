"""The library as a notebook calls it: plain arguments in, tables and small objects out. Layer 5, beside the commands.

`ser_probe/__init__.py` names what is public. `call` makes keyword arguments of a study's sections, so that an option is
declared once and has one default; `arrays` puts what lies in memory into embedding files, so that a step computes the
same from an array as from a file.
"""
