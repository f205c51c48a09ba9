"""What a run tells while it runs: a line for each cell that a reader takes in at a glance."""

from dataclasses import replace

import numpy as np

from byheart.progress import MANY, NAMED, outcome_line
from byheart.workers import Outcome
from made_up import study


def attacked(aucs):
    """The outcome of a cell whose attacks, `attack0` on, end with these AUCs, and its perplexities."""
    rows = study(datasets=("xsum",), methods=("full",), epochs=(0, 1))
    one = next(r for r in rows if r.metric == "auc" and r.epoch == 1)
    found = [replace(one, attack=f"attack{i}", value=v, low=v - 0.1, high=v + 0.1) for i, v in enumerate(aucs)]
    return Outcome("full", "key", (*found, *(r for r in rows if r.metric == "perplexity")))


def test_few_attacks_are_all_named_in_their_order():
    line = outcome_line(attacked([0.6, 0.9, 0.7, 0.5, 0.8]))
    assert line == (
        "done    full  attack0 0.60 [0.50, 0.70]  attack1 0.90 [0.80, 1.00]  attack2 0.70 [0.60, 0.80]  "
        "attack3 0.50 [0.40, 0.60]  attack4 0.80 [0.70, 0.90]  perplexity 20.00 → 19.00"
    )


def test_of_many_attacks_the_strongest_are_named_and_the_others_counted():
    for number in (MANY + 1, 25):
        aucs = np.random.default_rng(number).permutation(np.linspace(0.3, 0.9, number))
        line = outcome_line(attacked(aucs.tolist()))
        strongest = np.argsort(-aucs)[:NAMED]
        told = "  ".join(f"attack{i} {aucs[i]:.2f} [{aucs[i] - 0.1:.2f}, {aucs[i] + 0.1:.2f}]" for i in strongest)
        assert line == f"done    full  {told}  and {number - NAMED} others, none stronger  perplexity 20.00 → 19.00"


def test_an_attack_with_several_settings_is_several():
    outcome = attacked([0.6, 0.9])
    rows = [replace(r, attack="min_k", attack_settings=f"k=0.{r.attack[-1]}") if r.attack else r for r in outcome.rows]
    line = outcome_line(replace(outcome, rows=tuple(rows)))
    assert "min_k k=0.0 0.60 [0.50, 0.70]  min_k k=0.1 0.90 [0.80, 1.00]" in line
