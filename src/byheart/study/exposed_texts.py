"""Token views of audited texts for the report: log-probability of each token under fine-tuned and base model.

A report contains texts only on request. Private values that the data set names are masked unless the user requests them
too. If the data set cannot be read any more, the private values are unknown and no text is shown.
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
from byheart.core.row import without_initialized
from byheart.core.types import Row
from byheart.store.result_files import read_arrays, read_json
from byheart.store.rows import study_rows
from byheart.store.store import Store
from byheart.study.stored_split import restore_split

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Attributes = Mapping[str, Mapping[str, str]]


def token_view_reader(
    store: Store, study: str | None, *, show_private: bool
) -> Callable[[Row, Sequence[int]], list[TokenView]]:
    """Return a function from a row and positions of audited texts to their token views under the row's model.

    `show_private` leaves private values unmasked. Else the function raises `DataError` if the data set cannot be read.
    """
    rows = [r for r in without_initialized(study_rows(store, study)) if r.scores]

    @functools.cache
    def evidence(scores: str) -> dict[str, str]:
        return store.recipe("scores", scores)["recipe"]["evidence"]

    @functools.cache
    def private_values(texts: str) -> Attributes:
        return {} if show_private else _attributes(store, texts)

    @functools.cache
    def tokenizer(base: str) -> PreTrainedTokenizerBase:
        from byheart.lm.load import load_tokenizer

        return load_tokenizer(base)

    def evidence_at(row: Row, epoch: float | None, name: str) -> str | None:
        """Return the key of an observation of a row's model at an epoch, from any attack that used it."""
        model_rows = [
            r for r in rows if (r.cell, r.epoch, r.dataset_settings) == (row.cell, epoch, row.dataset_settings)
        ]
        return next((k for r in model_rows if (k := evidence(r.scores).get(name)) and store.has("evidence", k)), None)

    def texts(row: Row, positions: Sequence[int]) -> list[TokenView]:
        target = evidence_at(row, row.epoch, "target")
        if target is None:
            return []
        inputs = store.recipe("evidence", target)["recipe"]["inputs"]["tokens"]
        tokens = read_arrays(store.folder("tokens", key_of(inputs)))
        tuned = read_arrays(store.folder("evidence", target))
        base_key = evidence_at(row, row.epoch, "base") or evidence_at(row, 0, "target")
        base = read_arrays(store.folder("evidence", base_key)) if base_key and base_key != target else None
        ids = list(_ids(store, row.scores))

        def view(i: int) -> TokenView:
            token_ids = tokens["ids"][tokens["starts"][i] + tokens["first"][i] : tokens["starts"][i + 1]].tolist()
            base_logprobs = None if base is None else _text_logprobs(base, i)
            private = private_values(inputs["texts"]).get(ids[i], {})
            pieces = token_pieces(token_ids, tokenizer(row.base))
            return token_view(pieces, _text_logprobs(tuned, i), base_logprobs, private)

        return [view(i) for i in positions]

    return texts


def _ids(store: Store, scores: str) -> Sequence[str]:
    return read_arrays(store.folder("scores", scores))["ids"].tolist()


def _text_logprobs(evidence: Mapping[str, np.ndarray], i: int) -> np.ndarray:
    return evidence["logp"][evidence["starts"][i] : evidence["starts"][i + 1]]


def _attributes(store: Store, texts: str) -> Attributes:
    """Return the private values by id of the audited texts with this digest, from the data set of their split."""
    problems: list[str] = []
    for folder in sorted((store.root / "splits").iterdir()):
        dataset: dict[str, Any] = store.recipe("splits", folder.name)["recipe"]["dataset"]
        try:
            examples = choose("datasets", dataset["name"], dataset["settings"])()
            split = restore_split(examples, read_json(folder / "split.json"))
        except (ByheartError, OSError, KeyError) as error:
            problems.append(f"{dataset['name']} ({' '.join(str(error).split())[:100]})")
            continue
        if split.audited.digest == texts:
            return dict(zip(examples.texts.ids, examples.attributes, strict=True))
    problem = "; ".join(problems) or "its texts differ from the texts of the split"
    raise DataError(
        f"--show-text: private values cannot be masked because the data set cannot be read: {problem}. "
        "Restore the data set, or add --show-private."
    )
