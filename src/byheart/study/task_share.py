"""The share of a study's tasks that one of several workers begins with."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from byheart.study.tasks import Task


@dataclass(frozen=True)
class Share:
    """Part `number` of `count` parts of a study's tasks, in the order of the study. By default all tasks.

    Workers that begin at different tasks do not meet at each other's claims. Neighbors in a share use the same base model.
    """

    number: int = 0
    count: int = 1
    inputs: str = ""
    """Key of the base models and texts that all workers plan from (`planned_inputs.py`); "" for a worker that has no other."""

    def own(self, tasks: Sequence[Task]) -> Sequence[Task]:
        """Return the tasks of the share."""
        return tasks[self.number * len(tasks) // self.count : (self.number + 1) * len(tasks) // self.count]

    def own_first(self, tasks: Sequence[Task]) -> list[Task]:
        """Return all tasks: those of this part, then the other parts in an order that differs from worker to worker.

        Workers that all went on with the next part would follow each other from claim to claim.
        """
        others = [Share(n, self.count) for n in range(self.count) if n != self.number]
        random.Random(self.number).shuffle(others)  # noqa: S311 - no secret
        return [task for part in (self, *others) for task in part.own(tasks)]
