"""Audit a model that byheart did not train: from files, in memory, behind a server, or during training."""
