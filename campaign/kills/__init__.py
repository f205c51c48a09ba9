"""Runs that are killed at drawn moments, and the run after each: it must end with what an unbroken run gives."""
