"""Canaries: synthetic texts that a fair coin includes in the training data or holds out, one coin per canary.

Nicholas Carlini, Chang Liu, Ulfar Erlingsson, Jernej Kos, Dawn Song. The Secret Sharer. USENIX Security 2019.
arXiv 1802.08232: all canaries of a kind share a format, and each is filled with a secret, drawn at random from a space of
known size, so that the canary can be ranked among other fillings of the format.

Departs from the paper: there are many canaries of every kind, and a coin decides which are trained on. The held-out ones
show a canary's exposure without memorization. Canaries are placed where the loss is: a canary is a completion after the
prompt of one of the data's texts, or a whole text if the data have no prompts. Canaries are not audited and not in the
validation texts.

`real_texts` canaries are unused texts of the data, one per group and without copies of other texts. They have a coin, but no
format and no space, and so no exposure.
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
from byheart.core.split import Examples, PlantedCanaries, Split
from byheart.core.types import Texts
from byheart.data.near_duplicates import distinct_positions

REVISION = 0
SECRET_WORDS = 6  # words of an in_distribution secret
LEAD_IN_WORDS = 12  # maximum words before the secret, from one of the data's texts and at most half of it
MIN_VOCABULARY = 32  # minimum number of distinct words in the data; with fewer, secrets can be guessed
SPARE_CANDIDATES_FACTOR = 4  # unused texts compared with the others, per required text, because some can be copies
VOCABULARY_TEXTS = 50  # unused texts that provide the words of secrets

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
    """A format: a prefix, then a secret of `secret_length` random elements of `choices`."""

    prefix: str
    choices: Sequence[str]
    secret_length: int
    separator: str = ""

    @property
    def bits(self) -> float:
        """Log2 of the number of possible secrets."""
        return self.secret_length * math.log2(len(self.choices))

    def sample_texts(self, count: int, rng: np.random.Generator) -> list[str]:
        """Return `count` distinct texts of this format, drawn uniformly."""
        texts: dict[str, None] = {}
        while len(texts) < count:
            indices = rng.integers(len(self.choices), size=self.secret_length)
            texts.setdefault(self.prefix + self.separator.join(self.choices[int(i)] for i in indices))
        return list(texts)


def plant_canaries(
    settings: Canaries, examples: Examples, split: Split, *, near_duplicate: float, seed: int
) -> PlantedCanaries:
    """Return the canaries of a split: their texts, repetitions, and coins.

    `seed` seeds the coins (the training seed if `by_seed` is set); texts and secrets depend on the split only. Raises
    `DataError` if repetitions exceed the number of training texts, if there are too few canaries for every kind at every
    number of repetitions, and if the data have too few unused texts.
    """
    _check_settings(settings, split)
    kinds = [settings.kinds[i % len(settings.kinds)] for i in range(settings.count)]
    repetitions = [
        settings.repetitions[i // len(settings.kinds) % len(settings.repetitions)] for i in range(settings.count)
    ]
    content = {"texts": split.train.digest, "revision": REVISION}
    real_count = kinds.count("real_texts")
    spare = _spare_positions(examples, split, real_count, near_duplicate, _rng(content, "spare"))
    source_texts = examples.texts.take(spare[real_count:]).joined(_unaudited_training_texts(split))
    if not len(source_texts):
        raise DataError(
            "canaries: all texts are audited, but a canary needs the prompt and the words of an unaudited text. "
            "Lower data.members."
        )
    formats = {k: format_of_kind(k, source_texts.scored) for k in settings.kinds if k != "real_texts"}
    samples = {
        kind: iter(canary_format.sample_texts(kinds.count(kind) + settings.references, _rng(content, kind)))
        for kind, canary_format in formats.items()
    }
    prompt = source_texts.prompts[0]
    real_positions = iter(spare)
    rows: list[tuple[str, str, str]] = []
    for i, kind in enumerate(kinds):
        if kind == "real_texts":
            position = next(real_positions)
            rows.append((f"canary/{i}", examples.texts.scored[position], examples.texts.prompts[position]))
        else:
            rows.append((f"canary/{i}", next(samples[kind]), prompt))
    references = [(kind, text) for kind, texts in samples.items() for text in texts]
    coins = _rng({**content, "seed": seed}, "coins").random(settings.count) < settings.coin
    return PlantedCanaries(
        texts=Texts(*(tuple(column) for column in zip(*rows, strict=True))),
        included=tuple(coins.tolist()),
        repetitions=tuple(repetitions),
        kinds=tuple(kinds),
        coin=settings.coin,
        references=Texts(
            tuple(f"reference/{i}" for i in range(len(references))),
            tuple(text for _, text in references),
            (prompt,) * len(references),
        ),
        reference_kinds=tuple(kind for kind, _ in references),
        bits={kind: canary_format.bits for kind, canary_format in formats.items()},
        by_seed=settings.by_seed,
    )


def _rng(content: Mapping[str, Any], purpose: str) -> np.random.Generator:
    return np.random.default_rng(int(key_of({**content, "what": purpose}), 16))


def _check_settings(settings: Canaries, split: Split) -> None:
    min_count = len(settings.kinds) * len(settings.repetitions)
    max_repetitions = max(settings.repetitions)
    for name in ("kinds", "repetitions"):
        values = getattr(settings, name)
        if len(set(values)) != len(values):
            raise DataError(
                f"canaries.{name}: {', '.join(map(str, values))} contains a value twice. Write each value once."
            )
    if max_repetitions > len(split.train):
        raise DataError(
            f"canaries.repetitions: {max_repetitions} copies of a canary exceed the {len(split.train)} training texts. "
            f"Write {len(split.train)} or fewer, or raise data.train."
        )
    if settings.count < min_count:
        raise DataError(
            f"canaries.count = {settings.count}: every kind at every number of repetitions requires {min_count} canaries. "
            f"Write {min_count} or more."
        )


def _spare_positions(
    examples: Examples, split: Split, count: int, near_duplicate: float, rng: np.random.Generator
) -> list[int]:
    """Return positions of unused texts, one per group: the first `count` are canaries, the others provide words.

    With a `count`, none of them has a copy. Raises `DataError` for fewer than `count`.
    """
    position_of = {text_id: i for i, text_id in enumerate(examples.texts.ids)}
    parts = (split.train, split.nonmembers, split.validation, split.known_nonmembers)
    used = [position_of[text_id] for part in parts for text_id in part.ids]
    used_groups = {examples.groups[i] for i in used}
    first_of_group: dict[str, int] = {}
    for i in rng.permutation(len(examples.texts)).tolist():
        if examples.groups[i] not in used_groups:
            first_of_group.setdefault(examples.groups[i], i)
    spare = list(first_of_group.values())[: SPARE_CANDIDATES_FACTOR * count + VOCABULARY_TEXTS]
    if count:
        distinct = set(distinct_positions(examples, [*used, *spare], near_duplicate).positions)
        spare = [i for i in spare if i in distinct]
    if len(spare) < count:
        raise DataError(
            f"canaries.kinds: real_texts requires {count} unused texts of different unused groups and without copies, "
            f"but the data set has {len(spare)}. Lower data.train, or add data."
        )
    return spare


def _unaudited_training_texts(split: Split) -> Texts:
    """Return the training texts that are neither audited nor known."""
    excluded = {*(split.train.ids[m] for m in split.members), *split.known_members.ids}
    return split.train.take(i for i, text_id in enumerate(split.train.ids) if text_id not in excluded)


def format_of_kind(kind: str, source_texts: Sequence[str]) -> CanaryFormat:
    """Return the format of a kind of canary; the first of `source_texts` lends the white space and words before a secret.

    Raises `DataError` for in_distribution canaries and texts with few distinct words.
    """
    example = source_texts[0]
    lead = example[: len(example) - len(example.lstrip())]  # the white space before completions of these data
    if kind == "random_tokens":
        return CanaryFormat(f"{lead}Token: ", "abcdefghijklmnopqrstuvwxyz0123456789", 20)
    if kind == "digits":
        return CanaryFormat(f"{lead}The access code is ", "0123456789", 9)
    if kind == "names":
        return CanaryFormat(f"{lead}Present were ", [f"{a} {b}" for a in FIRST_NAMES for b in LAST_NAMES], 3, ", ")
    words = example.split()
    vocabulary = sorted({w for text in source_texts for w in re.findall(r"\w+", text)})
    if len(vocabulary) < MIN_VOCABULARY:
        raise DataError(
            f"canaries.kinds: in_distribution requires {MIN_VOCABULARY} distinct words in unaudited texts, but the data set has "
            f"{len(vocabulary)}. Lower data.members, or leave out in_distribution."
        )
    lead_in = words[: min(LEAD_IN_WORDS, max(1, len(words) // 2))]
    return CanaryFormat(f"{lead}{' '.join(lead_in)} ", vocabulary, SECRET_WORDS, " ")
