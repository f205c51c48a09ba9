"""What one call of byheart did: done, refused in one line, or a fault with the place where it happened."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import NamedTuple

from byheart.core.errors import ByheartError, RequestError

HANG_SECONDS = 20.0
EMPTY_STORE = ("store.json",)
"""The file of a new and empty store."""


class Outcome(NamedTuple):
    """`kind` is "done", "refused" or a fault; `place` names a fault's kind of error and its function, `words` what was printed."""

    kind: str
    place: str = ""
    words: str = ""

    @property
    def is_fault(self) -> bool:
        """Whether the call did what no input may cause."""
        return self.kind not in {"done", "refused"}


class HangError(BaseException):
    """A call that did not end; not an `Exception`, so that no handler catches it."""


def outcome(call: Callable[[], Outcome | None], folder: Path) -> Outcome:
    """Return what a call did whose inputs are in `folder / "in"`, and whose outputs are elsewhere in the folder.

    The call returns the outcome of a command line, or None if it ended. Errors of byheart are answers, all others are faults.
    """
    found = Outcome("done")
    try:
        with _time_limit(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = call() or found
    except ByheartError as error:
        found = _refusal(f"byheart: {' '.join(str(error).split())}\n", 2 if isinstance(error, RequestError) else 1)
    except HangError as error:
        return Outcome("hang", _place(error), f"no end after {HANG_SECONDS:g} s")
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 - Rust panics are no Exception
        return Outcome("traceback", _place(error), "".join(traceback.format_exception(error))[-3000:])
    if found.kind == "refused" and (left := sorted(_outputs(folder))):
        return Outcome("left files", re.sub(r"[0-9a-f]{8,}", "#", left[0]), f"{left[:5]} after: {found.words}")
    return found


def typed(words: Sequence[str]) -> Outcome | None:
    """Type `byheart WORDS...` in this process; return its outcome, or None if it ended with exit 0. Raises what `main` raises."""
    from byheart.cli.main import main

    # Parquet is written to the buffer of the standard output.
    out, err, argv = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO(), sys.argv
    sys.argv = ["byheart", *words]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as ended:
        code = ended.code
    finally:
        sys.argv = argv
    if code in {0, None}:
        return None
    if code == 1 and words[:1] in (["check"], ["verify"]) and not err.getvalue():
        return None  # "broken", or "differs": the command's answer
    return _refusal(err.getvalue(), code)


def _refusal(printed: str, code: object) -> Outcome:
    """Return the outcome of an exit code above 0 and of what the call printed to stderr."""
    lines = [line for line in printed.splitlines() if line.startswith("byheart: ")]
    shape = re.sub(r"'[^']*'|[\d.]+|/\S+", "#", lines[-1] if lines else printed[:80])[:90]
    if code not in {2, 3, 4}:
        return Outcome(f"exit {code}", shape, printed[-2000:])
    if not lines or len(printed.splitlines()) > 1 + (code != 2) * 20:
        return Outcome("several lines", shape, printed[-2000:])
    line = lines[-1]
    if code == 2 and ((": " not in line[9:] and "See byheart" not in line) or not re.search(r"[.?] .*\S$", line)):
        return Outcome("no fix named", shape, printed[-2000:])
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f\x9b]", line):
        return Outcome("control characters", shape, repr(printed[-2000:]))
    if len(line) > 3000:
        return Outcome("long line", shape, printed[:2000])
    return Outcome("refused", shape, line)


def _place(error: BaseException) -> str:
    """Return the error's type, the last function of byheart, and the function that raised."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if f"{os.sep}byheart{os.sep}" in f.filename] or frames[-1:]
    where = f"{Path(ours[-1].filename).name}:{ours[-1].name}"
    last = f"{Path(frames[-1].filename).name}:{frames[-1].name}"
    return f"{type(error).__name__} {where}" + (f" <- {last}" if last != where else "")


def _outputs(folder: Path) -> Generator[str]:
    """Yield the files that a call wrote, except those of a new and empty store."""
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        is_whole = any((place / "recipe.json").exists() for place in path.parents)  # a result that the next run uses
        if (
            path.is_file()
            and name.parts[0] != "in"
            and not is_whole
            and name.as_posix().split("/", 1)[-1] not in EMPTY_STORE
        ):
            yield name.as_posix()


@contextlib.contextmanager
def _time_limit() -> Generator[None]:
    """Raise `HangError` in a block that runs for too long."""

    def stop(_number: int, _frame: object) -> None:
        raise HangError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, HANG_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
