"""The whole verdict of an audit: texts, split check, attacks on a language model that is trained on texts, and the word.

Members and non-members are texts of a topic model, in which a planted difference moves the members one way and the
non-members the other. The model is an interpolated bigram model: a base model of a mixed corpus, fine-tuned on texts of the
members' kind. Without leakage it is fine-tuned on other texts than the audited members, so it knows their kind but no
member. With leakage the audited members are among the texts that it is fine-tuned on.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from byheart.auditing.conclude import audit_rows
from byheart.auditing.verdict import ruling
from byheart.core.registry import choose
from byheart.core.split import Split
from byheart.core.split_check import Gate
from byheart.core.types import LogProbs, Scores, Texts
from byheart.data.split_check import gate, with_assignment
from byheart.stats.leakage_tests import RecordLabels
from simulations.pieces import Piece

VOCABULARY = 800
TOPICS = 12
WORDS = 40  # words of a text, on the average
TRAIN = 800  # texts of the fine-tuning
CORPUS = 1000  # texts of the base model
BIGRAM_WEIGHT = 0.1
SPELLED = np.array([f"w{chr(97 + i // 676)}{chr(97 + i // 26 % 26)}{chr(97 + i % 26)}" for i in range(VOCABULARY)])
BASE, FINETUNED = 0, 1
Kind = Literal["none", "topics", "words", "frequency"]
Documents = list[Int[np.ndarray, " words"]]


class Source(NamedTuple):
    """Distributions of words by topic, and the direction in which each kind of difference moves them."""

    topics: Float[np.ndarray, "topics words"]
    direction: Float[np.ndarray, " words"]

    def texts(self, count: int, size: int, kind: Kind, shift: float, chance: np.random.Generator) -> Documents:
        """Draw texts in groups of `size` that share their topics; `shift` moves topics, words, or the share of frequent words."""
        topics, prior = self.topics, np.full(TOPICS, 0.3)
        if kind == "topics":
            prior = prior * np.exp(shift * self.direction[:TOPICS])
        elif kind == "words":
            topics = topics * np.exp(shift * self.direction)
        elif kind == "frequency":
            topics = topics * np.arange(1, VOCABULARY + 1) ** (-shift / 3)
        topics = topics / topics.sum(axis=1, keepdims=True)
        drawn: Documents = []
        while len(drawn) < count:
            shares = chance.dirichlet(prior) @ topics
            lengths = chance.integers(WORDS // 2, WORDS * 3 // 2, size)
            drawn += [chance.choice(VOCABULARY, length, p=shares) for length in lengths]
        return drawn[:count]


def new_source(chance: np.random.Generator) -> Source:
    """Draw the topics, in which frequent words are common to all, and the direction of differences."""
    topics = chance.gamma(0.3, size=(TOPICS, VOCABULARY)) / np.arange(1, VOCABULARY + 1)
    return Source(topics / topics.sum(axis=1, keepdims=True), chance.normal(size=VOCABULARY))


class BigramModel(NamedTuple):
    """Counts of words and of pairs of words, and the base model's word probabilities."""

    words: Float[np.ndarray, " words"]
    pairs: Float[np.ndarray, "words words"]

    def read(self, texts: Documents) -> LogProbs:
        """Return the log-probabilities of the texts' words after the first."""
        single = self.words / self.words.sum()
        rows = self.pairs.sum(axis=1, keepdims=True)
        logp = [
            np.log(
                (1 - BIGRAM_WEIGHT) * single[t[1:]]
                + BIGRAM_WEIGHT * (self.pairs[t[:-1], t[1:]] + 2 * single[t[1:]]) / (rows[t[:-1], 0] + 2)
            )
            for t in texts
        ]
        return LogProbs(logp=np.concatenate(logp), starts=np.cumsum([0, *map(len, logp)]))


def trained(texts: Documents, base: BigramModel | None = None) -> BigramModel:
    """Return a model of these texts, which begins with the base model's word probabilities."""
    words = np.full(VOCABULARY, 0.5) if base is None else 2000 * base.words / base.words.sum()
    pairs = np.zeros((VOCABULARY, VOCABULARY)) if base is None else 0.2 * base.pairs
    for text in texts:
        np.add.at(words, text, 1)
        np.add.at(pairs, (text[:-1], text[1:]), 1)
    return BigramModel(words, pairs)


