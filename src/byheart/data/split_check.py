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
from byheart.core.split_check import BLIND_AUC_LIMIT, Finding, Gate, Verdict
from byheart.core.types import Examples, Split, Texts
from byheart.data.blind_baselines import BlindClassifierResult, aucs, blind_classifier_results, p_value, permuted_labels
from byheart.data.near_duplicates import distinct_positions, shingles
from byheart.stats.intervals import TAIL, holm
from byheart.stats.power import detectable_auc, detectable_tpr, effective_text_count

REVISION = 0
"""Raised when the same texts would be judged otherwise."""

ALPHA = 0.05
DOUBTFUL_DETECTABLE_AUC = 0.65  # where only a higher AUC could be told from chance, little could be seen
DOUBTFUL_NGRAM_OVERLAP = 0.2  # share of the non-members' n-grams in training texts, at which membership blurs
NGRAM_WORDS = 8  # words
MAX_CLASSIFIER_TEXTS = 4000  # texts that blind classifiers look at; of more, so many are taken, evenly spaced


def gate(
    split: Split,
    *,
    near_duplicate: float = 0.8,
    max_tokens: int = 512,
    fpr: float = 0.01,
) -> Gate:
    """Judge a split: texts and groups shared, overlap, blind classifiers, lengths, cut texts, power.

    Without `split.train_groups` the members' groups stand for the groups of all training records. Raises `DataError` if
    members or non-members have fewer than ten groups.
    """
    members, nonmembers = len(split.members), len(split.nonmembers)
    labels, chosen = _permuted_audited_labels(split)
    audited = split.audited.take(chosen)
    groups = tuple(split.groups[i] for i in chosen)
    whole = [f"{p} {s}".strip() for p, s in zip(audited.prompts, audited.scored, strict=True)]
    blinds = blind_classifier_results(whole, labels, groups, bound=BLIND_AUC_LIMIT)
    lengths = np.array([len(s) for s in audited.scored], dtype=np.float64)
    placed = aucs(np.broadcast_to(lengths, labels.shape), labels)
    distances = ks_statistics(lengths, labels)
    tests = [*(b.p_chance for b in blinds), p_value(np.abs(placed - 0.5)), p_value(distances)]
    corrected = [float(p) for p in holm(np.array(tests))]
    bounds = holm(np.array([b.p_bound for b in blinds]))
    findings = (
        *_copy_findings(split, near_duplicate, fpr),
        _shared_groups_finding(split),
        _ngram_overlap_finding(split),
        *(
            _blind_classifier_finding(b, p, float(bound))
            for b, p, bound in zip(blinds, corrected, bounds, strict=False)
        ),
        *_length_findings(lengths, labels[0], (float(placed[0]), float(distances[0])), corrected[len(blinds) :]),
        _truncation_finding(split, max_tokens),
        *_power_findings(split, fpr),
    )
    return Gate(members, nonmembers, findings)


def _permuted_audited_labels(split: Split) -> tuple[Bool[np.ndarray, "labels texts"], list[int]]:
    """Return the true labels and those dealt anew, and the positions among the audited that they are of."""
    total = len(split.membership)
    chosen = (
        np.arange(total)
        if total <= MAX_CLASSIFIER_TEXTS
        else np.linspace(0, total - 1, MAX_CLASSIFIER_TEXTS).astype(int)
    )
    groups = tuple(split.groups[i] for i in chosen)
    return permuted_labels(split.membership[chosen], groups), [int(i) for i in chosen]


def _copy_findings(split: Split, near_duplicate: float, fpr: float) -> Iterable[Finding]:
    parts = (split.train, split.nonmembers)
    scored, prompts = ([t for p in parts for t in getattr(p, field)] for field in ("scored", "prompts"))
    sides = ("train",) * len(split.train) + ("nonmember",) * len(split.nonmembers)
    texts = Texts(tuple(map(str, range(len(sides)))), tuple(scored), tuple(prompts))
    roles = ("pool",) * len(sides)
    found = distinct_positions(Examples(texts, roles, sides), range(len(sides)), near_duplicate)
    total = len(split.nonmembers)
    many = found.near_copies >= fpr * total
    yield _count_finding(
        "exact copies",
        found.exact_copies,
        total,
        "broken",
        "have the very words of a training text, so they were trained on",
    )
    why = "are near copies of training texts" + (", enough to fill the false positives" if many else "")
    yield _count_finding("near copies", found.near_copies, total, "broken" if many else "doubtful", why)


def _count_finding(name: str, count: int, total: int, verdict: Verdict, why: str) -> Finding:
    found = f"{count} of {total} non-members"
    return Finding(name, verdict if count else "sound", found, f"{found} {why}" if count else "", float(count))


