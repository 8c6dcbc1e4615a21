"""What a layer keeps of the voice: acoustic features predicted from it. Arrays in, tables out; no disk, no drawing."""
