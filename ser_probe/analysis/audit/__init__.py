"""What in a corpus would make results false: leaks, shortcuts and faults. Tables in, tables out; no audio, no disk."""
