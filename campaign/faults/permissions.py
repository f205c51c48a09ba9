"""Stores that a user may read and not write, files that the user may not read, and folders that take no new file.

The administrator may read and write everything, so the runs become another user (nobody) first, if an administrator starts them.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

from campaign.checks import Check
from campaign.faults.trial import Trial, Trials, again, copy_finished, ending, problem, state
from campaign.kills.moments import Moment, child
from campaign.kills.runs import typed

NOBODY = 65534
UNREADABLE = 6
"""Files that are made unreadable, of a store and of the inputs."""
RUNS = ("study", "audit", "pack", "page", "plant")
READERS = ("status", "rows", "verify", "report", "pack", "run")


def checks(originals: Path) -> list[Check]:
    """Return the checks; models and texts are written into the folder."""
    trials = Trials(originals)

    def trial(run: str) -> Trial:
        found = trials[run]
        for path in (originals, *originals.rglob("*")):  # temporary folders are of one user
            path.chmod(0o755 if path.is_dir() else 0o644)
        return found

    return [
        *(Check(f"read-only store: {word}", lambda _, __, w=word: reading(trial("study"), w)) for word in READERS),
        Check("read-only store: missing results", lambda _, __: unfinished(trial("study"))),
        Check(
            "unreadable file of a store",
            lambda _, c: unreadable_result(trial("study"), trial("page"), c),
            cases=UNREADABLE,
        ),
        Check(
            "unreadable input",
            lambda _, c: unreadable_input(trial(c.choice(("study", "audit"))), c),
            cases=UNREADABLE,
        ),
        *(Check(f"no place for new files: {run}", lambda _, __, r=run: no_place(trial(r))) for run in RUNS),
    ]


def become_nobody(_: object = None) -> None:
    """Continue as a user without rights, for good."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def reading(study: Trial, word: str) -> str:
    """Read a finished store that may not be written, by a command that must succeed."""
    place = _finished(study)
    _close(place / "store")
    store = place / "store"
    words: dict[str, list[object]] = {
        "status": ["status", store],
        "verify": ["verify", store],
        "report": ["report", "--store", store, "-o", place / "page.html"],
        "pack": ["pack", "--store", store, "-o", place / "pack.tar.xz"],
        "run": ["run", study.inputs / "one.yaml", "--store", store],
    }

    def start() -> None:
        become_nobody()
        typed(*words.get(word, [word, "--store", store]))

    ended = child(start, place, Moment())
    if word == "run":  # it notes which study it runs
        return ending(ended)
    return "" if ended.code == 0 else f"ends with {ended.code}: {ended.printed[-1000:]}"


def unfinished(study: Trial) -> str:
    """Run a study whose store lacks results and is read-only: one line, and no change."""
    place = _finished(study)
    for path in (place / "store" / "rows").rglob("*"):
        if path.is_file():
            path.unlink()
    for path in (place / "store" / "rows").iterdir():
        path.rmdir()
    _close(place / "store")
    return problem(study, become_nobody, place=place, after=lambda: _reopen(place / "store"))


def unreadable_result(study: Trial, page: Trial, chance: random.Random) -> str:
    """Run and make a page with a file of the store that may not be read; afterwards with all files."""
    place = _finished(study)
    store = place / "store"
    file = chance.choice(sorted(p for p in store.rglob("*") if p.is_file() and "claims" not in p.parts))
    for path in (store, *store.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    file.chmod(0)
    for trial in (page, study):

        def start(trial: Trial = trial) -> None:
            become_nobody()
            trial.run.start(place)

        ended = child(start, place, Moment())
        wrong = ending(ended)
        if not wrong and ended.code and "damaged" in ended.printed:
            wrong = f"a file that may not be read is called damaged: {ended.printed[-500:]}"
        if wrong:
            return f"{file.relative_to(store)}, {trial.run.name}: {wrong}"
    if file.exists():
        file.chmod(0o666)
    return again(study, place)


def unreadable_input(trial: Trial, chance: random.Random) -> str:
    """Audit or run with a file of the model, texts or settings that may not be read."""
    names = ("one.yaml",) if trial.run.name == "study" else ("m.jsonl", "n.jsonl")
    files = [
        *(trial.inputs / n for n in names),
        *sorted(p for p in (trial.inputs / "model").iterdir() if p.is_file()),
    ]
    file = chance.choice(files)
    file.chmod(0)
    wrong = problem(trial, become_nobody, place=_open(trial), after=lambda: file.chmod(0o644))
    return f"{file.name}, {trial.run.name}: {wrong}" if wrong else ""


def no_place(trial: Trial) -> str:
    """Run in a folder that takes no new file."""
    place = _open(trial)
    place.chmod(0o555)

    def start() -> None:
        become_nobody()
        trial.run.start(place)

    ended = child(start, place, Moment())
    place.chmod(0o755)
    if ended.code == 0:
        return "ends well"
    return ending(ended) or state(trial, place, is_done=False) or again(trial, place)


def _open(trial: Trial) -> Path:
    """Return the new folder of a case, in which every user may write."""
    place = trial.place()
    for path in (trial.originals, place):
        path.chmod(0o777)
    return place


def _finished(study: Trial) -> Path:
    """Return the new folder of a case with the finished store."""
    place = _open(study)
    copy_finished(study.originals, place)
    return place


def _close(store: Path) -> None:
    for path in (store, *store.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)


def _reopen(store: Path) -> None:
    for path in (store, *store.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
