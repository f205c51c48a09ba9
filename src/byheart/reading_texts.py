"""The texts of records as a model read them, for a report whose reader asked for text: token by token, tuned against base.

Private values that the data set names are masked unless they are asked for too; where the data set cannot be read any
more, nobody knows what is private, and no text is given.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from byheart.errors import ByheartError, DataError
from byheart.exposed import Told, visible
from byheart.plan import rebuilt
from byheart.rows import study_rows
from byheart.shelf import choose, key_of
from byheart.store import Store, read_arrays, read_json
from byheart.types import Row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOST = 2000
"""Tokens of a text that are shown."""
HIDDEN = "▪"
SHORTEST = 3
"""Letters of a private value that are still masked where a text was cut within it."""
BROKEN = "\N{REPLACEMENT CHARACTER}"
LONGEST_LETTER = 8
"""Tokens that one letter may need."""

Attributes = Mapping[str, Mapping[str, str]]


def texts_of(store: Store, study: str | None, *, private: bool) -> Callable[[Row, Sequence[int]], list[Told]]:
    """Return the function that gives audited texts, by a row of scores and their positions, as the model of the row read them.

    `private` shows private values too. Raises `DataError` where they are to be masked and the data set cannot be read.
    """
    rows = [r for r in study_rows(store, study) if r.scores]

    @functools.cache
    def evidence(scores: str) -> dict[str, str]:
        return store.recipe("scores", scores)["recipe"]["evidence"]

    @functools.cache
    def known(texts: str) -> Attributes:
        return {} if private else _attributes(store, texts)

    @functools.cache
    def tokenizer(base: str) -> PreTrainedTokenizerBase:
        from byheart.lm.load import tokenizer as read

        return read(base)

    def of_epoch(row: Row, epoch: int | None, name: str) -> str | None:
        """The key of what was observed of a row's model at an epoch, through any attack that asked for it."""
        own = [r for r in rows if (r.cell, r.epoch, r.dataset_settings) == (row.cell, epoch, row.dataset_settings)]
        return next((k for r in own if (k := evidence(r.scores).get(name)) and store.has("evidence", k)), None)

    def told(row: Row, positions: Sequence[int]) -> list[Told]:
        target = of_epoch(row, row.epoch, "target")
        if target is None:
            return []
        inputs = store.recipe("evidence", target)["recipe"]["inputs"]["tokens"]
        tokens = read_arrays(store.folder("tokens", key_of(inputs)))
        tuned = read_arrays(store.folder("evidence", target))
        before = of_epoch(row, row.epoch, "base") or of_epoch(row, 0, "target")
        base = read_arrays(store.folder("evidence", before)) if before and before != target else None
        names = list(_ids(store, row.scores))
        return [
            _told(i, tokens, tuned, base, tokenizer(row.base), known(inputs["texts"]).get(names[i], {}))
            for i in positions
        ]

    return told


def _ids(store: Store, scores: str) -> Sequence[str]:
    return read_arrays(store.folder("scores", scores))["ids"].tolist()


def _told(
    i: int,
    tokens: Mapping[str, np.ndarray],
    tuned: Mapping[str, np.ndarray],
    base: Mapping[str, np.ndarray] | None,
    tokenizer: PreTrainedTokenizerBase,
    private: Mapping[str, str],
) -> Told:
    ids = tokens["ids"][tokens["starts"][i] + tokens["first"][i] : tokens["starts"][i + 1]].tolist()
    parts = list(_pieces(ids, tokenizer))
    strings, masked = mask([s for s, _ in parts], private)
    edges = np.cumsum([0, *(n for _, n in parts)])[:-1]

    def surprise(stats: Mapping[str, np.ndarray]) -> list[float]:
        own = stats["logp"][stats["starts"][i] : stats["starts"][i + 1]]
        return [float(f"{v:.3g}") for v in np.add.reduceat(own, edges)[:MOST]]

    cut = f"The first {MOST:,} of {len(parts):,} tokens. " if len(parts) > MOST else ""
    hidden = "Private values that the data set names are masked. " if masked else ""
    return Told(
        [visible(s) for s in strings[:MOST]],
        [m for m in masked if m < MOST],
        surprise(tuned),
        None if base is None else surprise(base),
        (cut + hidden).strip(),
    )


def _pieces(ids: list[int], tokenizer: PreTrainedTokenizerBase) -> list[tuple[str, int]]:
    """Return the strings of tokens with how many tokens each is: a letter of several tokens is one piece."""
    found: list[tuple[str, int]] = []
    at = 0
    while at < len(ids):
        for size in range(1, LONGEST_LETTER + 1):
            piece = str(tokenizer.decode(ids[at : at + size]))
            if BROKEN not in piece or at + size >= len(ids):
                break
        else:
            size, piece = 1, str(tokenizer.decode(ids[at : at + 1]))
        size = min(size, len(ids) - at)
        found.append((piece, size))
        at += size
    return found


def mask(pieces: Sequence[str], private: Mapping[str, str]) -> tuple[list[str], list[int]]:
    """Return the pieces of a text with every one that holds a letter of a private value replaced, and which these are.

    A value is found whatever its case, wherever it stands, and where the text ends within it.
    """
    text = "".join(pieces).casefold()
    same = len(text) == len("".join(pieces))  # casefolding may lengthen a text, and places would shift
    text = text if same else "".join(pieces)
    starts = np.cumsum([0, *map(len, pieces)])
    shown, masked = list(pieces), set[int]()
    for name, value in private.items():
        wanted = value.casefold() if same else value
        for low, high in _places(text, wanted):
            over = [i for i in range(len(pieces)) if starts[i] < high and starts[i + 1] > low]
            for nth, i in enumerate(over):
                shown[i] = f"[{name}]" if nth == 0 and i not in masked else HIDDEN if i not in masked else shown[i]
            masked.update(over)
    return shown, sorted(masked)


def _places(text: str, value: str) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    at = text.find(value) if value else -1
    while at >= 0:
        found.append((at, at + len(value)))
        at = text.find(value, at + 1)
    end = next((n for n in range(len(value) - 1, SHORTEST - 1, -1) if text.endswith(value[:n])), 0)
    return [*found, *([(len(text) - end, len(text))] if end else [])]


def _attributes(store: Store, texts: str) -> Attributes:
    """Return the private values of the texts of this digest by id, from the data set that they were dealt from."""
    wrong: list[str] = []
    for folder in sorted((store.root / "splits").iterdir()):
        named: dict[str, Any] = store.recipe("splits", folder.name)["recipe"]["dataset"]
        try:
            examples = choose("datasets", named["name"], named["settings"])()
            dealt = rebuilt(examples, read_json(folder / "split.json"))
        except (ByheartError, OSError, KeyError) as error:
            wrong.append(f"{named['name']} ({' '.join(str(error).split())[:100]})")
            continue
        if dealt.audited.digest == texts:
            return dict(zip(examples.texts.ids, examples.attributes, strict=True))
    told = "; ".join(wrong) or "it is not the one that was dealt"
    raise DataError(
        f"private values cannot be masked, because the data set cannot be read any more: {told}; put it back, or write --show-private"
    )
