"""Faults of processes: a worker that the system kills, too few file handles, a clock that jumps, and two runs at once in one store."""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
import signal
import threading
import time
from pathlib import Path
from typing import Any

from campaign.checks import Check
from campaign.faults.trial import Trial, Trials, again, ending, half_results, problem, state
from campaign.kills.moments import Ended, Moment, child
from campaign.kills.runs import Run

HANDLES = {"study": 8, "audit": 3, "pack": 2, "page": 1, "plant": 2}
"""Limits of file handles that are tried for each run."""
WORKERS = 1
"""Kills of a worker."""
HOURS = 5.0
SHORT_EXPIRY = 3.0
"""Seconds after which a claim without a heartbeat is over in a run that waits for it; a minute outside tests."""


def checks(originals: Path) -> list[Check]:
    """Return the checks; models and texts are written into the folder."""
    trials = Trials(originals)
    found: list[Check] = []
    for run, most in HANDLES.items():
        found.append(Check(f"{run}: few handles", lambda _, c, r=run: few_handles(trials[r], c), cases=most))
        found.append(Check(f"{run}: clock", lambda _, c, r=run: problem(trials[r], lambda _: jump(c))))
        found.append(Check(f"{run}: twice at once", lambda _, __, r=run: twice(trials[r])))
    found += [
        Check("claim of the past", lambda _, __: claimed(trials["study"], -HOURS)),
        Check("claim of the future", lambda _, __: claimed(trials["study"], HOURS)),
        Check("a killed worker", lambda _, c: killed_worker(trials["study"], c), cases=WORKERS),
    ]
    return found


def few_handles(trial: Trial, chance: random.Random) -> str:
    """Run with a drawn number of file handles besides those that are open, at most as many as `ulimit -n 64` leaves."""
    free = chance.randint(0, 24)

    def limit(_: Path) -> None:
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208 - names only
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + free, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

    wrong = problem(trial, limit)
    return f"{free} free handles: {wrong}" if wrong else ""


def jump(chance: random.Random) -> None:
    """Let the clock of this process jump by hours, back and forth, at every look at it."""
    real, real_local, real_utc = time.time, time.localtime, time.gmtime
    changed: Any = time

    def jumping() -> float:
        return real() + chance.uniform(-HOURS, HOURS) * 3600

    changed.time = jumping
    changed.time_ns = lambda: int(jumping() * 1e9)
    changed.gmtime = lambda seconds=None: real_utc(jumping() if seconds is None else seconds)
    changed.localtime = lambda seconds=None: real_local(jumping() if seconds is None else seconds)


def twice(trial: Trial) -> str:
    """Run twice at once in one folder; both must end well, and the results be those of one run."""
    place = trial.place()

    def both() -> None:
        other = os.fork()
        if other == 0:
            os._exit(_code(trial.run, place))
        own = _code(trial.run, place)
        codes = {own, os.waitstatus_to_exitcode(os.waitpid(other, 0)[1])}
        # The second of two audits finds the folder of the first.
        if not (codes == {0} or (trial.run.name in {"audit", "plant"} and codes == {0, 2})):
            raise RuntimeError(f"the runs end with {codes}")

    ended = child(both, place, Moment())
    if ended.code:
        return f"{ended.printed[-1000:]}"
    return state(trial, place, is_done=True)


def _code(run: Run, place: Path) -> int:
    try:
        run.start(place)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # noqa: BLE001 - a traceback
        return 99
    return 0


def claimed(trial: Trial, hours: float) -> str:
    """Run a study whose cell an ended process of another host claims, with a heartbeat hours ago or hours ahead."""
    place = trial.place()
    finished = trial.originals / "unbroken" / "study" / "store" / "claims"
    for name in os.listdir(finished):  # noqa: PTH208 - names only
        claim = place / "store" / "claims" / name / "1"
        claim.mkdir(parents=True)
        (claim / "owner.json").write_text('{"host": "other", "machine": "other.1", "process": 1, "process_start": "1"}')
        (claim / "heartbeat.lock").touch()
        moment = time.time() + hours * 3600
        os.utime(claim / "heartbeat.lock", (moment, moment))

    def expire_early(_: Path) -> None:
        from byheart.store import lease

        lease.EXPIRY_SECONDS = SHORT_EXPIRY

    return problem(trial, expire_early, place=place)


def killed_worker(trial: Trial, chance: random.Random) -> str:
    """Kill a worker process of a run with two at a drawn moment; the next run, with one, must end as the unbroken one."""
    place = trial.place()
    results = chance.randint(3, 14)

    def kill() -> None:
        while len(list(place.glob("store/*/*/recipe.json"))) < results or not multiprocessing.active_children():
            time.sleep(0.02)
        process = chance.choice(multiprocessing.active_children()).pid
        if process is not None:
            os.kill(process, signal.SIGKILL)

    def broken() -> None:
        threading.Thread(target=kill, daemon=True).start()
        _two_workers(trial.inputs, place)

    ended: Ended = child(broken, place, Moment())
    # Its draft stays until the next run.
    wrong = ending(ended) or half_results(place) or again(trial, place, ended)
    return f"after {results} results: {wrong}" if wrong else ""


def _two_workers(inputs: Path, place: Path) -> None:
    from campaign.kills.runs import typed

    typed("run", inputs / "two.yaml", "--store", place / "store")
