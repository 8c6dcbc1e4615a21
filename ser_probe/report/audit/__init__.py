"""Figures of the audit: durations and levels by label, copies, and how many clips there are of what."""
