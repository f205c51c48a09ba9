"""The split of a data set, which is made once and stored as ids."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from byheart.core.registry import key_of
from byheart.core.split import Examples, Split
from byheart.core.types import digest
from byheart.data.group_sampling import has_groups
from byheart.data.near_duplicates import NEAR_DUPLICATES_REVISION
from byheart.data.splitting import GROUPED_REVISION
from byheart.store.result_files import read_json
from byheart.store.store import Store
from byheart.study.cell import Cell
from byheart.study.cell_split import cell_split


def stored_split(store: Store, cell: Cell, examples: Examples) -> Split:
    """Return the split of a data set; it is made once and stored as ids."""
    content_digest = digest([(examples.texts.digest,), examples.roles, examples.groups])
    others = {"max_tokens", "canaries", "end_token", "tokenization"}  # these do not change the split
    sizes = {f.name: getattr(cell.data, f.name) for f in dataclasses.fields(cell.data) if f.name not in others}
    revision = {"revision": GROUPED_REVISION} if has_groups(examples.groups) else {}
    revision["near_duplicates"] = NEAR_DUPLICATES_REVISION
    recipe = {"dataset": cell.dataset.recipe, "content": content_digest, "data": sizes, **revision}

    def make(folder: Path) -> None:
        settings = {n: v for n, v in sizes.items() if n != "split"}
        new_split = cell_split(cell, examples, settings)
        content = {
            "train": new_split.train.ids,
            "members": [int(m) for m in new_split.members],
            "nonmembers": new_split.nonmembers.ids,
            "validation": new_split.validation.ids,
            "known_members": new_split.known_members.ids,
            "known_nonmembers": new_split.known_nonmembers.ids,
            "counts": dict(new_split.counts),
        }
        (folder / "split.json").write_text(json.dumps(content))

    return restore_split(examples, read_json(store.get_or_make("splits", key_of(recipe), recipe, make) / "split.json"))


def restore_split(examples: Examples, stored: Mapping[str, Any]) -> Split:
    """Return a split from its stored ids."""
    position = {name: i for i, name in enumerate(examples.texts.ids)}
    train, nonmembers = ([position[i] for i in stored[part]] for part in ("train", "nonmembers"))
    others = {part: [position[i] for i in stored[part]] for part in ("validation", "known_members", "known_nonmembers")}
    return Split(
        train=examples.texts.take(train),
        members=tuple(stored["members"]),
        nonmembers=examples.texts.take(nonmembers),
        member_groups=tuple(examples.groups[train[m]] for m in stored["members"]),
        nonmember_groups=tuple(examples.groups[i] for i in nonmembers),
        validation_groups=tuple(examples.groups[i] for i in others["validation"]),
        train_groups=tuple(examples.groups[i] for i in train),
        attributes=tuple(examples.attributes[i] for i in (*(train[m] for m in stored["members"]), *nonmembers)),
        validation_attributes=tuple(examples.attributes[i] for i in others["validation"]),
        counts=stored["counts"],
        validation=examples.texts.take(others["validation"]),
        known_members=examples.texts.take(others["known_members"]),
        known_nonmembers=examples.texts.take(others["known_nonmembers"]),
    )
