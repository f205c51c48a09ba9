"""What a run prints while it runs: one short line for each cell."""

import contextlib
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest

import byheart
from byheart.cli.progress import (
    ATTACKS_NAMED_OF_MANY,
    MAX_ATTACKS_NAMED,
    JsonLines,
    LogLines,
    ProgressBar,
    outcome_line,
)
from byheart.study.progress_events import Event
from byheart.study.run_cells import CellOutcome
from testing.made_up import study, tiny_study


def attacked(aucs):
    """The outcome of a cell whose attacks, `attack0` on, end with these AUCs, and its perplexities."""
    rows = study(datasets=("xsum",), methods=("full",), epochs=(0, 1))
    one = next(r for r in rows if r.metric == "auc" and r.epoch == 1)
    found = [replace(one, attack=f"attack{i}", value=v, low=v - 0.1, high=v + 0.1) for i, v in enumerate(aucs)]
    return CellOutcome("full", "key", (*found, *(r for r in rows if r.metric == "perplexity")))


def test_few_attacks_are_all_named_in_order():
    line = outcome_line(attacked([0.6, 0.9, 0.7, 0.5, 0.8]))
    assert line == (
        "done    full  attack0 0.60 [0.50, 0.70]  attack1 0.90 [0.80, 1.00]  attack2 0.70 [0.60, 0.80]  "
        "attack3 0.50 [0.40, 0.60]  attack4 0.80 [0.70, 0.90]  perplexity 20.00 → 19.00"
    )


def test_the_strongest_of_many_attacks_are_named_and_the_others_counted():
    for number in (MAX_ATTACKS_NAMED + 1, 25):
        aucs = np.random.default_rng(number).permutation(np.linspace(0.3, 0.9, number))
        line = outcome_line(attacked(aucs.tolist()))
        strongest = np.argsort(-aucs)[:ATTACKS_NAMED_OF_MANY]
        reported = "  ".join(f"attack{i} {aucs[i]:.2f} [{aucs[i] - 0.1:.2f}, {aucs[i] + 0.1:.2f}]" for i in strongest)
        assert (
            line
            == f"done    full  {reported}  and {number - ATTACKS_NAMED_OF_MANY} others, none stronger  perplexity 20.00 → 19.00"
        )


def test_an_attack_with_several_settings_counts_as_several():
    outcome = attacked([0.6, 0.9])
    rows = [replace(r, attack="min_k", attack_settings=f"k=0.{r.attack[-1]}") if r.attack else r for r in outcome.rows]
    line = outcome_line(replace(outcome, rows=tuple(rows)))
    assert "min_k k=0.0 0.60 [0.50, 0.70]  min_k k=0.1 0.90 [0.80, 1.00]" in line


def step(work):
    return Event("step", "cell", "done", work)


@pytest.mark.parametrize("shown", [LogLines, ProgressBar])
def test_stored_results_count_from_the_beginning(shown):
    stream = io.StringIO()
    show = shown(stream)
    show.on_plan((None, None), 30.0, 70.0)
    assert stream.getvalue().startswith("2 cells; 70 % of the work is cached\n")
    assert show.clock.progress_text() == "70 %", "nothing of this run says how fast it is"
    show.on_event(Event("begin", "cell", "loading the base model"))
    assert show.clock.progress_text() == "70 %"
    show.on_event(step(15.0))
    assert re.fullmatch(r"85 %, about \d+ s left", show.clock.progress_text())
    show.on_event(step(1000.0))
    assert show.clock.progress_text() == "100 %, about 0 s left"
    show.close()


def test_the_remaining_time_depends_only_on_this_runs_work(monkeypatch):
    seconds = [0.0]
    monkeypatch.setattr("byheart.cli.progress.time.monotonic", lambda: seconds[0])
    show = LogLines(io.StringIO())
    show.on_plan((None,), 40.0, 50.0)
    show.on_event(Event("begin", "cell", "going on after epoch 1", 10.0))
    assert show.clock.progress_text() == "67 %"
    seconds[0] = 5.0
    show.on_event(step(10.0))
    assert show.clock.progress_text() == "78 %, about 10 s left", "ten in five seconds, twenty to do"


def test_a_run_without_work_reports_it():
    for shown in (LogLines, ProgressBar):
        stream = io.StringIO()
        show = shown(stream)
        show.on_plan((None,), 0.0, 70.0)
        show.close()
        assert stream.getvalue().strip() == "1 cell; all results are cached"


def test_long_work_is_announced_before_it_starts(tiny_folder, tmp_path):
    texts = []
    assert not byheart.run(content(tiny_folder("llama")), store=tmp_path, tell=lambda e: texts.append(e.text)).failed
    started = next(i for i, t in enumerate(texts) if re.match(r"training epoch 1\b", t))
    assert started < next(i for i, t in enumerate(texts) if t.startswith("epoch 1 trained"))


def test_a_bar_shows_its_elapsed_time():
    stream = io.StringIO()
    show = ProgressBar(stream)
    show.on_plan((None,), 40.0, 0.0)
    show.progress.tasks[0].start_time -= 754
    show.close()
    assert "0:12:34" in stream.getvalue()


def content(folder, **changes):
    return tiny_study(folder, **{"attacks": ["loss", "reference"], **changes})


def shares(written, store, stop="never"):
    """Run a study until it prints `stop`, and return the printed shares, starting with the initial one."""
    stream = io.StringIO()
    show = LogLines(stream)

    def tell(event):
        show.on_event(event)
        if stop in event.text:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        assert not byheart.run(written, store=store, tell=tell, begun=show.on_plan).failed
    return [int(share) for share in re.findall(r"(\d+) %", stream.getvalue())]


@pytest.mark.parametrize("stop", ["epoch 1 observed", "epoch 2 trained"])
def test_a_resumed_study_counts_from_where_it_stopped(tiny_folder, tmp_path, stop):
    written = content(tiny_folder("llama"), seeds=[0, 1])
    first = shares(written, tmp_path, stop=stop)
    assert (first[0], first[-1] < 50) == (0, True)
    second = shares({**written, "seeds": [0]}, tmp_path)
    assert second[0] > 0
    assert second[-1] == 100, "what it read or trained before it stopped counts too"
    rest = shares(written, tmp_path)
    assert rest[0] in range(45, 60), "one of two seeds, and the base's passes, which both share"
    assert rest == sorted(rest)
    assert rest[-1] == 100


def test_json_output_reports_the_stored_work():
    stream = io.StringIO()
    JsonLines(stream).on_plan((), 30.0, 70.0)
    assert json.loads(stream.getvalue()) == {"event": "begun", "cells": [], "work": 30.0, "made": 70.0}
