"""A study, its pack and page, an audit and planted canaries: what is there after a loss of power is complete."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from byheart.store.check_store import check_store
from campaign.checks import Check
from campaign.kills.campaign import NEEDS_STORE
from campaign.kills.moments import Moment, child
from campaign.kills.runs import Run, runs
from campaign.power_loss.recorder import State, record
from campaign.power_loss.replay import KINDS, Kind, write_lost

STATES = 120
"""Moments of a run that one case looks at, in each of three ways."""


def checks(originals: Path) -> list[Check]:
    """Return the checks; their models, texts and a finished store are written into the folder."""
    every = {run.name: run for run in runs(originals)}
    del every["two workers"]
    tried = list[int]()
    return [Check(name, losses(run, every["study"], tried), tried=tried) for name, run in every.items()]


def losses(run: Run, study: Run, tried: list[int]) -> Callable[[Path, random.Random], str]:
    """Return an attempt: lose the power at drawn moments of a run; `study` makes the store that a page or a pack reads.

    The number of folders that were written and read is appended to `tried`.
    """

    def attempt(folder: Path, chance: random.Random) -> str:
        place = folder / "place"
        place.mkdir()
        if run.name in NEEDS_STORE and child(lambda: study.start(place), place, Moment()).code:
            return "the study fails"
        states = record(lambda: run.start(place), place)
        finished = dict(_results(place))
        moments = [*sorted(chance.sample(range(len(states) - 1), min(STATES, len(states) - 1))), len(states) - 1]
        tried.append(len(moments) * len(KINDS))
        for state in moments:
            for kind in KINDS:
                is_own = run.name not in NEEDS_STORE  # the store of another command was not recorded
                if problem := _lost(states[state], folder / "lost", kind, chance, finished, is_own=is_own):
                    return f"before {states[state].operation} ({state} of {len(states)}), {kind}: {problem}"
        # What the command reported as done is on the disk, with every name.
        write_lost(states[-1], folder / "end", "flushed", chance)
        missing = sorted(set(finished) - set(dict(_results(folder / "end"))) if run.name not in NEEDS_STORE else ())
        return f"not on the disk after the command has ended: {missing[:5]}" if missing else ""

    return attempt


def _lost(
    state: State, lost: Path, kind: Kind, chance: random.Random, finished: dict[str, str], *, is_own: bool
) -> str:
    """Write the folder after a loss of power, and return what in it is neither missing nor complete."""
    shutil.rmtree(lost, ignore_errors=True)
    write_lost(state, lost, kind, chance)
    if is_own and (lost / "store" / "store.json").exists():
        _, messages = check_store(lost / "store")
        if messages:
            return messages[0]
    exported = "out/"  # the files of --export are no result until the command ends
    skipped = (exported,) if is_own else (exported, "store/")
    wrong = [n for n, found in _results(lost) if n in finished and found != finished[n] and not n.startswith(skipped)]
    return f"incomplete: {wrong[:5]}" if wrong else ""


def _results(place: Path) -> Iterator[tuple[str, str]]:
    """Yield the files that a command writes, apart from notes of a store, which change, and drafts, with their hashes."""
    for path in sorted(p for p in place.rglob("*") if p.is_file()):
        name = path.relative_to(place).as_posix()
        is_result = not name.startswith("store/") or (name.count("/") > 2 and "/states/" not in name)
        is_draft = any(part.startswith(".") for part in Path(name).parts)
        if is_result and not is_draft and not {"claims", "probes"} & set(Path(name).parts):
            yield name, hashlib.sha256(path.read_bytes()).hexdigest()
