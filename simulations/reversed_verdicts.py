"""Verdicts in reverse, from texts to the word: without leakage, and for a model that forgot the audited members.

The texts and the language model are those of `simulations.verdicts`. Without leakage the model is fine-tuned on other texts, of
the members' kind or of the non-members'. A training has four evaluations, each after a quarter of the texts. To forget, the
model's counts of the audited members' pairs of words fall below those of pairs that it never saw.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from byheart.auditing.training.alarms import Evaluation, leaking_attacks, reversed_attacks
from byheart.core.registry import choose
from byheart.core.split_check import Gate
from byheart.core.types import LogProbs, Scores
from byheart.data.split_check import gate
from byheart.stats.leakage_tests import RecordLabels
from simulations.pieces import Piece
from simulations.verdicts import (
    BASE,
    CORPUS,
    COST,
    FINETUNED,
    TEXTS,
    TRAIN,
    BigramModel,
    Documents,
    Kind,
    new_source,
    split_of,
    trained,
    word_of,
)

EVALUATIONS = 4
FORGOTTEN = 0.9
"""Share of the prior count of a pair of words that a forgotten text's pairs lose, beside all their own counts."""
NOMINAL = {
    "leaks, no base": 0.025,
    "reversed, no base": 0.025,
    "leaks, base": 0.025,
    "reversed, base": 0.025,
    "any alarm of a training": 0.05,
    "alarm in reverse of a training": 0.005,
}


def forgotten(model: BigramModel, texts: Documents) -> BigramModel:
    """Return the model in which these texts' pairs of words are less likely than pairs that it never saw."""
    prior = 2 * model.words / model.words.sum()
    pairs = model.pairs.copy()
    for text in texts:
        pairs[text[:-1], text[1:]] = -FORGOTTEN * prior[text[1:]]
    return BigramModel(model.words, pairs)


def attacked(read: LogProbs, base: LogProbs) -> dict[str, Scores]:
    """Return the scores of the attacks; `base` are the base model's log-probabilities."""
    scores = {name: choose("attacks", name)(read) for name in ("loss", "min_k")}
    return {**scores, "reference": choose("attacks", "reference")(read, base)}


def by_direction(
    kind: Kind,
    shift: float,
    size: int,
    texts: int,
    chance: np.random.Generator,
    *,
    tuned_on: int = 1,
    forget: bool = False,
    check: bool = True,
) -> dict[str, bool]:
    """One audit with and without the base model, and one training.

    `tuned_on` is the side whose kind is trained on (1: members). Without `check` no blind classifier restrains a claim, so the
    rates are the highest.
    """
    source = new_source(chance)
    members, others = (source.texts(texts, size, kind, sign * shift, chance) for sign in (1, -1))
    unseen = source.texts(TRAIN, size, kind, tuned_on * shift, chance)
    base = trained(source.texts(CORPUS, 1, "none", 0.0, chance))
    audited = [*members, *others]
    steps = [trained(unseen[: TRAIN * k // EVALUATIONS], base) for k in range(1, EVALUATIONS + 1)]
    if forget:
        full = trained([*members, *unseen[texts:]], base)
        steps = [forgotten(full, members) for _ in steps]
    before = base.read(audited)
    by_step = [attacked(before, before), *(attacked(model.read(audited), before) for model in steps)]
    split = split_of(members, others, size)
    checked = gate(split) if check else None
    found: dict[str, bool] = {}
    for name, attacks, has_base in (("no base", ("loss", "min_k"), False), ("base", tuple(by_step[0]), True)):
        word = word_of(split, {BASE: by_step[0], FINETUNED: by_step[-1]}, checked, attacks, base=has_base)
        found |= {f"{wanted}, {name}": word == wanted for wanted in ("leaks", "reversed")}
    alarms = training_alarms(by_step, RecordLabels(split.membership, split.groups), checked)
    return found | {"any alarm of a training": any(alarms), "alarm in reverse of a training": alarms[1]}


def training_alarms(
    by_step: Sequence[dict[str, Scores]], labels: RecordLabels, checked: Gate | None
) -> tuple[bool, bool]:
    """Return whether any evaluation of a training raises an alarm of a leak, and of a leak in reverse."""
    evaluations = [Evaluation(k, float(k), scores, ()) for k, scores in enumerate(by_step)]
    runs = [evaluations[: k + 1] for k in range(1, len(evaluations))]
    return tuple(
        any(alarm(run, labels, len(runs), checked) for run in runs) for alarm in (leaking_attacks, reversed_attacks)
    )


DIFFERENCES: tuple[tuple[Kind, float], ...] = (("topics", 0.2), ("words", 0.1), ("frequency", 0.06))


def pieces() -> Iterator[Piece]:
    """Yield every piece of the table of verdicts in reverse."""
    fair = partial(by_direction, "none", 0.0, 1, TEXTS)
    yield Piece("reversed", "no difference", TEXTS, fair, cost=2 * COST)
    yield Piece(
        "reversed", "no difference, without blind classifiers", TEXTS, partial(fair, check=False), cost=COST / 4
    )
    grouped = partial(by_direction, "none", 0.0, 5, TEXTS)
    yield Piece("reversed", "no difference, groups of five", TEXTS, grouped, cost=4 * COST)
    for kind, shift in DIFFERENCES:
        study = partial(by_direction, kind, shift, 1, TEXTS, tuned_on=-1)
        yield Piece("reversed", f"{kind}, {shift:g}, trained on the non-members' kind", TEXTS, study, cost=4 * COST)
    yield Piece("reversed, forgotten", "no difference", TEXTS, partial(fair, forget=True), cost=4 * COST)
