"""Figures and the self-contained HTML report of a study.

Everything here is drawn from written tables: the room never reads a cache, computes no statistic beyond
the means and deviations it draws, and is the only one that imports matplotlib.
"""
