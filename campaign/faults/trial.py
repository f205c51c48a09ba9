"""Run byheart with a fault, judge how it ends and what it leaves, and run it again without the fault.

Allowed is a right result, or one line: exit 2, or the error of a cell. The next run must end as an unbroken run does.
"""

from __future__ import annotations

import importlib
import json
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from byheart.store.check_store import check_store
from campaign.kills.campaign import EXISTS, NEEDS_STORE
from campaign.kills.moments import Ended, Moment, as_json, child, end_workers
from campaign.kills.runs import Run, drafts, runs

TINY = {
    "data": {"train": 12, "members": 6, "nonmembers": 6, "validation": 4, "max_tokens": 32},
    "datasets": [{"records": {"count": 60}}],
    "methods": ["head"],
    "attacks": ["loss", "reference"],
    "observations": [],
    "metrics": ["auc", "perplexity"],
}
"""Settings of the study, which runs hundreds of times."""
INPUTS = "in"
"""Name of the folder with the model, the texts and the settings."""
FAILED_CELL = re.compile(r"^failed {2}.+: .+[.?] .*\S$", re.MULTILINE)
FIX = re.compile(r": .*[.?] .*\S$")


class Trial(NamedTuple):
    """A run, what it gives unbroken, the counts that `count` returned, and the folder of its topic."""

    run: Run
    expected: Mapping[str, Any]
    counts: Mapping[str, int]
    originals: Path

    @property
    def inputs(self) -> Path:
        """The folder with the model, the texts and the settings."""
        return self.originals / INPUTS

    def place(self) -> Path:
        """Return a new folder for a case, of one path for all: pages and audits name it. A page and a pack find the finished store."""
        place = _new_place(self.originals)
        if self.run.name in NEEDS_STORE:
            copy_finished(self.originals, place)
        return place


class Trials(dict[str, Trial]):
    """The trials by the names of their runs, each of which runs unbroken when its trial is first needed.

    `count` prepares counting in the process of such a run. Modules that the runs import are imported here, so that no later run
    takes seconds for them.
    """

    def __init__(self, originals: Path, count: Callable[[Path], Mapping[str, int]] = lambda _: {}) -> None:
        super().__init__()
        self.originals, self._count = originals, count
        (originals / INPUTS).mkdir()
        self._runs = {run.name: run for run in runs(originals / INPUTS, **TINY)}

    def __missing__(self, name: str) -> Trial:
        """Run unbroken, and keep the trial."""
        run = self._runs[name]
        if name in NEEDS_STORE:
            self["study"]
        place = _new_place(self.originals)
        if name in NEEDS_STORE:
            copy_finished(self.originals, place)
        ended, counts, modules = _counted(run, place, self._count)
        if ended.code:
            raise RuntimeError(f"the run {name} ends with {ended.code}: {ended.printed}")
        for module in modules:
            try:
                importlib.import_module(module)
            except Exception:  # noqa: BLE001, S112 - a module that only a library can import
                continue
        self[name] = Trial(run, run.results(place), counts, self.originals)
        (self.originals / "unbroken").mkdir(exist_ok=True)
        place.rename(self.originals / "unbroken" / name)
        return self[name]


def _new_place(originals: Path) -> Path:
    place = originals / "place"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    return place


def _counted(
    run: Run, place: Path, count: Callable[[Path], Mapping[str, int]]
) -> tuple[Ended, dict[str, int], list[str]]:
    note = place.with_name(f"{place.name}.counts")

    def start() -> None:
        counts = count(place)
        try:
            run.start(place)
        finally:
            content = json.dumps([dict(counts), [m for m in sys.modules if not m.startswith("__")]])
            note.write_text(content)

    ended = child(start, place, Moment())
    counts, modules = json.loads(note.read_text()) if note.exists() else ({}, [])
    return ended, counts, modules


def copy_finished(originals: Path, place: Path) -> None:
    """Copy the store of the unbroken study, which a page and a pack are made from."""
    shutil.copytree(originals / "unbroken" / "study" / "store", place / "store", symlinks=True)


