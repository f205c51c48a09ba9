"""`byheart check`: the split check of every data set of a study, or of two files, as text or JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from byheart.analysis.formats import as_text
from byheart.core.errors import StudyError
from byheart.core.split import Split
from byheart.core.split_check import Gate
from byheart.core.types import Table, Texts
from byheart.data.split_check import gate
from byheart.datasets.files import files
from byheart.store.store import Store
from byheart.study.plan import plan_cells
from byheart.study.split_checks import DEFAULT_FPR, split_gates
from byheart.study.study_file import Study, read_study


def requested_gates(
    study: Path | None,
    members: Path | None,
    nonmembers: Path | None,
    *,
    group: str | None,
    fields: Mapping[str, str],
    store: Path,
    overrides: Sequence[str],
) -> dict[str, Gate]:
    """Return the gates of a study file or of two files; raises `RequestError` for neither and for both."""
    if study is not None and members is None and nonmembers is None and group is None and not fields:
        return study_gates(read_study(study, overrides), Store.open(store))
    if study is None and members is not None and nonmembers is not None and not overrides:
        return file_gates(members, nonmembers, group, fields)
    raise StudyError(
        "check: requires either a study or two files. Run byheart check STUDY.yaml, "
        "or byheart check --members FILE --nonmembers FILE [--group FIELD] [--fields NAMES]."
    )


def study_gates(study: Study, store: Store) -> dict[str, Gate]:
    """Return the gate of each split of the study's data sets, by the split's name.

    The splits are those of `byheart run`; splits and gates are stored. Raises `RequestError` for data that cannot be
    split.
    """
    return {split_gate.name: split_gate.gate for split_gate in split_gates(plan_cells(study, store), store)}


def file_gates(
    members: Path, nonmembers: Path, group: str | None = None, fields: Mapping[str, str] | None = None
) -> dict[str, Gate]:
    """Return the gate of two files (or folders) of texts, by their names; `group` names the field of the groups.

    `fields` are the files' names for `text`, `prompt`, `completion` and `messages`. A chat's `tools` are not read. Raises `DataError`
    for a file that cannot be read, and for too few texts.
    """
    parts: list[Texts] = []
    groups: list[tuple[str, ...]] = []
    text, prompt, completion, messages = (
        (fields or {}).get(field) for field in ("text", "prompt", "completion", "messages")
    )
    for side, path in (("member", members), ("nonmember", nonmembers)):
        examples = files(
            path=str(path), group=group, text=text, prompt=prompt, completion=completion, messages=messages
        )
        ids = tuple(f"{side}/{i}" for i in examples.texts.ids)
        parts.append(dataclasses.replace(examples.texts, ids=ids))
        is_ungrouped = examples.groups == examples.texts.ids  # every text is its own group
        groups.append(ids if is_ungrouped else examples.groups)
    member_texts, nonmember_texts = parts
    split = Split(
        member_texts, tuple(range(len(member_texts))), nonmember_texts, Texts((), ()), groups[0], groups[1], {}
    )
    return {f"{members} against {nonmembers}": gate(split, fpr=DEFAULT_FPR)}


def gates_text(gates: Mapping[str, Gate]) -> str:
    """Return, for each gate, the verdict with its reasons and a table of the checks."""
    return "\n".join(
        "\n".join(
            (
                f"{split_gate.verdict}: {name} ({split_gate.members} members, {split_gate.nonmembers} non-members)",
                *(f"  - {reason}" for reason in split_gate.reasons),
                "",
                as_text(_table(split_gate)),
            )
        )
        for name, split_gate in gates.items()
    )


def _table(split_gate: Gate) -> Table:
    return Table("", ("check", "verdict", "result"), tuple((f.name, f.verdict, f.found) for f in split_gate.findings))


def gates_json(gates: Mapping[str, Gate]) -> str:
    """Return the gates as one JSON object, with all digits."""
    entries = [
        {"name": name, "verdict": split_gate.verdict, "reasons": split_gate.reasons} | dataclasses.asdict(split_gate)
        for name, split_gate in gates.items()
    ]
    return json.dumps({"datasets": entries}, ensure_ascii=False, indent=1, allow_nan=False)
