"""Tests, effect sizes and models for tables of results. Arrays in, tables out; no disk, no drawing."""
