"""Audit a model while another trainer trains it."""
