"""The warning of the training callback."""

import warnings


class MemorizationWarning(UserWarning):
    """The model leaks training texts, or the texts cannot show whether it does."""


def warn(message: str) -> None:
    """Issue a `MemorizationWarning`, attributed to the caller."""
    warnings.warn(message, MemorizationWarning, stacklevel=2)
