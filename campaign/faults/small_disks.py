"""A real small disk (tmpfs), which is full after a drawn number of pages or files, also for libraries that write by themselves.

Linux mounts one for the administrator only; elsewhere this topic has no cases and says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from campaign.checks import CaseRandom, Check
from campaign.faults.trial import Trial, Trials, copy_finished, problem
from campaign.kills.campaign import NEEDS_STORE

MOST = {"study": 8, "audit": 2, "pack": 2, "plant": 2, "page": 1}
"""Most sizes of the disk for each run and limit; all sizes of a shorter run."""
PAGE_BYTES = 4096
AMPLE = "size=64m,nr_inodes=100000"


def checks(originals: Path) -> list[Check]:
    """Return a check for each run and limit; models and texts are written into the folder."""
    if reason := cannot_mount():
        print(f"faults small_disks: skipped, because {reason}", flush=True)
        return []
    trials = Trials(originals)
    found: list[Check] = []
    for run, limit in ((run, limit) for run in MOST for limit in ("size", "nr_inodes")):
        tried = list[int]()
        found.append(Check(f"{run}: {limit}", full(trials, run, limit, tried), cases=MOST[run], tried=tried))
    return found


def cannot_mount() -> str:
    """Return why no tmpfs can be mounted; "" if one can."""
    if not Path("/proc/mounts").exists():
        return "tmpfs is a file system of Linux"
    with tempfile.TemporaryDirectory(prefix="campaign-mount-") as name:
        done = _mount(Path(name), AMPLE)
        if done.returncode == 0:
            _unmount(Path(name))
        return "" if done.returncode == 0 else f"mount is not permitted ({done.stderr.strip()})"


def full(trials: Trials, run: str, limit: str, tried: list[int]) -> Callable[[Path, CaseRandom], str]:
    """Return an attempt: run on a disk of the case's size, which is too small."""

    def attempt(_: Path, chance: CaseRandom) -> str:
        trial = trials[run]
        needed = _needed(trial.originals / "unbroken" / run, limit)
        if run in NEEDS_STORE:
            needed -= _needed(trial.originals / "unbroken" / "study", limit)
        size = chance.among(needed, MOST[run])
        tried.append(int(size is not None))
        if size is None:
            return ""
        wrong = _on_disk(trial, limit, size)
        return f"{limit} {size} of {needed}: {wrong}" if wrong else ""

    return attempt


def _on_disk(trial: Trial, limit: str, size: int) -> str:
    place = trial.place()
    shutil.rmtree(place / "store", ignore_errors=True)
    _mount(place, AMPLE).check_returncode()
    try:
        if trial.run.name in NEEDS_STORE:
            copy_finished(trial.originals, place)
        used = os.statvfs(place)
        if limit == "size":
            smaller = f"size={(used.f_blocks - used.f_bfree + size) * PAGE_BYTES}"
        else:
            smaller = f"nr_inodes={used.f_files - used.f_ffree + size}"
        _mount(place, f"remount,{smaller}").check_returncode()
        return problem(
            trial,
            lambda _: None,
            place=place,
            after=lambda: _mount(place, f"remount,{AMPLE}").check_returncode(),
        )
    finally:
        _unmount(place)


def _needed(place: Path, limit: str) -> int:
    """Return the pages of all files of a finished run, or the number of its files and folders."""
    paths = list(place.rglob("*"))
    return len(paths) if limit == "nr_inodes" else sum(-(-p.stat().st_size // PAGE_BYTES) for p in paths if p.is_file())


def _mount(place: Path, options: str) -> subprocess.CompletedProcess[str]:
    words = ["mount", "-t", "tmpfs", "-o", options, "byheart-campaign", str(place)]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
    except OSError as error:
        return subprocess.CompletedProcess(words, 1, "", str(error))


def _unmount(place: Path) -> None:
    subprocess.run(["umount", "--lazy", str(place)], check=True)  # noqa: S603, S607 - as above
