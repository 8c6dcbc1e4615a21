"""Figures of the audit: durations and levels by label, copies, counts of clips, and the scores of shortcuts."""
