"""The same commands again: in a new store, in the same store, by two workers, and in batches of other sizes."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from campaign.checks import Check
from campaign.determinism.outputs import (
    EVERYTHING,
    differing,
    hashes,
    largest_difference,
    stop_clock,
    write_all,
    write_originals,
)
from campaign.kills.moments import Moment, child
from campaign.kills.runs import typed

BUDGETS = (48, 256, 100_000)
"""Maximum tokens of a batch: a text or two, some texts, all texts. The default is 4,096."""
TOLERANCE = 1e-5
"""Largest difference of scores between batches of other sizes, relative to scores above 1: sums are in another order."""


def checks(originals: Path) -> list[Check]:
    """Return the checks; the model and texts are written into the folder."""
    write_originals(originals)
    return [
        Check("study and pack again", lambda folder, _: repeated(originals, folder, ("study", "pack"))),
        Check("all commands again", lambda folder, _: repeated(originals, folder)),
        Check("page and pack of the same store", lambda folder, _: rewritten(originals, folder)),
        Check("two workers", lambda folder, _: by_two_workers(originals, folder)),
        *(Check(f"token budget {budget}", in_batches(originals, budget)) for budget in BUDGETS),
    ]


def repeated(originals: Path, folder: Path, names: tuple[str, ...] = EVERYTHING) -> str:
    """Run all commands twice in empty folders of one name, and return the files that differ."""
    found = [_written(originals, folder, number, names) for number in range(2)]
    if not all(found):
        return "a command fails"
    names_of = differing(*found)
    return f"{len(names_of)} of {len(found[0])} files differ: {names_of[:8]}" if names_of else ""


def rewritten(originals: Path, folder: Path) -> str:
    """Write the page and the pack of one store twice, and return the files that differ."""
    found = [_written(originals, folder, 0, ("study", "page", "pack"))]
    place = folder / "0"
    (place / "page.html").unlink()
    (place / "pack.tar.xz").unlink()
    place.rename(folder / "place")
    found.append(_written(originals, folder, 1, ("page", "pack")))
    return f"differ: {names[:8]}" if (names := differing(*found)) else ""


def _written(originals: Path, folder: Path, number: int, names: tuple[str, ...]) -> dict[str, str]:
    """Run commands in the folder `place`, move it to its number, and return the hashes of its files; {} if a command fails."""
    place = folder / "place"
    place.mkdir(exist_ok=True)
    ended = child(lambda: write_all(originals, place, names), place, Moment())
    if ended.code:
        raise RuntimeError(ended.printed[-1500:])
    found = hashes(place)
    place.rename(folder / str(number))
    return found


def by_two_workers(originals: Path, folder: Path) -> str:
    """Return which results of two workers differ from those of one: files without times, scores and rows."""
    for name in ("one", "two"):
        if wrong := _run(originals, folder, name):
            return wrong
    first, second = (folder / name / "store" for name in ("one", "two"))
    timed = {"recipe.json", "rows.json", "facts.json"}  # they state when they were made, and seconds
    names = [n for n in differing(hashes(first), hashes(second)) if n.count("/") > 1 and Path(n).name not in timed]
    if names:
        return f"differ: {names[:8]}"
    scores, rows = largest_difference(first, second)
    return f"scores differ by {scores:.1e}, rows by {rows:.1e}" if max(scores, rows) > 0 else ""


def in_batches(originals: Path, budget: int) -> Callable[[Path, random.Random], str]:
    """Return an attempt: the scores of batches of another size differ by rounding only."""

    def attempt(folder: Path, _: random.Random) -> str:
        for name, words in (("one", ()), ("budget", ("--set", f"machine.token_budget={budget}"))):
            if wrong := _run(originals, folder, "one", name, *words):
                return wrong
        scores, rows = largest_difference(folder / "one" / "store", folder / "budget" / "store")
        return f"scores differ by {scores:.1e}, rows by {rows:.1e}" if scores > TOLERANCE else ""

    return attempt


def _run(originals: Path, folder: Path, study: str, name: str = "", *words: object) -> str:
    place = folder / (name or study)
    place.mkdir()

    def start() -> None:
        if study == "one":
            stop_clock()
        typed("run", originals / f"{study}.yaml", "--store", place / "store", *words)

    ended = child(start, place, Moment())
    return f"{name or study} ends with {ended.code}: {ended.printed[-1000:]}" if ended.code else ""