def _shared_groups_finding(split: Split) -> Finding:
    trained = set(split.train_groups or split.member_groups)
    count = sum(group in trained for group in split.nonmember_groups)
    why = "are of a group (an article, a triple set, a user) that was trained on"
    return _count_finding("shared groups", count, len(split.nonmembers), "broken", why)


def _ngram_overlap_finding(split: Split) -> Finding:
    """Return the mean share of a non-member's 8-grams that stand in training texts, and a member's in other members."""
    trained, nonmembers = (_ngrams(t.scored) for t in (split.train, split.nonmembers))
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
    why = f"{share:.0%} of a non-member's {NGRAM_WORDS}-grams stand in training texts, so training read much of it"
    blurred = share >= DOUBTFUL_NGRAM_OVERLAP
    return Finding(
        f"word {NGRAM_WORDS}-grams", "doubtful" if blurred else "sound", found, why if blurred else "", share
    )


def _ngrams(texts: Sequence[str]) -> list[frozenset[str]]:
    return [shingles(text.casefold(), NGRAM_WORDS) for text in texts]


def _blind_classifier_finding(result: BlindClassifierResult, p: float, bound: float) -> Finding:
    found = f"AUC {result.auc:.3f} [{result.low:.3f}, {result.high:.3f}], p {p:.3f}"
    verdict: Verdict = "sound" if p > ALPHA else "broken" if bound <= TAIL else "doubtful"
    limit = f"its interval above {BLIND_AUC_LIMIT}" if verdict == "broken" else "above chance"
    why = f"{result.name} tell members from non-members without the model (AUC {result.auc:.2f}, {limit})"
    return Finding(
        f"blind: {result.name}", verdict, found, why if p <= ALPHA else "", result.auc, result.low, result.high, p
    )


def ks_statistics(
    values: Float[np.ndarray, " texts"], label_rows: Bool[np.ndarray, "labels texts"]
) -> Float[np.ndarray, " labels"]:
    """Kolmogorov and Smirnov's statistic for each row of labels: the widest gap between the two shares below a value."""
    order = np.argsort(values)
    last = np.append(np.diff(values[order]) > 0, True)  # tied values are passed together
    members = label_rows[:, order]
    below = members.cumsum(axis=1) / members.sum(axis=1, keepdims=True)
    others = (~members).cumsum(axis=1) / (~members).sum(axis=1, keepdims=True)
    return np.abs(below - others)[:, last].max(axis=1)


def _length_findings(
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


def _truncation_finding(split: Split, max_tokens: int) -> Finding:
    """Return the share of texts that look longer than is read, which is no fault, but is less to go by."""
    audited, shares = split.audited, list[float]()
    long = np.array([len(p) + len(s) > 4 * max_tokens for p, s in zip(audited.prompts, audited.scored, strict=True)])
    for side in (split.membership, ~split.membership):
        shares.append(float(long[side].mean()))
    found = f"about {shares[0]:.1%} of members, {shares[1]:.1%} of non-members (4 characters taken for a token)"
    return Finding(f"cut at {max_tokens} tokens", "sound", found, "", float(long.mean()))


def _power_findings(split: Split, fpr: float) -> Iterable[Finding]:
    members, nonmembers = len(split.members), len(split.nonmembers)
    smallest = detectable_auc(float(members), float(nonmembers))
    least = detectable_auc(effective_text_count(split.member_groups), effective_text_count(split.nonmember_groups))
    # Both are for one attack: the verdict on a model takes the second, and counts every attack that was tried.
    worst = f" if each text counts alone, {least:.3f} if texts of a group say the same" if least > smallest else ""
    why = f"{members} members and {nonmembers} non-members tell only an AUC above {smallest:.3f} from chance"
    coarse = smallest > DOUBTFUL_DETECTABLE_AUC
    found = f"AUC {smallest:.3f} is told from chance at 80 % power by one attack{worst}"
    yield Finding("power, AUC", "doubtful" if coarse else "sound", found, why if coarse else "", smallest)
    name = f"power, TPR at {100 * fpr:g} % FPR"
    try:
        tpr = detectable_tpr(members, nonmembers, fpr)
    except DataError:  # a study that asks for it is refused; others lose nothing
        yield Finding(name, "sound", f"not resolved by fewer than {math.ceil(1 / fpr - 1e-9)} non-members", "", 1.0)
        return
    yield Finding(name, "sound", f"TPR {tpr:.3f} is told from chance at 80 % power by one attack", "", tpr)
