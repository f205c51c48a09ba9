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
from byheart.core.types import Examples, PlantedCanaries, Split, Texts
from byheart.data.near_duplicates import distinct_positions

REVISION = 0
SECRET_WORDS = 6  # of a secret in the data's own words
LEAD_IN_WORDS = 12  # words of one of the data's texts, half of it at most, that stand before them
MIN_VOCABULARY = 32  # different words that the data must have, or else secrets can be guessed
SPARE_CANDIDATES_FACTOR = (
    4  # how many more spare texts are compared with the others than are wanted, as some may be copies
)
VOCABULARY_TEXTS = 50  # spare texts whose words secrets are made of

FIRST_NAMES = (
    *("Adam", "Agnes", "Boris", "Carla", "Cecil", "Clara", "Daria", "Edgar", "Elena", "Felix", "Greta", "Harald"),
    *("Helga", "Irene", "Ivan", "Jonas", "Julia", "Karim", "Laura", "Leon", "Lydia", "Marta", "Miles", "Nadia"),
    *("Nora", "Oscar", "Paula", "Quinn", "Rosa", "Simon", "Tessa", "Vera"),
)
LAST_NAMES = (
    *("Abbott", "Becker", "Brandt", "Calder", "Conrad", "Dalton", "Decker", "Ellis", "Fisher", "Foster", "Gibson"),
    *("Harper", "Hudson", "Jansen", "Keller", "Larsen", "Lawson", "Marsh", "Mercer", "Nolan", "Osborn", "Palmer"),
    *("Porter", "Quayle", "Ramsey", "Sawyer", "Tanner", "Thorne", "Vaughn", "Walter", "Weaver", "Yates"),
)


class CanaryFormat(NamedTuple):
    """A format: what stands before the secret, and the secret as so many draws of one of `choices`."""

    prefix: str
    choices: Sequence[str]
    secret_length: int
    separator: str = ""

    @property
    def bits(self) -> float:
        """Log2 of how many fillings there are."""
        return self.secret_length * math.log2(len(self.choices))

    def sample_texts(self, count: int, rng: np.random.Generator) -> list[str]:
        """Return so many different fillings, each as likely as another."""
        found: dict[str, None] = {}
        while len(found) < count:
            drawn = rng.integers(len(self.choices), size=self.secret_length)
            found.setdefault(self.prefix + self.separator.join(self.choices[int(i)] for i in drawn))
        return list(found)


def plant_canaries(
    settings: Canaries, examples: Examples, split: Split, *, near_duplicate: float, seed: int
) -> PlantedCanaries:
    """Return the canaries of a split: which texts, how often, and by whose coin they are trained on.

    `seed` is the coins' (a training seed where they are flipped by it); texts and secrets follow from the split alone.
    Raises `DataError` for repetitions that exceed the training texts, too few canaries for every kind at every number of
    repetitions, and data without texts to take canaries or their form from.
    """
    _check_settings(settings, split)
    kinds = [settings.kinds[i % len(settings.kinds)] for i in range(settings.count)]
    often = [settings.repetitions[i // len(settings.kinds) % len(settings.repetitions)] for i in range(settings.count)]
    content = {"texts": split.train.digest, "revision": REVISION}
    real = kinds.count("real_texts")
    spare = _spare_positions(examples, split, real, near_duplicate, _rng(content, "spare"))
    lent = examples.texts.take(spare[real:]).joined(_unaudited_training_texts(split))
    if not len(lent):
        raise DataError(
            "canaries take their prompt and form from a text that is not audited; there is none: set data.members lower"
        )
    forms = {k: _canary_format(k, lent.scored) for k in settings.kinds if k != "real_texts"}
    taken = {
        kind: iter(form.sample_texts(kinds.count(kind) + settings.references, _rng(content, kind)))
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
    coins = _rng({**content, "seed": seed}, "coins").random(settings.count) < settings.coin
    return PlantedCanaries(
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


def _rng(content: Mapping[str, Any], what: str) -> np.random.Generator:
    return np.random.default_rng(int(key_of({**content, "what": what}), 16))


def _check_settings(settings: Canaries, split: Split) -> None:
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


def _spare_positions(
    examples: Examples, split: Split, count: int, near_duplicate: float, rng: np.random.Generator
) -> list[int]:
    """Return positions of texts that have no part: so many without copies, one a group, then some to lend their words.

    Raises `DataError` where there are too few.
    """
    at = {name: i for i, name in enumerate(examples.texts.ids)}
    parts = (split.train, split.nonmembers, split.validation, split.known_nonmembers)
    used = [at[name] for part in parts for name in part.ids]
    dealt = {examples.groups[i] for i in used}
    first: dict[str, int] = {}
    for i in rng.permutation(len(examples.texts)).tolist():
        if examples.groups[i] not in dealt:
            first.setdefault(examples.groups[i], i)
    found = list(first.values())[: SPARE_CANDIDATES_FACTOR * count + VOCABULARY_TEXTS]
    if count:
        fresh = set(distinct_positions(examples, [*used, *found], near_duplicate).positions)
        found = [i for i in found if i in fresh]
    if len(found) < count:
        raise DataError(
            f"canaries.kinds: real_texts takes {count} texts that have no part, in groups of their own and without a copy; "
            f"there are {len(found)}: set data.train lower, or name more data"
        )
    return found


def _unaudited_training_texts(split: Split) -> Texts:
    """Return the training texts that are neither audited nor known."""
    known = {*(split.train.ids[m] for m in split.members), *split.known_members.ids}
    return split.train.take(i for i, name in enumerate(split.train.ids) if name not in known)


def _canary_format(kind: str, source_texts: Sequence[str]) -> CanaryFormat:
    pattern = source_texts[0]
    lead = pattern[: len(pattern) - len(pattern.lstrip())]  # as completions of this data begin
    if kind == "random_tokens":
        return CanaryFormat(f"{lead}Token: ", "abcdefghijklmnopqrstuvwxyz0123456789", 20)
    if kind == "digits":
        return CanaryFormat(f"{lead}The access code is ", "0123456789", 9)
    if kind == "names":
        return CanaryFormat(f"{lead}Present were ", [f"{a} {b}" for a in FIRST_NAMES for b in LAST_NAMES], 3, ", ")
    words = pattern.split()
    known = sorted({w for text in source_texts for w in re.findall(r"\w+", text)})
    if len(known) < MIN_VOCABULARY:
        raise DataError(
            f"canaries.kinds: in_distribution makes secrets of the words of texts that are not audited, which are {len(known)}; "
            f"{MIN_VOCABULARY} are needed: set data.members lower, or leave the kind out"
        )
    beginning = words[: min(LEAD_IN_WORDS, max(1, len(words) // 2))]
    return CanaryFormat(f"{lead}{' '.join(beginning)} ", known, SECRET_WORDS, " ")
