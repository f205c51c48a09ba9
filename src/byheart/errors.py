"""Exceptions that byheart raises. `ByheartError` is the base class of all of them."""

from byheart.core.errors import (
    ByheartError,
    CellError,
    DataError,
    FormerNameWarning,
    ModelError,
    RequestError,
    SettingError,
    StoreError,
    StudyError,
    TrainingError,
    UnknownNameError,
)

__all__ = [
    "ByheartError",
    "CellError",
    "DataError",
    "FormerNameWarning",
    "ModelError",
    "RequestError",
    "SettingError",
    "StoreError",
    "StudyError",
    "TrainingError",
    "UnknownNameError",
]
