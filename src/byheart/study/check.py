"""`byheart check`: the fairness of every data set of a study, or of two files, judged and spelled out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from byheart.analysis.formats import as_text
from byheart.core.errors import StudyError
from byheart.core.split_check import Gate
from byheart.core.types import Split, Table, Texts
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
    store: Path,
    overrides: Sequence[str],
) -> dict[str, Gate]:
    """Return the gates of a study file or else of two files; raises `RequestError` for neither and for both."""
    if study is not None and members is None and nonmembers is None and group is None:
        return study_gates(read_study(study, overrides), Store.open(store))
    if study is None and members is not None and nonmembers is not None and not overrides:
        return file_gates(members, nonmembers, group)
    raise StudyError(
        "check takes a study, or two files; write byheart check STUDY.yaml, "
        "or byheart check --members FILE --nonmembers FILE [--group FIELD]"
    )


def study_gates(study: Study, store: Store) -> dict[str, Gate]:
    """Return a gate for each split of the study's data sets, by the split's name.

    Splits are dealt as a run deals them; they and the gates are kept in the store. Raises `RequestError` for what
    cannot be split.
    """
    return {one.name: one.gate for one in split_gates(plan_cells(study, store), store)}


def file_gates(members: Path, nonmembers: Path, group: str | None = None) -> dict[str, Gate]:
    """Return the gate of two files (or folders) of texts, by their names; `group` names what belongs together.

    Raises `DataError` for a file that cannot be read, and for too few texts.
    """
    parts: list[Texts] = []
    groups: list[tuple[str, ...]] = []
    for side, path in (("member", members), ("nonmember", nonmembers)):
        examples = files(path=str(path), group=group)
        ids = tuple(f"{side}/{i}" for i in examples.texts.ids)
        parts.append(dataclasses.replace(examples.texts, ids=ids))
        alone = examples.groups == examples.texts.ids  # no text belongs to another
        groups.append(ids if alone else examples.groups)
    trained, held = parts
    split = Split(trained, tuple(range(len(trained))), held, Texts((), ()), groups[0], groups[1], {})
    return {f"{members} against {nonmembers}": gate(split, fpr=DEFAULT_FPR)}


def gates_text(gates: Mapping[str, Gate]) -> str:
    """Return, for each gate, the verdict with its reasons and a table of what was found."""
    return "\n".join(
        "\n".join(
            (
                f"{one.verdict}: {name} ({one.members} members, {one.nonmembers} non-members)",
                *(f"  - {why}" for why in one.reasons),
                "",
                as_text(_table(one)),
            )
        )
        for name, one in gates.items()
    )


def _table(one: Gate) -> Table:
    return Table("", ("looked at", "verdict", "found"), tuple((f.name, f.verdict, f.found) for f in one.findings))


def gates_json(gates: Mapping[str, Gate]) -> str:
    """Return the same as one JSON object, with every digit."""
    told = [
        {"name": name, "verdict": one.verdict, "reasons": one.reasons} | dataclasses.asdict(one)
        for name, one in gates.items()
    ]
    return json.dumps({"datasets": told}, ensure_ascii=False, indent=1, allow_nan=False)
