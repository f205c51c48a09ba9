"""Attacks: functions from evidence to one score per text; a higher score means member. NumPy only."""
