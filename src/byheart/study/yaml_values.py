"""Read YAML of study files and of `--set`: values that JSON can write as well, of a bounded number and depth."""

from __future__ import annotations

from typing import Any

from byheart.core.errors import StudyError
from byheart.core.setting_values import check_plain

MAX_CHARACTERS = 250_000
"""Maximum length of a YAML text: the library reads some ten thousand characters a second, and study files have a few thousand."""
WRONG_TAGS = (ValueError, TypeError, LookupError, AttributeError, NotImplementedError, AssertionError)
"""What the YAML library raises for a value that does not fit its tag, such as the date 2024-13-45 and `!!int a`."""


def read_yaml(where: str, text: str, *, fix: str) -> Any:
    """Return the value of a YAML text. `where` and `fix` begin and end the error messages.

    Raises `StudyError` for text that is not YAML and for several documents, `SettingError` for dates, sets, binary data, keys that
    are no strings, and for references that stand for too many values.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if len(text) > MAX_CHARACTERS:
        raise StudyError(f"{where}longer than {MAX_CHARACTERS:,} characters. {fix}")
    # YAML 1.2: 1e-4 is a number and `no` is a word, unlike in YAML 1.1.
    yaml: Any = YAML(typ="safe", pure=True)
    try:
        value = yaml.load(text)
    except YAMLError as error:
        raise StudyError(f"{where}{_error_text(error)}. {fix}") from error
    except RecursionError as error:
        raise StudyError(f"{where}nested too deeply. {fix}") from error
    except WRONG_TAGS as error:
        raise StudyError(f"{where}not a valid value ({' '.join(str(error).split())[:100]}). {fix}") from error
    check_plain("", value)
    return value


def _error_text(error: Exception) -> str:
    """Return the line and the reason of a YAML error."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None or problem is None:
        return f"not YAML ({' '.join(str(error).split())[:200]})"
    return f"line {mark.line + 1}: {' '.join(problem.split())[:200]}"
