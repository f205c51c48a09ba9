"""Processes that hold one model together: the first one runs the study, the others repeat its calls on the model.

Every process makes the same passes, so a process that stops alone would leave the others waiting. After each call, all compare
how it ended. An error that all have in common is an ordinary error. If one process ended otherwise, or does not answer, all end.

Objects go from process to process by `torch.distributed`, which pickles them: processes of one launch trust each other.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from byheart.core.errors import ByheartError, SettingError, StoreError

Result = TypeVar("Result")

ANSWER_SECONDS = 30
"""A process whose call failed waits this long for the same error of the others."""
CALL_SECONDS = 1800
"""A process that does not answer for this long ends the run."""
LOST = "a process has ended or does not answer"
_FOREVER = dt.timedelta(days=365)


class _Ending(NamedTuple):
    """How a process ended a call: its error or "", and its result, which only the first process sends."""

    error: str
    result: Any


@dataclass(frozen=True, eq=False)
class Processes:
    """The processes of a launch that share a model's weights.

    `mesh` is torch's mesh of their devices. `group` carries their answers on the CPU.
    """

    size: int = 1
    rank: int = 0
    mesh: Any = None
    group: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this process runs the study and writes the store."""
        return self.rank == 0

    def agree(self, first: Callable[[], Result], others: Callable[[], object] | None = None) -> Result:
        """Run `first` in the first process and `others` (None: nothing) in the others; return the first process's result.

        An error that all processes have, or only the first, is raised in all of them. Raises `SystemExit` if processes disagree.
        """
        if self.size == 1:
            return first()
        result: Any = None
        failure: Exception | None = None
        try:
            if self.is_first:
                result = first()
            elif others is not None:
                others()
        except Exception as error:  # noqa: BLE001 - compared with the errors of the other processes, then raised
            failure = error
        text = "" if failure is None else self._comparable(failure)
        endings = self._endings(_Ending(text, result), ANSWER_SECONDS if failure else CALL_SECONDS)
        errors = [e.error for e in endings]
        if not endings or (len(set(errors)) > 1 and any(errors[1:])):
            raise SystemExit(self._stopped(errors, text)) from failure
        if failure is not None:
            raise failure
        if errors[0]:
            raise StoreError(errors[0])
        return endings[0].result

    def together(self, work: Callable[[], None]) -> None:
        """Run the same work in all processes; errors are as in `agree`."""
        self.agree(work, work)

    def in_turn(self, work: Callable[[], Result]) -> Result:
        """Run work in one process of each machine after another, so that one whole model at a time is in its memory."""
        if self.size == 1:
            return work()
        results: list[Result] = []
        own, count = int(os.environ["LOCAL_RANK"]), int(os.environ.get("LOCAL_WORLD_SIZE", self.size))

        def run() -> None:
            results.append(work())

        for turn in range(count):
            run_now = run if turn == own else _nothing
            self.agree(run_now, run_now)
        return results[0]

    def send(self, call: object) -> None:
        """Send a call from the first process to the others, which `receive` it."""
        if self.size > 1:
            self._broadcast(call)

    def receive(self) -> Any:
        """Wait for the next call of the first process and return it."""
        return self._broadcast(None)

    def _broadcast(self, call: object) -> Any:
        from torch import distributed

        calls = [call]
        try:
            distributed.broadcast_object_list(calls, src=0, group=self.group)
        except RuntimeError as error:
            raise SystemExit(self._stopped([], "")) from error
        return calls[0]

    def _endings(self, own: _Ending, seconds: float) -> list[_Ending]:
        """Return how each process ended the call; [] if one does not answer."""
        from torch import distributed

        endings: list[Any] = [None] * self.size
        sent = own if self.is_first else own._replace(result=None)
        try:
            distributed.monitored_barrier(self.group, timeout=dt.timedelta(seconds=seconds))
            distributed.all_gather_object(endings, sent, group=self.group)
        except RuntimeError:
            return []
        return endings

    def _comparable(self, error: Exception) -> str:
        """Return an error's line; of an error that leaves passes unfinished, such as too little memory, with the process."""
        if isinstance(error, ByheartError):
            return str(error)
        words = " ".join(str(error).split())
        if isinstance(error, RuntimeError) and "/gloo/" in words:
            return f"process {self.rank} of {self.size}: {LOST}"
        text = f"{type(error).__name__}: {words[:300]}"
        return f"process {self.rank} of {self.size}: {text}" if isinstance(error, RuntimeError | MemoryError) else text

    def _stopped(self, errors: list[str], own: str) -> str:
        found = next((e for e in (own, *errors) if e), LOST).removeprefix(f"process {self.rank} of {self.size}: ")
        return (
            f"machine.shard: process {self.rank} of {self.size} ends: {found}. Complete results are stored; start the same command again "
            "to resume."
        )


ALONE = Processes()
_joined: list[Processes] = []
"""The launch of this process: at most one."""


def joined(shard: int, device: str) -> Processes:
    """Return the processes of a launch that share a model, connected once; `ALONE` if `shard` is 1.

    `device` is "cpu", or another `machine.device`, for which process n of a machine uses its GPU n, if there are GPUs.
    Raises `SettingError` if the launch does not have `shard` processes.
    """
    if shard == 1:
        return ALONE
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != shard:
        raise SettingError(
            f"machine.shard = {shard}: {started} {'process was' if started == 1 else 'processes were'} started. Start "
            f"torchrun --nproc-per-node {shard} -m byheart run STUDY.yaml, or set machine.shard to the number of processes."
        )
    if not _joined:
        _joined.append(_connected(started, device))
    return _joined[0]


def _connected(size: int, device: str) -> Processes:
    import torch
    from torch import distributed
    from torch.distributed.device_mesh import init_device_mesh

    is_gpu = device != "cpu" and torch.cuda.is_available()
    if is_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    if not distributed.is_initialized():
        timeout = dt.timedelta(seconds=CALL_SECONDS)
        distributed.init_process_group("cpu:gloo,cuda:nccl" if is_gpu else "gloo", timeout=timeout)
    mesh = init_device_mesh("cuda" if is_gpu else "cpu", (size,))
    return Processes(size, distributed.get_rank(), mesh, distributed.new_group(backend="gloo", timeout=_FOREVER))


def _nothing() -> None:
    pass
