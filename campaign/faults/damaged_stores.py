"""A flipped bit in any file of a finished store: found, named, and repaired when what is named is removed."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from byheart.store.check_store import check_store
from byheart.store.result_files import CHECKSUM
from campaign.checks import CaseRandom, Check
from campaign.faults.trial import Trial, Trials, again, copy_finished, ending
from campaign.kills.moments import Moment, child

MOST = 100
"""Most files of the store, each of which has one case."""
PAGE_EVERY = 5
"""One of this number of cases also writes a page, which takes seconds."""
NAMED = re.compile(r"store: (\S+) is damaged")


def checks(originals: Path) -> list[Check]:
    """Return the check; the model and the study are written into the folder."""
    trials, tried = Trials(originals), list[int]()
    return [Check("flipped bit", flipped(trials, tried), cases=MOST, tried=tried)]


def flipped(trials: Trials, tried: list[int]) -> Callable[[Path, CaseRandom], str]:
    """Return an attempt: flip a bit of the case's file."""

    def attempt(_: Path, chance: CaseRandom) -> str:
        study, page = trials["study"], trials["page"]
        place = study.place()
        copy_finished(study.originals, place)
        files = sorted(p for p in (place / "store").rglob("*") if p.is_file() and "claims" not in p.parts)
        number = chance.among(len(files), MOST)
        tried.append(int(number is not None))
        if number is None:
            return ""
        path = files[number - 1]
        before = path.read_bytes()
        position, name = chance.randrange(len(before)), path.relative_to(place / "store").as_posix()
        byte = bytes([before[position] ^ 1 << chance.randrange(8)])
        path.write_bytes(before[:position] + byte + before[position + 1 :])
        if _is_harmless(before, path.read_bytes()):
            return ""
        with_page = page if chance.number % PAGE_EVERY == 0 else None
        wrong = _judged(study, with_page, place, name)
        return f"byte {position} of {len(before)} of {name}: {wrong}" if wrong else ""

    return attempt


def _judged(study: Trial, page: Trial | None, place: Path, name: str) -> str:
    """Verify, write a page and run with a damaged file, then remove what was named and run again."""
    _, messages = check_store(place / "store")
    named = [Path(match[1]) for message in messages if (match := NAMED.search(message))]
    if not named or not all((place / "store" / name).is_relative_to(path) for path in named):
        return f"verify names {messages}"
    if wrong := (_page_of(page, place) if page else "") or _run_of(study, place, named):
        return wrong
    for path in named:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return again(study, place, unneeded="tokens")  # of a finished training; the next training makes them


def _page_of(page: Trial, place: Path) -> str:
    """Return what is wrong with the page of a damaged store: it is refused, or the page of the undamaged one."""
    ended = child(lambda: page.run.start(place), place, Moment())
    if wrong := ending(ended):
        return f"page: {wrong}"
    is_same = page.run.results(place)["files"] == page.expected["files"]
    return "" if ended.code or is_same else "another page"


def _run_of(study: Trial, place: Path, named: list[Path]) -> str:
    """Return what is wrong with a run in a damaged store: it names what is damaged, or does not need it."""
    ended = child(lambda: study.run.start(place), place, Moment())
    if wrong := ending(ended):
        return f"run: {wrong}"
    if ended.code and not any(path.name in ended.printed for path in named):
        return f"the run does not name {named}: {ended.printed[-500:]}"
    return "" if ended.code else _rows_differ(study, place)


def _rows_differ(study: Trial, place: Path) -> str:
    """Return whether the rows of a run that ended well are others; what was not read may still be damaged."""
    from byheart.store.rows import study_rows
    from byheart.store.store import Store

    rows = sorted(str(row) for row in study_rows(Store(place / "store")) if row.metric != "seconds")
    return "" if rows == study.expected["rows"] else "other rows"


def _is_harmless(before: bytes, after: bytes) -> bool:
    """Whether a change left all values of a JSON file as they were: one in a space, or in the name of the checksum."""
    try:
        first, second = json.loads(before), json.loads(after)
    except ValueError:
        return False
    if isinstance(first, dict) and isinstance(second, dict):
        values = {name: value for name, value in first.items() if name != CHECKSUM}
        return values == {name: value for name, value in second.items() if name in first and name != CHECKSUM}
    return first == second
