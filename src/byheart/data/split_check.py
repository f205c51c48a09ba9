"""Is the comparison of members with non-members fair? Judged before any model is trained; no model is asked.

A membership score means something only if nothing but training sets members apart. What is looked at, and the rules of
the verdict, stand in docs/validity.md: *broken* where an attack's number could be had without the model, *doubtful*
where something differs or too little could be seen, *sound* where no check found anything. Sound says that the
comparison is fair as far as it was looked at; it says nothing of what a model keeps.

- Blind classifiers: `byheart.data.blind_baselines`. Differences are tested by dealing the labels anew, by whole groups, and all tests
  of one data set share an error of 5 % (Holm).
- Overlap of word 8-grams: after Michael Duan et al., Do Membership Inference Attacks Work on Large Language Models?,
  COLM 2024, arXiv 2402.07841, where non-members that share n-grams with the training texts blur what a member is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Float

from byheart.core.errors import DataError
from byheart.core.split_check import BOUND, Finding, Gate, Verdict
from byheart.core.types import Examples, Split, Texts
from byheart.data.blind_baselines import Blind, aucs, blind, p_value, relabelled
from byheart.data.near_duplicates import distinct, shingles
from byheart.stats.intervals import TAIL, holm
from byheart.stats.power import effective, smallest_auc, smallest_tpr

REVISION = 0
"""Raised when the same texts would be judged otherwise."""

ALPHA = 0.05
COARSE = 0.65  # where only a higher AUC could be told from chance, little could be seen
OVERLAP = 0.2  # share of the non-members' n-grams in training texts, at which membership blurs
GRAM = 8  # words
LARGEST = 4000  # texts that blind classifiers look at; of more, so many are taken, evenly spaced


def gate(
    split: Split,
    *,
    train_groups: Sequence[str] | None = None,
    near_duplicate: float = 0.8,
    max_tokens: int = 512,
    fpr: float = 0.01,
) -> Gate:
    """Judge a split: texts and groups shared, overlap, blind classifiers, lengths, cut texts, power.

    `train_groups` are the groups of all training texts; without them, the members' groups stand for them. Raises
    `DataError` where members or non-members are of fewer than ten groups.
    """
    members, nonmembers = len(split.members), len(split.nonmembers)
    labels, chosen = _labels(split)
    audited = split.audited.take(chosen)
    groups = tuple(split.groups[i] for i in chosen)
    whole = [f"{p} {s}".strip() for p, s in zip(audited.prompts, audited.scored, strict=True)]
    blinds = blind(whole, labels, groups, bound=BOUND)
    lengths = np.array([len(s) for s in audited.scored], dtype=np.float64)
    placed = aucs(np.broadcast_to(lengths, labels.shape), labels)
    distances = gaps(lengths, labels)
    tests = [*(b.p_chance for b in blinds), p_value(np.abs(placed - 0.5)), p_value(distances)]
    corrected = [float(p) for p in holm(np.array(tests))]
    bounds = holm(np.array([b.p_bound for b in blinds]))
    findings = (
        *_copies(split, near_duplicate, fpr),
        _shared_groups(split, train_groups),
        _overlap(split),
        *(_blind(b, p, float(bound)) for b, p, bound in zip(blinds, corrected, bounds, strict=False)),
        *_lengths(lengths, labels[0], (float(placed[0]), float(distances[0])), corrected[len(blinds) :]),
        _cut(split, max_tokens),
        *_power(split, fpr),
    )
    return Gate(members, nonmembers, findings)


def _labels(split: Split) -> tuple[Bool[np.ndarray, "labels texts"], list[int]]:
    """Return the true labels and those dealt anew, and the positions among the audited that they are of."""
    total = len(split.membership)
    chosen = np.arange(total) if total <= LARGEST else np.linspace(0, total - 1, LARGEST).astype(int)
    groups = tuple(split.groups[i] for i in chosen)
    return relabelled(split.membership[chosen], groups), [int(i) for i in chosen]


def _copies(split: Split, near_duplicate: float, fpr: float) -> Iterable[Finding]:
    parts = (split.train, split.nonmembers)
    scored, prompts = ([t for p in parts for t in getattr(p, field)] for field in ("scored", "prompts"))
    sides = ("train",) * len(split.train) + ("nonmember",) * len(split.nonmembers)
    texts = Texts(tuple(map(str, range(len(sides)))), tuple(scored), tuple(prompts))
    roles = ("pool",) * len(sides)
    found = distinct(Examples(texts, roles, sides), range(len(sides)), near_duplicate)
    total = len(split.nonmembers)
    many = found.near >= fpr * total
    yield _counted(
        "exact copies", found.exact, total, "broken", "have the very words of a training text, so they were trained on"
    )
    why = "are near copies of training texts" + (", enough to fill the false positives" if many else "")
    yield _counted("near copies", found.near, total, "broken" if many else "doubtful", why)


def _counted(name: str, count: int, total: int, verdict: Verdict, why: str) -> Finding:
    found = f"{count} of {total} non-members"
    return Finding(name, verdict if count else "sound", found, f"{found} {why}" if count else "", float(count))


def _shared_groups(split: Split, train_groups: Sequence[str] | None) -> Finding:
    trained = set(split.member_groups if train_groups is None else train_groups)
    count = sum(group in trained for group in split.nonmember_groups)
    why = "are of a group (an article, a triple set, a user) that was trained on"
    return _counted("shared groups", count, len(split.nonmembers), "broken", why)


def _overlap(split: Split) -> Finding:
    """Return the mean share of a non-member's 8-grams that stand in training texts, and a member's in other members."""
    trained, nonmembers = (_grams(t.scored) for t in (split.train, split.nonmembers))
    known = frozenset().union(*trained)
    share = float(np.mean([len(grams & known) / len(grams) for grams in nonmembers]))
    members = [trained[i] for i in split.members]
    owners: dict[str, set[str]] = {}
    for grams, group in zip(members, split.member_groups, strict=True):
        for gram in grams:
            owners.setdefault(gram, set()).add(group)
    inside = float(np.mean([sum(len(owners[g]) > 1 for g in grams) / len(grams) for grams in members]))
    between = float(np.mean([sum(g in owners for g in grams) / len(grams) for grams in nonmembers]))
    found = f"{share:.1%} in training texts; {between:.1%} in members, members' own {inside:.1%}"
    why = f"{share:.0%} of a non-member's {GRAM}-grams stand in training texts, so training read much of it"
    blurred = share >= OVERLAP
    return Finding(f"word {GRAM}-grams", "doubtful" if blurred else "sound", found, why if blurred else "", share)


def _grams(texts: Sequence[str]) -> list[frozenset[str]]:
    return [shingles(text.casefold(), GRAM) for text in texts]


def _blind(judged: Blind, p: float, bound: float) -> Finding:
    found = f"AUC {judged.auc:.3f} [{judged.low:.3f}, {judged.high:.3f}], p {p:.3f}"
    verdict: Verdict = "sound" if p > ALPHA else "broken" if bound <= TAIL else "doubtful"
    limit = f"its interval above {BOUND}" if verdict == "broken" else "above chance"
    why = f"{judged.name} tell members from non-members without the model (AUC {judged.auc:.2f}, {limit})"
    return Finding(
        f"blind: {judged.name}", verdict, found, why if p <= ALPHA else "", judged.auc, judged.low, judged.high, p
    )


def gaps(
    values: Float[np.ndarray, " texts"], relabelled: Bool[np.ndarray, "labels texts"]
) -> Float[np.ndarray, " labels"]:
    """Kolmogorov and Smirnov's statistic for each row of labels: the widest gap between the two shares below a value."""
    order = np.argsort(values)
    last = np.append(np.diff(values[order]) > 0, True)  # tied values are passed together
    members = relabelled[:, order]
    below = members.cumsum(axis=1) / members.sum(axis=1, keepdims=True)
    others = (~members).cumsum(axis=1) / (~members).sum(axis=1, keepdims=True)
    return np.abs(below - others)[:, last].max(axis=1)


