"""Figures: functions from rows and scores to Vega-Lite charts."""
