"""A study that lost the power at any moment is run again, and has the rows and scores of the unbroken run."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from campaign.checks import Check
from campaign.kills.moments import Moment, as_json, child
from campaign.kills.runs import Run, runs
from campaign.power_loss.recorder import record
from campaign.power_loss.replay import KINDS, write_lost

RERUNS = 6
"""Moments after which the study is run again."""


def checks(originals: Path) -> list[Check]:
    """Return the check; the model and the study file are written into the folder."""
    study = next(run for run in runs(originals) if run.name == "study")
    return [Check("study", lambda folder, chance: _again(study, folder, chance), cases=RERUNS)]


def _again(run: Run, folder: Path, chance: random.Random) -> str:
    """Lose the power at a drawn moment of a run, run it again, and compare with the unbroken run."""
    place = folder / "place"
    place.mkdir()
    states = record(lambda: run.start(place), place)
    expected = run.results(place)
    state, kind = chance.choice(states), chance.choice(KINDS)
    shutil.rmtree(place)
    write_lost(state, place, kind, chance)
    where = f"before {state.operation}, {kind}"
    again = child(lambda: run.start(place), place, Moment())
    if again.code:
        return f"{where}: the next run ends with {again.code}: {again.printed[-800:]}"
    found = run.results(place)
    differing = [name for name in expected if as_json(expected[name]) != as_json(found[name])]
    return f"{where}: other {differing}" if differing else ""
