"""Run tasks one after another, and leave the tasks of other workers to them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from byheart.store.listed_results import ListedResults
from byheart.store.store import Store
from byheart.study.executors._task_futures import RETRY_SECONDS
from byheart.study.task_share import Share
from byheart.study.tasks import CellOutcome, Task, dependents_of, earlier_failure

CLAIMS_PER_SECOND = 10
"""A worker that finds only claimed tasks looks at this many in a second: hundreds of such workers share one file system."""
CLAIMS_PER_PAUSE = 20
LISTED_PER_LATE_LOOK = 50
"""The results are listed again when 1 in 50 of them was found by a look: a listing takes as long as these looks."""

RunTask = Callable[[Task], "CellOutcome | None"]


def run_in_sequence(
    tasks: Sequence[Task],
    store: Store,
    share: Share,
    run: RunTask,
    on_claimed: Callable[[Task], None],
    on_task_end: Callable[[Task, CellOutcome], None],
) -> dict[str, CellOutcome]:
    """Run all tasks and return their outcomes by key; come back to claimed tasks, and to the tasks that require them.

    `run` gives None for a task that another worker has claimed; `on_claimed` receives it. A task outside the `share` whose results are
    stored does not run: its outcome has no rows. The others do, because `run` reads their rows.
    """
    outcomes: dict[str, CellOutcome] = {}
    dependents = dependents_of(tasks)
    own = {t.key for t in share.own(tasks)}
    others = _OtherWorkers(store)
    pending = share.own_first(tasks)
    claimed = 0  # since the last task that ran, or the last pause
    while pending:
        deferred: list[Task] = []
        for task in pending:
            if not all(k in outcomes for k in task.requires):
                deferred.append(task)
                continue
            outcome = earlier_failure(task, dependents[task.key], outcomes)
            if outcome is None and task.key not in own and others.have_done(task):
                outcome = CellOutcome(task.label, task.results[0][1] if task.kind == "cell" else "", ())
            if outcome is None:
                outcome = run(task)
                claimed = 0 if outcome else claimed + 1
            if outcome is None:
                on_claimed(task)
                deferred.append(task)
                claimed = _pause(claimed) if claimed == CLAIMS_PER_PAUSE else claimed
                continue
            outcomes[task.key] = outcome
            on_task_end(task, outcome)
        if len(deferred) == len(pending):
            claimed = _pause(claimed)
        pending = deferred
    return outcomes


def _pause(claimed: int) -> int:
    """Wait as long as looks at this many claims may take, and return 0, the claims since the pause."""
    time.sleep(max(RETRY_SECONDS, claimed / CLAIMS_PER_SECOND))
    return 0


class _OtherWorkers:
    """Which tasks other workers have done: by a listing, and by a look at a task that is not listed as done.

    So an old listing costs a look; a task that runs was looked at, is claimed, and reads what is stored.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._listed = ListedResults(store)
        self._late = 0

    def have_done(self, task: Task) -> bool:
        if task.is_done(self._listed):
            return True
        if not task.is_done(self._store):
            return False
        self._late += 1
        if self._late * LISTED_PER_LATE_LOOK > len(self._listed):
            self._listed.forget()
            self._late = 0
        return True