def split_of(members: Documents, nonmembers: Documents, size: int) -> Split:
    """Return the split of these texts, as an audit makes it from two files."""
    sides = [
        Texts(tuple(f"{side}{i}" for i in range(len(texts))), tuple(" ".join(SPELLED[t]) for t in texts))
        for side, texts in (("m", members), ("n", nonmembers))
    ]
    groups = [tuple(f"{side}{i // size}" for i in range(len(members))) for side in "mn"]
    return Split(sides[0], tuple(range(len(members))), sides[1], Texts((), ()), *groups, counts={})


def word_of(
    split: Split, scores: dict[int, dict[str, Scores]], checked: Gate | None, attacks: tuple[str, ...], *, base: bool
) -> str:
    """Return the verdict of an audit with these attacks, with or without the base model."""
    chosen = {name: choose("attacks", name) for name in attacks}
    of_epoch = {
        epoch: {n: s[n] for n in attacks if n in s} for epoch, s in scores.items() if base or epoch == FINETUNED
    }
    names = {"base": "", "dataset": "", "method": ""}
    rows = audit_rows(names, chosen, [choose("metrics", "auc")], of_epoch, {}, {}, split)
    tuned = [r for r in rows if r.epoch == FINETUNED]
    labels = RecordLabels(split.membership, split.groups)
    return ruling(of_epoch[FINETUNED], of_epoch.get(BASE, {}), tuned, labels, checked).word


def by_verdict(
    kind: Kind, shift: float, size: int, texts: int, chance: np.random.Generator, *, leak: bool = False
) -> dict[str, bool]:
    """One audit, with and without the base model, and what it would conclude without blind classifiers."""
    source = new_source(chance)
    members, others = (source.texts(texts, size, kind, sign * shift, chance) for sign in (1, -1))
    unseen = source.texts(TRAIN, size, kind, shift, chance)
    base = trained(source.texts(CORPUS, 1, "none", 0.0, chance))
    tuned = trained([*members, *unseen[texts:]] if leak else unseen, base)
    audited = [*members, *others]
    passes = {BASE: base.read(audited), FINETUNED: tuned.read(audited)}
    scores = {e: {n: choose("attacks", n)(p) for n in ("loss", "min_k")} for e, p in passes.items()}
    for epoch, read in passes.items():
        scores[epoch]["reference"] = choose("attacks", "reference")(read, passes[BASE])
    split = split_of(members, others, size)
    checked = gate(split)
    unblind = Gate(texts, texts, tuple(f for f in checked.findings if f not in checked.blind_classifiers))
    found: dict[str, bool] = {"broken": checked.verdict == "broken", "not sound": checked.verdict != "sound"}
    for told, attacks, has_base in (
        ("base", ("loss", "min_k", "reference"), True),
        ("no base", ("loss", "min_k"), False),
    ):
        word = word_of(split, scores, checked, attacks, base=has_base)
        drawn = with_assignment(checked, is_random=True)
        found |= {
            f"leaks, {told}": word == "leaks",
            f"differs, {told}": word == "differs",
            f"leaks without comparison, {told}": word_of(split, scores, unblind, attacks, base=has_base) == "leaks",
            f"leaks after a random assignment, {told}": word_of(split, scores, drawn, attacks, base=has_base)
            == "leaks",
        }
    return found


SHIFTS: dict[Kind, tuple[float, ...]] = {
    "topics": (0.1, 0.2, 0.35),
    "words": (0.05, 0.1, 0.15),
    "frequency": (0.03, 0.06, 0.12),
}
TEXTS = 150
COST = 100  # in studies of a normal piece


def pieces() -> Iterator[Piece]:
    """Yield every piece of the table of whole verdicts."""
    for size, told in ((1, "no difference"), (5, "no difference, groups of five")):
        fair = partial(by_verdict, "none", 0.0, size, TEXTS)
        yield Piece("verdicts", told, TEXTS, fair, cost=COST)
        yield Piece("verdicts, leak", told, TEXTS, partial(fair, leak=True), cost=COST)
    for kind, shifts in SHIFTS.items():
        for shift in shifts:
            yield Piece("verdicts", f"{kind}, {shift:g}", TEXTS, partial(by_verdict, kind, shift, 1, TEXTS), cost=COST)
