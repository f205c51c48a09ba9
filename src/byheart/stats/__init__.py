"""Confidence intervals, tests, power and privacy bounds. NumPy and SciPy only."""