def problem(
    trial: Trial, fault: Callable[[Path], object], *, place: Path | None = None, after: Callable[[], object] = int
) -> str:
    """Return what is wrong with a run in whose process `fault(place)` is called first, or with the next one; "" if nothing is.

    `place` is the new folder of the trial, if it was prepared. `after` removes a fault that is not of the process.
    """
    place = place or trial.place()

    def broken() -> None:
        fault(place)
        trial.run.start(place)

    ended = child(broken, place, Moment())
    after()
    return ending(ended) or state(trial, place, is_done=ended.code == 0) or again(trial, place, ended)


def ending(ended: Ended) -> str:
    """Return what is wrong with the end of a run that met a fault."""
    printed = ended.printed
    if ended.code not in {0, 1, 2} or "Traceback" in printed:
        return f"ends with {ended.code}: {printed[-1200:]}"
    lines = [line for line in printed.splitlines() if line.startswith("byheart: ")]
    names_fix = bool(FAILED_CELL.search(printed)) if ended.code == 1 else len(lines) == 1 and bool(FIX.search(lines[0]))
    if ended.code and not names_fix:
        return f"ends with {ended.code} and no line that names the fix: {printed[-600:]}"
    return ""


def state(trial: Trial, place: Path, *, is_done: bool) -> str:
    """Return what is wrong with the files of a run that met a fault: half of a result, drafts, other content."""
    if wrong := half_results(place):
        return wrong
    if hidden := [name for name in drafts(place) if "/states/" not in name]:
        return f"left drafts: {hidden[:4]}"
    if is_done:
        return _difference(trial, place)
    if "files" not in trial.expected:
        return ""
    wanted, found = trial.expected["files"], trial.run.results(place)["files"]
    # The files of --export are no result until the command ends.
    wrong = [name for name in found if found[name] != wanted.get(name) and not name.startswith("out/")]
    return f"half of an output: {wrong[:4]}" if wrong else ""


def half_results(place: Path) -> str:
    """Return which result of a store is not complete; "" if all are."""
    if not (place / "store" / "store.json").exists():
        return ""
    _, messages = check_store(place / "store")
    return f"half of a result: {messages[0]}" if messages else ""


def again(trial: Trial, place: Path, broken: Ended | None = None, *, unneeded: str = "") -> str:
    """Run again without the fault, and return what differs from the unbroken run, apart from an `unneeded` stage of the store."""
    ended = child(lambda: trial.run.start(place), place, Moment())
    if broken is not None:
        end_workers(broken)
    if ended.code == EXISTS and "already exists" in ended.printed:
        if trial.run.name == "plant":  # a whole manifest without data, which only a person may remove
            return ""
    elif ended.code:
        return f"the next run ends with {ended.code}: {ended.printed[-1000:]}"
    return _difference(trial, place, "the next run gives ", unneeded)


def _difference(trial: Trial, place: Path, prefix: str = "", unneeded: str = "") -> str:
    expected, found = (_with_results(r, unneeded) for r in (trial.expected, trial.run.results(place)))
    names = [name for name in expected if as_json(expected[name]) != as_json(found[name])]
    shown = "; ".join(f"{name}: {_parts(found[name], expected[name])}" for name in names)
    return f"{prefix}{shown}" if names else ""


def _with_results(results: Mapping[str, Any], unneeded: str) -> dict[str, Any]:
    """Return the results without empty stages, as an error of a cell leaves one of failures, and without an unneeded one."""
    stages = results.get("results", {})
    kept = {stage: keys for stage, keys in stages.items() if keys and stage != unneeded}
    return {**results, "results": kept} if stages else dict(results)


def _parts(found: Any, expected: Any) -> str:
    """Return the parts that differ."""
    if isinstance(expected, dict):
        return ", ".join(sorted(n for n in {**found, **expected} if found.get(n) != expected.get(n)))
    return f"{str([x for x in found if x not in expected])[:300]}, not {str([x for x in expected if x not in found])[:300]}"
