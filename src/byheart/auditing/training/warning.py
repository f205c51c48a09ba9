"""The warning of the training callback."""

import warnings

from byheart.core.errors import ByheartError


class MemorizationWarning(UserWarning):
    """The model leaks training texts, or the texts cannot show whether it does."""


def warn(message: str) -> None:
    """Issue a `MemorizationWarning`, attributed to the caller."""
    warnings.warn(message, MemorizationWarning, stacklevel=2)


def error_text(error: Exception) -> str:
    """Return one line about an error; the class names an error that byheart did not raise itself."""
    message = " ".join(str(error).split())
    return message if isinstance(error, ByheartError) else f"{type(error).__name__}: {message}"