def _lengths(
    lengths: Float[np.ndarray, " texts"],
    membership: Bool[np.ndarray, " texts"],
    statistics: tuple[float, float],
    p_values: Sequence[float],
) -> Iterable[Finding]:
    """Give Mann and Whitney's test, that one side is longer, and Kolmogorov and Smirnov's, that they spread otherwise."""
    middle, others = float(np.median(lengths[membership])), float(np.median(lengths[~membership]))
    medians = f"medians {middle:.0f} and {others:.0f} characters"
    for name, short, value, p in zip(
        ("length, position", "length, shape"), ("AUC", "distance"), statistics, p_values, strict=True
    ):
        verdict: Verdict = "doubtful" if p <= ALPHA else "sound"
        why = f"members and non-members differ in length ({medians}, {short} {value:.2f})" if p <= ALPHA else ""
        found = f"{short} {value:.3f}, p {p:.3f}; {medians}"
        yield Finding(name, verdict, found, why, value, p_value=p)


def _cut(split: Split, max_tokens: int) -> Finding:
    """Return the share of texts that look longer than is read, which is no fault, but is less to go by."""
    audited, shares = split.audited, list[float]()
    long = np.array([len(p) + len(s) > 4 * max_tokens for p, s in zip(audited.prompts, audited.scored, strict=True)])
    for side in (split.membership, ~split.membership):
        shares.append(float(long[side].mean()))
    found = f"about {shares[0]:.1%} of members, {shares[1]:.1%} of non-members (4 characters taken for a token)"
    return Finding(f"cut at {max_tokens} tokens", "sound", found, "", float(long.mean()))


def _power(split: Split, fpr: float) -> Iterable[Finding]:
    members, nonmembers = len(split.members), len(split.nonmembers)
    smallest = smallest_auc(float(members), float(nonmembers))
    least = smallest_auc(effective(split.member_groups), effective(split.nonmember_groups))
    # Both are for one attack: the verdict on a model takes the second, and counts every attack that was tried.
    worst = f" if each text counts alone, {least:.3f} if texts of a group say the same" if least > smallest else ""
    why = f"{members} members and {nonmembers} non-members tell only an AUC above {smallest:.3f} from chance"
    coarse = smallest > COARSE
    found = f"AUC {smallest:.3f} is told from chance at 80 % power by one attack{worst}"
    yield Finding("power, AUC", "doubtful" if coarse else "sound", found, why if coarse else "", smallest)
    name = f"power, TPR at {100 * fpr:g} % FPR"
    try:
        tpr = smallest_tpr(members, nonmembers, fpr)
    except DataError:  # a study that asks for it is refused; others lose nothing
        yield Finding(name, "sound", f"not resolved by fewer than {math.ceil(1 / fpr - 1e-9)} non-members", "", 1.0)
        return
    yield Finding(name, "sound", f"TPR {tpr:.3f} is told from chance at 80 % power by one attack", "", tpr)
