"""Units in which texts are compared: words, or characters where a script writes no spaces between words.

The script of each character decides, so a mixed text has both. Characters: Han, Hiragana, Katakana, Bopomofo, Thai, Lao,
Khmer and Burmese. Words: all other scripts, such as Latin, Cyrillic, Arabic, Devanagari and Hangul.
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Sequence

SCRIPTS_WITHOUT_SPACES = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # ideographic iteration mark and zero
    (0x3040, 0x312F),  # Hiragana, Katakana, Bopomofo
    (0x31A0, 0x31BF),  # Bopomofo extended
    (0x31F0, 0x31FF),  # Katakana extended
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),  # Han
    (0xF900, 0xFAFF),  # Han
    (0x1B000, 0x1B16F),  # Kana extended
    (0x20000, 0x3FFFF),  # Han
)
LAST_MARK = 0x1FFFF  # combining marks above are variation selectors


def text_units(text: str) -> list[str]:
    """Return the words and characters of a text, without case, punctuation and compatibility forms; `[text]` if it has none.

    Combining marks belong to their letter: vowel signs do not divide a Hindi or an Arabic word.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _patterns()[0].findall(folded) or [folded]


def is_written_without_spaces(unit: str) -> bool:
    """Return whether the unit is a character of a script that writes no spaces between words."""
    return _patterns()[1].match(unit) is not None


@functools.cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return the pattern of a unit, and of a letter of a script without spaces."""
    runs = itertools.groupby(
        enumerate(c for c in range(LAST_MARK + 1) if unicodedata.category(chr(c))[0] == "M"), lambda at: at[1] - at[0]
    )
    marks = _character_ranges([(run[0][1], run[-1][1]) for run in (list(run) for _, run in runs)])
    unspaced = _character_ranges(SCRIPTS_WITHOUT_SPACES)
    character = rf"(?=\w)[{unspaced}]"
    word = rf"[^\W{unspaced}]+(?:[{marks}]+[^\W{unspaced}]*)*"
    return re.compile(rf"{character}[{marks}]*|{word}"), re.compile(character)


def _character_ranges(bounds: Sequence[tuple[int, int]]) -> str:
    return "".join(rf"\U{low:08x}-\U{high:08x}" for low, high in bounds)
