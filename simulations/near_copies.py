"""How many near copies of a text does a split remove, by script, edit and length?

A data set has an original, an edited copy of it in another group, and texts of random words. The split removes the copy, or
the copy may become a non-member of which the original is a member. Random words share almost nothing, so a removed text is
the copy; texts without a copy measure wrong removals. "Shingles" is what the split removed before: a Jaccard index of
five-word shingles of at least 0.8, where words are divided by spaces and punctuation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from byheart.core.split import Examples
from byheart.core.types import Texts
from byheart.data.splitting import split
from simulations.pieces import Piece

LENGTHS = (10, 20, 50, 100, 200)
OTHERS = 8  # texts besides the original and its copy
VOCABULARY = 3000
SENTENCE = 10  # units; a shorter text has two sentences
COST = 50.0
REMOVED, SHINGLES = "removed by the split", "shingles"
Units = list[str]


class Script(NamedTuple):
    """A script: its letters, letters per unit, and the separators of units and sentences."""

    letters: str
    unit_letters: int
    space: str
    stop: str


SCRIPTS = {
    "Latin": Script("abcdefghijklmnopqrstuvwxyz", 5, " ", ". "),
    "Arabic": Script("ابتثجحخدذرزسشصضطظعغفقكلمنهوي", 5, " ", ". "),
    "Chinese": Script("".join(map(chr, range(0x4E00, 0x4E00 + VOCABULARY))), 1, "", "。"),
    "Japanese": Script("".join(map(chr, [*range(0x3042, 0x3094), *range(0x5000, 0x5000 + VOCABULARY)])), 1, "", "。"),
}


def pieces() -> Iterator[Piece]:
    for name, script in SCRIPTS.items():
        for edit in (*EDITS, NO_COPY):
            for length in LENGTHS:
                yield Piece("near copies", f"{name}, {edit}", length, _study(script, edit, length), COST)


def _study(script: Script, edit: str, length: int) -> Callable[[np.random.Generator], Mapping[str, bool]]:
    def study(chance: np.random.Generator) -> Mapping[str, bool]:
        vocabulary = _vocabulary(script, chance)
        texts = [_drawn(vocabulary, length, chance) for _ in range(OTHERS + 2)]
        original = _written(texts[0], script)
        copy = EDITS[edit](texts[0], script, vocabulary, chance) if edit != NO_COPY else _written(texts[1], script)
        strings = (original, copy, *(_written(text, script) for text in texts[2:]))
        order = chance.permutation(len(strings))
        ids = tuple(str(i) for i in range(len(strings)))
        examples = Examples(Texts(ids, tuple(strings[i] for i in order), ("",) * len(ids)), ("pool",) * len(ids), ids)
        found = split(examples, train=None, members=2, nonmembers=2, validation=1, seed=int(chance.integers(1 << 30)))
        removed = found.counts["near_duplicates_removed"] + found.counts["exact_duplicates_removed"]
        return {REMOVED: removed > 0, SHINGLES: _shingle_overlap(original, copy) >= 0.8}

    return study


def _vocabulary(script: Script, chance: np.random.Generator) -> Units:
    letters = chance.choice([*script.letters], (VOCABULARY, script.unit_letters))
    return list(dict.fromkeys("".join(row) for row in letters))


def _drawn(vocabulary: Units, length: int, chance: np.random.Generator) -> Units:
    """Return units by Zipf's law: the unit of rank r is drawn in proportion to 1 / (r + 10)."""
    weights = 1 / (np.arange(len(vocabulary)) + 10)
    return [vocabulary[i] for i in chance.choice(len(vocabulary), length, p=weights / weights.sum())]


def _sentences(units: Units) -> list[Units]:
    size = min(SENTENCE, len(units) // 2)
    return [units[i : i + size] for i in range(0, len(units), size)]


def _written(units: Units, script: Script) -> str:
    return script.stop.join(script.space.join(sentence) for sentence in _sentences(units)) + script.stop.rstrip()


def _changed(units: Units, script: Script, vocabulary: Units, chance: np.random.Generator) -> str:
    at = int(chance.integers(len(units)))
    return _written([*units[:at], _other(units[at], vocabulary, chance), *units[at + 1 :]], script)


def _inserted(units: Units, script: Script, vocabulary: Units, chance: np.random.Generator) -> str:
    at = int(chance.integers(len(units) + 1))
    return _written([*units[:at], _other("", vocabulary, chance), *units[at:]], script)


def _deleted(units: Units, script: Script, vocabulary: Units, chance: np.random.Generator) -> str:
    del vocabulary
    at = int(chance.integers(len(units)))
    return _written([*units[:at], *units[at + 1 :]], script)


def _swapped(units: Units, script: Script, vocabulary: Units, chance: np.random.Generator) -> str:
    """Return the text with two neighboring sentences in the other order."""
    del vocabulary
    sentences = _sentences(units)
    at = int(chance.integers(len(sentences) - 1))
    sentences[at : at + 2] = reversed(sentences[at : at + 2])
    return script.stop.join(script.space.join(s) for s in sentences) + script.stop.rstrip()


def _contained(units: Units, script: Script, vocabulary: Units, chance: np.random.Generator) -> str:
    """Return a text three times as long that contains the text."""
    before, after = (_written(_drawn(vocabulary, len(units), chance), script) for _ in range(2))
    return f"{before} {_written(units, script)} {after}"


def _recased(units: Units, script: Script, vocabulary: Units, chance: np.random.Generator) -> str:
    """Return the text in upper case, with a comma after every fifth unit."""
    del vocabulary, chance
    commas = [unit + ("," if i % 5 == 4 else "") for i, unit in enumerate(units)]
    return script.space.join(commas).upper()


def _other(unit: str, vocabulary: Units, chance: np.random.Generator) -> str:
    drawn = unit
    while drawn == unit:
        drawn = vocabulary[int(chance.integers(len(vocabulary)))]
    return drawn


NO_COPY = "no copy"
EDITS = {
    "one unit changed": _changed,
    "one unit inserted": _inserted,
    "one unit deleted": _deleted,
    "two sentences swapped": _swapped,
    "contained in a longer text": _contained,
    "case and commas": _recased,
}


def _shingle_overlap(first: str, second: str) -> float:
    one, other = (_word_shingles(text.casefold()) for text in (first, second))
    return len(one & other) / len(one | other)


def _word_shingles(text: str) -> frozenset[str]:
    words = re.findall(r"\w+", text)
    return frozenset(" ".join(words[i : i + 5]) for i in range(max(1, len(words) - 4)))
