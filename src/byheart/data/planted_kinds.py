"""Canaries of each kind for records of any shape.

The kinds with a format are those of `byheart.data.canaries`; their canaries all follow one record, which lends its prompt and all
other fields, because exposure ranks a canary among other fillings of the same format. Three kinds have no fixed format:

- `high_perplexity` and `synthetic` are written by the base model (`byheart.auditing.canaries.writer`). High-perplexity canaries also
  follow one record, and each is a uniform draw from one set of texts, so they have an exposure. Synthetic ones follow a record each.
- `real_texts` are records of the data themselves, without near duplicates.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from byheart.core.errors import DataError
from byheart.core.registry import key_of
from byheart.core.split import Examples
from byheart.core.types import Texts
from byheart.data.canaries import LEAD_IN_WORDS, MIN_VOCABULARY, VOCABULARY_TEXTS, CanaryFormat, format_of_kind
from byheart.data.canary_records import Record, parsed, scored_text, with_scored_text
from byheart.data.near_duplicates import CHUNK, NearDuplicateSearch, normalized_text
from byheart.data.plant_settings import PlantSettings
from byheart.data.records import ParsedRecord

SPARE_TEXTS = 8  # written texts in addition to a quarter, because some can be empty or equal


class Writer(Protocol):
    """Writes texts with the base model."""

    @property
    def name(self) -> str:
        """Name of the model."""
        ...

    @property
    def bits(self) -> float:
        """Log2 of the number of high-perplexity texts after one prompt."""
        ...

    def __call__(self, kind: str, hosts: Sequence[ParsedRecord], leads: Sequence[str], seed: int) -> Sequence[str]:
        """Return a text per host, which begins with its lead; "" where the model wrote nothing usable."""
        ...


class Samples(NamedTuple):
    """Canaries of a kind (record, and its position in the data for real texts), references, and log2 of the number of fillings."""

    canaries: list[tuple[Record, int | None]]
    references: list[Record]
    bits: float = 0.0


@dataclasses.dataclass(frozen=True)
class CanaryDraw:
    """Draws the canaries of a kind from records; all random numbers follow from `content` and a purpose."""

    records: Sequence[Record]
    settings: PlantSettings
    field_names: Mapping[str, str]
    writer: Writer | None
    content: Mapping[str, Any]

    def generator(self, purpose: str) -> np.random.Generator:
        """Return the random generator of a purpose."""
        return np.random.default_rng(int(key_of({**self.content, "what": purpose}), 16))

    def samples(self, kind: str, count: int) -> Samples:
        """Return `count` canaries of a kind. Raises `DataError` if the data or the model cannot provide them."""
        if kind == "real_texts":
            return Samples([(self.records[i], i) for i in self._distinct_records(count)], [])
        order = self.generator("host").permutation(len(self.records)).tolist()[:VOCABULARY_TEXTS]
        host = order[0]
        if kind == "synthetic":
            hosts = self.generator("hosts").integers(len(self.records), size=_spare(count)).tolist()
            return Samples([(record, None) for record in self._written(kind, hosts, count)], [])
        needed = count + self.settings.references
        if kind == "high_perplexity":
            written = self._written(kind, [host] * _spare(needed), needed)
            bits = 0.0 if self.writer is None else self.writer.bits
            return Samples([(r, None) for r in written[:count]], written[count:], bits)
        filling = self._format(kind, order)
        texts = filling.sample_texts(needed, self.generator(kind))
        filled = [with_scored_text(self._location(host), self.records[host], t, self.field_names) for t in texts]
        return Samples([(record, None) for record in filled[:count]], list(filled[count:]), filling.bits)

    def _format(self, kind: str, positions: Sequence[int]) -> CanaryFormat:
        """Return the format of a kind, with the words of the records at these positions, the first of which is the host."""
        source_texts = [scored_text(self._location(i), self.records[i], self.field_names) for i in positions]
        try:
            return format_of_kind(kind, source_texts)
        except DataError as error:
            raise DataError(
                f"canaries {kind}: the data have fewer than {MIN_VOCABULARY} distinct words. Add records, or leave out this kind."
            ) from error

    def _written(self, kind: str, hosts: Sequence[int], needed: int) -> list[Record]:
        """Return the first `needed` distinct records that the base model writes after these records' prompts."""
        assert self.writer is not None  # noqa: S101 - checked before any draw
        contents = [parsed(self._location(i), self.records[i], self.field_names) for i in hosts]
        leads = [_lead(content) for content in contents]
        texts = self.writer(kind, contents, leads, int(self.generator(kind).integers(2**31)))
        distinct: dict[str, int] = {}
        for host, text in zip(hosts, texts, strict=True):
            if text.strip():
                distinct.setdefault(text, host)
        if len(distinct) < needed:
            raise DataError(
                f"canaries {kind}: the model wrote {len(distinct)} different texts, and {needed} are required. Raise "
                "--temperature, --least-likely or --written-tokens, or lower --count."
            )
        chosen = list(distinct.items())[:needed]
        return [with_scored_text(self._location(i), self.records[i], t, self.field_names) for t, i in chosen]

    def _distinct_records(self, count: int) -> list[int]:
        """Return positions of records without near duplicates elsewhere in the data."""
        candidates = self.generator("real_texts").permutation(len(self.records)).tolist()
        candidates = candidates[: min(len(candidates), 4 * count + 50)]
        spare = _without_near_duplicates(
            _examples(self.records, self.field_names), candidates, self.settings.near_duplicate
        )
        if len(spare) < count:
            raise DataError(
                f"canaries real_texts: {count} records without near duplicates are required, and {len(spare)} were found. "
                "Lower --count, or leave out real_texts."
            )
        return spare[:count]

    def _location(self, position: int) -> str:
        return f"record {position + 1}"


def _spare(count: int) -> int:
    return count + count // 4 + SPARE_TEXTS


def _lead(content: ParsedRecord) -> str:
    """Return the beginning that a written canary shares with its record: words of a text without a prompt, else white space."""
    text = content.text
    white_space = text[: len(text) - len(text.lstrip())]
    if content.messages or content.prompt:
        return white_space
    words = text.split()
    return white_space + " ".join(words[: min(LEAD_IN_WORDS, max(1, len(words) // 2))])


def _without_near_duplicates(examples: Examples, candidates: Sequence[int], threshold: float) -> list[int]:
    """Return the candidates without an exact or near duplicate anywhere in the data, in their order."""
    chosen = set(candidates)
    order = [*(i for i in range(len(examples.texts)) if i not in chosen), *candidates]
    search = NearDuplicateSearch([normalized_text(examples, i) for i in order], threshold)
    everything = np.arange(len(order))
    copied: set[int] = set()
    for start in range(len(order) - len(candidates), len(order), CHUNK):
        rows = everything[start : start + CHUNK]
        for pair in search.pairs(rows, everything[: start + CHUNK], everything):
            copied.update(order[i] for i in pair)
    return [i for i in candidates if i not in copied]


def _examples(records: Sequence[Record], field_names: Mapping[str, str]) -> Examples:
    """Return all records as examples of groups of their own."""
    ids = tuple(map(str, range(len(records))))
    texts = tuple(scored_text(f"record {i + 1}", r, field_names) for i, r in enumerate(records))
    prompts = tuple(parsed(f"record {i + 1}", r, field_names).prompt for i, r in enumerate(records))
    return Examples(Texts(ids, texts, prompts), ("pool",) * len(ids), ids)
