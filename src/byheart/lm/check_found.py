"""Check that a base model exists, before an audit uses it."""

from __future__ import annotations

from byheart.core.errors import ModelError
from byheart.lm.base_models import locate
from byheart.lm.from_pretrained import short_error
from byheart.lm.load import causal_config


def check_found(name: str, where: str, fix: str) -> None:
    """Raise `ModelError`, beginning with `where`, for a base model that is neither on this machine nor on the Hub."""
    try:
        path = locate(name)
    except ModelError as error:
        if name.startswith("package:"):
            raise
        raise ModelError(f"{where} no such file or folder. {fix}") from error
    try:
        if path is None:
            causal_config(name)
    except ModelError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        reason = short_error(error.__cause__)
        raise ModelError(f"{where} not found locally or on the Hub ({reason}). {fix}") from error
