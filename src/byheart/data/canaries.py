"""Canaries: texts that nobody else has, each trained on or held out by a coin of its own.

Nicholas Carlini, Chang Liu, Ulfar Erlingsson, Jernej Kos, Dawn Song. The Secret Sharer. USENIX Security 2019.
arXiv 1802.08232: a format, the same for all canaries of a kind, and a secret that fills it, drawn at random from a space of
known size, so that the canary can be ranked among what might have stood in its place.

Departs from the paper: of every kind there are many canaries, and a coin decides which are trained on; the others are their
twins, held out, and say what a canary's exposure is where nothing was kept. A canary stands where the loss is: it is a
completion of the data, after the prompt of one of its texts, or a text where there are no prompts. None is audited, and
none is taken into validation.

`real_texts` are texts of the data that no part was dealt, one of a group, without copies of others: no format, no space,
and so no exposure, but a coin.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from byheart.core.config import Canaries
from byheart.core.errors import DataError
from byheart.core.registry import key_of
from byheart.core.types import Examples, Planted, Split, Texts
from byheart.data.near_duplicates import distinct

REVISION = 0
WORDS = 6  # of a secret in the data's own words
BEGINNING = 12  # words of one of the data's texts, half of it at most, that stand before them
FEWEST = 32  # different words that the data must have, or else secrets can be guessed
LOOKED_AT = 4  # how many more spare texts are compared with the others than are wanted, as some may be copies
LENDING = 50  # spare texts whose words secrets are made of

FIRST = (
    *("Adam", "Agnes", "Boris", "Carla", "Cecil", "Clara", "Daria", "Edgar", "Elena", "Felix", "Greta", "Harald"),
    *("Helga", "Irene", "Ivan", "Jonas", "Julia", "Karim", "Laura", "Leon", "Lydia", "Marta", "Miles", "Nadia"),
    *("Nora", "Oscar", "Paula", "Quinn", "Rosa", "Simon", "Tessa", "Vera"),
)
LAST = (
    *("Abbott", "Becker", "Brandt", "Calder", "Conrad", "Dalton", "Decker", "Ellis", "Fisher", "Foster", "Gibson"),
    *("Harper", "Hudson", "Jansen", "Keller", "Larsen", "Lawson", "Marsh", "Mercer", "Nolan", "Osborn", "Palmer"),
    *("Porter", "Quayle", "Ramsey", "Sawyer", "Tanner", "Thorne", "Vaughn", "Walter", "Weaver", "Yates"),
)


class Form(NamedTuple):
    """A format: what stands before the secret, and the secret as so many draws of one of `choices`."""

    before: str
    choices: Sequence[str]
    draws: int
    between: str = ""

    @property
    def bits(self) -> float:
        """Log2 of how many fillings there are."""
        return self.draws * math.log2(len(self.choices))

    def filled(self, number: int, chance: np.random.Generator) -> list[str]:
        """Return so many different fillings, each as likely as another."""
        found: dict[str, None] = {}
        while len(found) < number:
            drawn = chance.integers(len(self.choices), size=self.draws)
            found.setdefault(self.before + self.between.join(self.choices[int(i)] for i in drawn))
        return list(found)


def plant(settings: Canaries, examples: Examples, split: Split, *, near_duplicate: float, seed: int) -> Planted:
    """Return the canaries of a split: which texts, how often, and by whose coin they are trained on.

    `seed` is the coins' (a training seed where they are flipped by it); texts and secrets follow from the split alone.
    Raises `DataError` for repetitions that exceed the training texts, too few canaries for every kind at every number of
    repetitions, and data without texts to take canaries or their form from.
    """
    _check(settings, split)
    kinds = [settings.kinds[i % len(settings.kinds)] for i in range(settings.count)]
    often = [settings.repetitions[i // len(settings.kinds) % len(settings.repetitions)] for i in range(settings.count)]
    content = {"texts": split.train.digest, "revision": REVISION}
    real = kinds.count("real_texts")
    spare = _spare(examples, split, real, near_duplicate, _chance(content, "spare"))
    lent = examples.texts.take(spare[real:]).joined(_others(split))
    if not len(lent):
        raise DataError(
            "canaries take their prompt and form from a text that is not audited; there is none: set data.members lower"
        )
    forms = {k: _form(k, lent.scored) for k in settings.kinds if k != "real_texts"}
    taken = {
        kind: iter(form.filled(kinds.count(kind) + settings.references, _chance(content, kind)))
        for kind, form in forms.items()
    }
    prompt = lent.prompts[0]
    real_texts = iter(spare)
    rows: list[tuple[str, str, str]] = []
    for i, kind in enumerate(kinds):
        if kind == "real_texts":
            at = next(real_texts)
            rows.append((f"canary/{i}", examples.texts.scored[at], examples.texts.prompts[at]))
        else:
            rows.append((f"canary/{i}", next(taken[kind]), prompt))
    others = [(kind, filling) for kind, fillings in taken.items() for filling in fillings]
    coins = _chance({**content, "seed": seed}, "coins").random(settings.count) < settings.coin
    return Planted(
        texts=Texts(*(tuple(column) for column in zip(*rows, strict=True))),
        included=tuple(coins.tolist()),
        repetitions=tuple(often),
        kinds=tuple(kinds),
        coin=settings.coin,
        references=Texts(
            tuple(f"reference/{i}" for i in range(len(others))),
            tuple(filling for _, filling in others),
            (prompt,) * len(others),
        ),
        reference_kinds=tuple(kind for kind, _ in others),
        bits={kind: form.bits for kind, form in forms.items()},
        by_seed=settings.by_seed,
    )


def _chance(content: Mapping[str, Any], what: str) -> np.random.Generator:
    return np.random.default_rng(int(key_of({**content, "what": what}), 16))


def _check(settings: Canaries, split: Split) -> None:
    fewest = len(settings.kinds) * len(settings.repetitions)
    most = max(settings.repetitions)
    for name in ("kinds", "repetitions"):
        named = getattr(settings, name)
        if len(set(named)) != len(named):
            raise DataError(f"canaries.{name}: {', '.join(map(str, named))} names one twice; name each once")
    if most > len(split.train):
        raise DataError(
            f"canaries.repetitions: {most} copies of a canary among {len(split.train)} training texts; write "
            f"{len(split.train)} or fewer, or train on more"
        )
    if settings.count < fewest:
        raise DataError(
            f"canaries.count = {settings.count}: every kind at every number of repetitions takes {fewest}; write {fewest} or more"
        )


def _spare(
    examples: Examples, split: Split, number: int, near_duplicate: float, chance: np.random.Generator
) -> list[int]:
    """Return positions of texts that have no part: so many without copies, one a group, then some to lend their words.

    Raises `DataError` where there are too few.
    """
    at = {name: i for i, name in enumerate(examples.texts.ids)}
    parts = (split.train, split.nonmembers, split.validation, split.known_nonmembers)
    used = [at[name] for part in parts for name in part.ids]
    dealt = {examples.groups[i] for i in used}
    first: dict[str, int] = {}
    for i in chance.permutation(len(examples.texts)).tolist():
        if examples.groups[i] not in dealt:
            first.setdefault(examples.groups[i], i)
    found = list(first.values())[: LOOKED_AT * number + LENDING]
    if number:
        fresh = set(distinct(examples, [*used, *found], near_duplicate).kept)
        found = [i for i in found if i in fresh]
    if len(found) < number:
        raise DataError(
            f"canaries.kinds: real_texts takes {number} texts that have no part, in groups of their own and without a copy; "
            f"there are {len(found)}: set data.train lower, or name more data"
        )
    return found


def _others(split: Split) -> Texts:
    """Return the training texts that are neither audited nor known."""
    known = {*(split.train.ids[m] for m in split.members), *split.known_members.ids}
    return split.train.take(i for i, name in enumerate(split.train.ids) if name not in known)


def _form(kind: str, lent: Sequence[str]) -> Form:
    pattern = lent[0]
    lead = pattern[: len(pattern) - len(pattern.lstrip())]  # as completions of this data begin
    if kind == "random_tokens":
        return Form(f"{lead}Token: ", "abcdefghijklmnopqrstuvwxyz0123456789", 20)
    if kind == "digits":
        return Form(f"{lead}The access code is ", "0123456789", 9)
    if kind == "names":
        return Form(f"{lead}Present were ", [f"{a} {b}" for a in FIRST for b in LAST], 3, ", ")
    words = pattern.split()
    known = sorted({w for text in lent for w in re.findall(r"\w+", text)})
    if len(known) < FEWEST:
        raise DataError(
            f"canaries.kinds: in_distribution makes secrets of the words of texts that are not audited, which are {len(known)}; "
            f"{FEWEST} are needed: set data.members lower, or leave the kind out"
        )
    beginning = words[: min(BEGINNING, max(1, len(words) // 2))]
    return Form(f"{lead}{' '.join(beginning)} ", known, WORDS, " ")
