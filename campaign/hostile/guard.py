"""Watches a call on hostile inputs: the files that it opens, the memory and the disk that it takes, and what it prints."""

from __future__ import annotations

import contextlib
import resource
import sys
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from campaign.outcomes import Outcome, outcome, typed

SECRET = "zq-private-7731"  # noqa: S105 - a word that nothing may print
LARGEST_OUTPUT = 50 << 20
"""Maximum bytes that a call may write."""
LARGEST_MEMORY = 5 << 20
"""Maximum KiB by which the process may grow."""
_opened: list[str] | None = None
_is_hooked = False


def outside(folder: Path) -> Path:
    """Return a folder beside a hostile one that no call may read."""
    place = folder / "in" / "outside"
    place.mkdir(parents=True, exist_ok=True)
    (place / "secret.txt").write_text(SECRET)
    return place


def marker(folder: Path) -> Path:
    """Return the file that hostile code would write."""
    (folder / "in").mkdir(exist_ok=True)
    return folder / "in" / "ran"


def problem(
    folder: Path, call: Callable[[], Outcome | None], expected: Sequence[str] = ("refused", "done"), *, named: str = ""
) -> str:
    """Return what a call did that it may not do; "" if it was refused in one line that has `named`, or ended with a right result."""
    outside(folder)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with watched() as opened:
        found = outcome(call, folder)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    read = [path for path in opened if path.startswith(str(folder / "in" / "outside"))]
    written = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and "in" not in p.parts)
    wrong = {
        "ran code": marker(folder).exists(),
        f"read {read[:1]}": bool(read),
        "printed a secret": SECRET in found.words,
        f"wrote {written >> 20} MiB": written > LARGEST_OUTPUT,
        f"took {grown >> 10} MiB": grown > LARGEST_MEMORY,
        f"refused for another reason than {named}": found.kind == "refused" and named not in found.words,
        f"{found.kind}, expected {' or '.join(expected)}": found.kind not in expected,
    }
    words = ", ".join(word for word, is_wrong in wrong.items() if is_wrong)
    return f"{words}: {found.place} {found.words}" if words else ""


def audit(model: Path, members: Path, nonmembers: Path, *more: object) -> Outcome | None:
    """Audit a model on two files of texts by the loss."""
    texts = ["--members", members, "--nonmembers", nonmembers, "--max-tokens", 16]
    return typed([*map(str, ["audit", "--model", model, *texts, "--device", "cpu", "--attacks", "loss", *more])])


@contextlib.contextmanager
def watched() -> Generator[list[str]]:
    """Yield the list of the paths that this process opens in the block."""
    global _opened, _is_hooked  # noqa: PLW0603 - an audit hook cannot be removed
    if not _is_hooked:
        sys.addaudithook(_hook)
        _is_hooked = True
    opened = _opened = []
    try:
        yield opened
    finally:
        _opened = None


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _opened is not None:
        _opened.append(str(arguments[0]))
