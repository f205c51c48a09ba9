"""Observations: functions from a model and texts to one kind of evidence. Only these files use a model."""
