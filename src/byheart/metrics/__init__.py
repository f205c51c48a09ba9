"""Metrics: functions from scores and membership, or from other evidence, to an estimate with its confidence interval."""
