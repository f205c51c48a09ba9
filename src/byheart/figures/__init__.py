"""Figures: rows and scores in, Vega-Lite charts out."""
