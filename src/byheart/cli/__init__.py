"""Commands, progress and printing."""
