"""The texts of records as a model read them, for a report whose reader asked for text: token by token, tuned against base.

Private values that the data set names are masked unless they are asked for too; where the data set cannot be read any
more, nobody knows what is private, and no text is given.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from byheart.analysis.exposed_records import TokenView
from byheart.analysis.token_view import token_pieces, token_view
from byheart.core.errors import ByheartError, DataError
from byheart.core.registry import choose, key_of
from byheart.core.types import Row
from byheart.store.rows import study_rows
from byheart.store.store import Store, read_arrays, read_json
from byheart.study.plan import restore_split

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Attributes = Mapping[str, Mapping[str, str]]


def token_view_reader(
    store: Store, study: str | None, *, show_private: bool
) -> Callable[[Row, Sequence[int]], list[TokenView]]:
    """Return the function that gives audited texts, by a row of scores and their positions, as the model of the row read them.

    `private` shows private values too. Raises `DataError` where they are to be masked and the data set cannot be read.
    """
    rows = [r for r in study_rows(store, study) if r.scores]

    @functools.cache
    def evidence(scores: str) -> dict[str, str]:
        return store.recipe("scores", scores)["recipe"]["evidence"]

    @functools.cache
    def known(texts: str) -> Attributes:
        return {} if show_private else _attributes(store, texts)

    @functools.cache
    def tokenizer(base: str) -> PreTrainedTokenizerBase:
        from byheart.lm.load import load_tokenizer as read

        return read(base)

    def of_epoch(row: Row, epoch: int | None, name: str) -> str | None:
        """The key of what was observed of a row's model at an epoch, through any attack that asked for it."""
        own = [r for r in rows if (r.cell, r.epoch, r.dataset_settings) == (row.cell, epoch, row.dataset_settings)]
        return next((k for r in own if (k := evidence(r.scores).get(name)) and store.has("evidence", k)), None)

    def texts(row: Row, positions: Sequence[int]) -> list[TokenView]:
        target = of_epoch(row, row.epoch, "target")
        if target is None:
            return []
        inputs = store.recipe("evidence", target)["recipe"]["inputs"]["tokens"]
        tokens = read_arrays(store.folder("tokens", key_of(inputs)))
        tuned = read_arrays(store.folder("evidence", target))
        before = of_epoch(row, row.epoch, "base") or of_epoch(row, 0, "target")
        base = read_arrays(store.folder("evidence", before)) if before and before != target else None
        names = list(_ids(store, row.scores))

        def read(i: int) -> TokenView:
            ids = tokens["ids"][tokens["starts"][i] + tokens["first"][i] : tokens["starts"][i + 1]].tolist()
            before = None if base is None else _text_logprobs(base, i)
            private = known(inputs["texts"]).get(names[i], {})
            return token_view(token_pieces(ids, tokenizer(row.base)), _text_logprobs(tuned, i), before, private)

        return [read(i) for i in positions]

    return texts


def _ids(store: Store, scores: str) -> Sequence[str]:
    return read_arrays(store.folder("scores", scores))["ids"].tolist()


def _text_logprobs(evidence: Mapping[str, np.ndarray], i: int) -> np.ndarray:
    return evidence["logp"][evidence["starts"][i] : evidence["starts"][i + 1]]


def _attributes(store: Store, texts: str) -> Attributes:
    """Return the private values of the texts of this digest by id, from the data set that they were dealt from."""
    wrong: list[str] = []
    for folder in sorted((store.root / "splits").iterdir()):
        named: dict[str, Any] = store.recipe("splits", folder.name)["recipe"]["dataset"]
        try:
            examples = choose("datasets", named["name"], named["settings"])()
            dealt = restore_split(examples, read_json(folder / "split.json"))
        except (ByheartError, OSError, KeyError) as error:
            wrong.append(f"{named['name']} ({' '.join(str(error).split())[:100]})")
            continue
        if dealt.audited.digest == texts:
            return dict(zip(examples.texts.ids, examples.attributes, strict=True))
    told = "; ".join(wrong) or "it is not the one that was dealt"
    raise DataError(
        f"private values cannot be masked, because the data set cannot be read any more: {told}; put it back, or write --show-private"
    )
