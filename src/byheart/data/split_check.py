"""The split check: tests whether members and non-members are comparable. It runs before training and uses no model.

A membership score measures leakage only if training is the only difference between members and non-members.
docs/validity.md lists the tests and the rules of the verdict: *broken* if an attack could reach its number without the
model, *doubtful* if something differs or the power is low, *sound* if no test reports a problem. Sound describes the
comparison as far as it was tested, not what a model memorizes.

- Blind classifiers: `byheart.data.blind_baselines`. Differences are tested by permuting the labels by whole groups, and all
  tests of one data set share an error of 5 % (Holm).
- Overlap of word 8-grams (character 13-grams in scripts without spaces): after Michael Duan et al., Do Membership Inference
  Attacks Work on Large Language Models?, COLM 2024, arXiv 2402.07841, where non-members that share n-grams with the training
  texts blur what a member is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from byheart.core.errors import DataError
from byheart.core.split import Examples, Split
from byheart.core.split_check import ASSIGNMENT, BLIND_AUC_LIMIT, BLIND_PREFIX, Finding, Gate, Verdict
from byheart.core.types import Texts
from byheart.data.blind_baselines import BlindClassifierResult, aucs, blind_classifier_results, p_value, permuted_labels
from byheart.data.near_duplicates import distinct_positions, shingles
from byheart.data.text_units import is_written_without_spaces, text_units
from byheart.stats.intervals import TAIL, holm
from byheart.stats.power import detectable_auc, detectable_tpr, effective_text_count

REVISION = 1
"""Raise this number when the verdict on the same texts changes."""

ALPHA = 0.05
DOUBTFUL_DETECTABLE_AUC = 0.65  # power is low if only a higher AUC is distinguishable from chance
DOUBTFUL_NGRAM_OVERLAP = 0.2  # mean share of a non-member's n-grams in training texts
NEAR_DUPLICATES, NGRAMS_SUFFIX = "near duplicates", "-grams"
"""Names of findings, or their end."""
NGRAM_WORDS = 8
NGRAM_CHARACTERS = 13  # characters of about eight words in scripts without spaces
MAX_CLASSIFIER_TEXTS = 4000  # maximum number of texts for the blind classifiers, evenly spaced among the audited texts


def gate(
    split: Split,
    *,
    near_duplicate: float = 0.8,
    max_tokens: int = 512,
    fpr: float = 0.01,
) -> Gate:
    """Check a split: shared texts and groups, overlap, blind classifiers, lengths, truncated texts and power.

    Without `split.train_groups` the members' groups are used as the groups of all training records. Raises `DataError` if
    members or non-members have fewer than ten groups.
    """
    members, nonmembers = len(split.members), len(split.nonmembers)
    labels, chosen = _permuted_audited_labels(split)
    audited = split.audited.take(chosen)
    groups = tuple(split.groups[i] for i in chosen)
    columns = tuple(zip(audited.prompts, audited.scored, audited.rejected, strict=True))
    full_texts = [" ".join(column).strip() for column in columns]
    classifiers = blind_classifier_results(full_texts, labels, groups, bound=BLIND_AUC_LIMIT)
    lengths = np.array([len(s) + len(r) for _, s, r in columns], dtype=np.float64)
    length_aucs = aucs(np.broadcast_to(lengths, labels.shape), labels)
    distances = ks_statistics(lengths, labels)
    p_values = [*(c.p_chance for c in classifiers), p_value(np.abs(length_aucs - 0.5)), p_value(distances)]
    corrected = [float(p) for p in holm(np.array(p_values))]
    bound_p_values = holm(np.array([c.p_bound for c in classifiers]))
    length_statistics = (float(length_aucs[0]), float(distances[0]))
    findings = (
        *_copy_findings(split, near_duplicate, fpr),
        _shared_groups_finding(split),
        _ngram_overlap_finding(split),
        *(
            _blind_classifier_finding(classifier, p, float(p_bound))
            for classifier, p, p_bound in zip(classifiers, corrected, bound_p_values, strict=False)
        ),
        *_length_findings(lengths, labels[0], length_statistics, corrected[len(classifiers) :]),
        _truncation_finding(split, max_tokens),
        *_power_findings(split, fpr),
    )
    return Gate(members, nonmembers, findings)


def with_assignment(gate: Gate, *, is_random: bool) -> Gate:
    """Return the gate with a finding that states who assigned members and non-members: byheart at random, or others."""
    how = "drawn at random from one pool, by whole groups" if is_random else "given by the data set"
    return replace(gate, findings=(*gate.findings, Finding(ASSIGNMENT, "sound", how, "", float(is_random))))


def of_canaries(gate: Gate) -> Gate:
    """Return the gate of canaries that fair coins assigned to members and non-members.

    Canaries of one kind share a record and a format and differ in their secret, so near duplicates and common n-grams are by
    construction, not a sign that held-out secrets were trained on. Exact duplicates stay a finding.
    """
    findings = tuple(
        replace(f, verdict="sound", found=f"{f.found}; canaries of one kind share a format", why="")
        if f.name == NEAR_DUPLICATES or (f.name.endswith(NGRAMS_SUFFIX) and not f.name.startswith(BLIND_PREFIX))
        else f
        for f in gate.findings
    )
    coins = Finding(ASSIGNMENT, "sound", "by a fair coin per canary", "", 1.0)
    return replace(gate, findings=(*findings, coins))


def _permuted_audited_labels(split: Split) -> tuple[Bool[np.ndarray, "labels texts"], list[int]]:
    """Return the true and permuted labels, and the positions of their texts among the audited texts."""
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
    groups = ("train",) * len(split.train) + ("nonmember",) * len(split.nonmembers)
    texts = Texts(tuple(map(str, range(len(groups)))), tuple(scored), tuple(prompts))
    roles = ("pool",) * len(groups)
    distinct = distinct_positions(Examples(texts, roles, groups), range(len(groups)), near_duplicate)
    total = len(split.nonmembers)
    why = "have exactly the words of a training text, so the model was trained on them"
    yield _count_finding("exact duplicates", distinct.exact_copies, total, "broken", why)
    is_broken = distinct.near_copies >= fpr * total
    why = "are near duplicates of training texts" + (f", enough for an FPR of {100 * fpr:g} %" if is_broken else "")
    yield _count_finding(NEAR_DUPLICATES, distinct.near_copies, total, "broken" if is_broken else "doubtful", why)


def _count_finding(name: str, count: int, total: int, verdict: Verdict, why: str) -> Finding:
    result = f"{count} of {total} non-members"
    return Finding(name, verdict if count else "sound", result, f"{result} {why}" if count else "", float(count))


def _shared_groups_finding(split: Split) -> Finding:
    train_groups = set(split.train_groups or split.member_groups)
    count = sum(group in train_groups for group in split.nonmember_groups)
    why = "belong to a group (an article, a triple set, a user) of the training data"
    return _count_finding("shared groups", count, len(split.nonmembers), "broken", why)


def _ngram_overlap_finding(split: Split) -> Finding:
    """Return the mean share of a non-member's 8-grams that occur in training texts, and of a member's in other groups."""
    is_unspaced = _is_mostly_without_spaces(split.audited.scored)
    size, kind = (NGRAM_CHARACTERS, "character") if is_unspaced else (NGRAM_WORDS, "word")
    train, nonmembers = ([shingles(text, size) for text in part.scored] for part in (split.train, split.nonmembers))
    train_ngrams = frozenset().union(*train)
    share = float(np.mean([len(ngrams & train_ngrams) / len(ngrams) for ngrams in nonmembers]))
    members = [train[i] for i in split.members]
    groups_of_ngram: dict[str, set[str]] = {}
    for ngrams, group in zip(members, split.member_groups, strict=True):
        for ngram in ngrams:
            groups_of_ngram.setdefault(ngram, set()).add(group)
    within = float(np.mean([sum(len(groups_of_ngram[n]) > 1 for n in ngrams) / len(ngrams) for ngrams in members]))
    between = float(np.mean([sum(n in groups_of_ngram for n in ngrams) / len(ngrams) for ngrams in nonmembers]))
    result = (
        f"{share:.1%} occur in training texts, {between:.1%} in members; {within:.1%} of a member's in other groups"
    )
    why = f"on average {share:.0%} of a non-member's {size}-grams occur in training texts"
    is_doubtful = share >= DOUBTFUL_NGRAM_OVERLAP
    return Finding(
        f"{kind} {size}{NGRAMS_SUFFIX}",
        "doubtful" if is_doubtful else "sound",
        result,
        why if is_doubtful else "",
        share,
    )


def _is_mostly_without_spaces(texts: Iterable[str]) -> bool:
    """Return whether most units of the texts are characters of scripts without spaces between words."""
    return float(np.mean([is_written_without_spaces(unit) for text in texts for unit in text_units(text)])) > 0.5  # noqa: PLR2004 - most


def _blind_classifier_finding(classifier: BlindClassifierResult, p: float, p_bound: float) -> Finding:
    name, auc, low, high = classifier.name, classifier.auc, classifier.low, classifier.high
    result = f"AUC {auc:.3f} [{low:.3f}, {high:.3f}], p {p:.3f}"
    verdict: Verdict = "sound" if p > ALPHA else "broken" if p_bound <= TAIL else "doubtful"
    limit = f"interval above {BLIND_AUC_LIMIT}" if verdict == "broken" else "above chance"
    why = f"a blind classifier on {name} separates members from non-members (AUC {auc:.2f}, {limit})"
    return Finding(f"{BLIND_PREFIX}{name}", verdict, result, why if p <= ALPHA else "", auc, low, high, p)


def ks_statistics(
    values: Float[np.ndarray, " texts"], label_rows: Bool[np.ndarray, "labels texts"]
) -> Float[np.ndarray, " labels"]:
    """Kolmogorov-Smirnov statistic for each row of labels: maximum difference of the two cumulative distributions."""
    order = np.argsort(values)
    is_last_of_ties = np.append(np.diff(values[order]) > 0, True)
    members = label_rows[:, order]
    member_cdf = members.cumsum(axis=1) / members.sum(axis=1, keepdims=True)
    nonmember_cdf = (~members).cumsum(axis=1) / (~members).sum(axis=1, keepdims=True)
    return np.abs(member_cdf - nonmember_cdf)[:, is_last_of_ties].max(axis=1)


def _length_findings(
    lengths: Float[np.ndarray, " texts"],
    membership: Bool[np.ndarray, " texts"],
    statistics: tuple[float, float],
    p_values: Sequence[float],
) -> Iterable[Finding]:
    """Return the findings of two tests of length: Mann-Whitney (position) and Kolmogorov-Smirnov (shape)."""
    member_median, nonmember_median = (float(np.median(lengths[labels])) for labels in (membership, ~membership))
    medians = f"medians {member_median:.0f} and {nonmember_median:.0f} characters"
    for name, statistic, value, p in zip(
        ("length, position", "length, shape"), ("AUC", "distance"), statistics, p_values, strict=True
    ):
        verdict: Verdict = "doubtful" if p <= ALPHA else "sound"
        why = f"members and non-members differ in length ({medians}, {statistic} {value:.2f})" if p <= ALPHA else ""
        result = f"{statistic} {value:.3f}, p {p:.3f}; {medians}"
        yield Finding(name, verdict, result, why, value, p_value=p)


def _truncation_finding(split: Split, max_tokens: int) -> Finding:
    """Return the estimated share of truncated texts. It is always sound, because truncation only removes evidence."""
    audited, membership = split.audited, split.membership
    is_long = np.array([len(p) + len(s) > 4 * max_tokens for p, s in zip(audited.prompts, audited.scored, strict=True)])
    member_share, nonmember_share = (float(is_long[labels].mean()) for labels in (membership, ~membership))
    result = f"about {member_share:.1%} of members, {nonmember_share:.1%} of non-members (at 4 characters per token)"
    return Finding(f"cut at {max_tokens} tokens", "sound", result, "", float(is_long.mean()))


def _power_findings(split: Split, fpr: float) -> Iterable[Finding]:
    members, nonmembers = len(split.members), len(split.nonmembers)
    independent = detectable_auc(float(members), float(nonmembers))
    clustered = detectable_auc(effective_text_count(split.member_groups), effective_text_count(split.nonmember_groups))
    # Both are for one attack: the verdict on a model uses groups, and corrects for the number of attacks.
    range_note = (
        f" if all texts are independent, {clustered:.3f} if the texts of a group are equal"
        if clustered > independent
        else ""
    )
    why = f"{members} members and {nonmembers} non-members distinguish only an AUC above {independent:.3f} from chance"
    is_doubtful = independent > DOUBTFUL_DETECTABLE_AUC
    result = f"one attack distinguishes AUC {independent:.3f} from chance at 80 % power{range_note}"
    yield Finding("power, AUC", "doubtful" if is_doubtful else "sound", result, why if is_doubtful else "", independent)
    name = f"power, TPR at {100 * fpr:g} % FPR"
    try:
        tpr = detectable_tpr(members, nonmembers, fpr)
    except DataError:  # a study with this metric raises the error; other studies do not need the value
        result = f"not measurable with fewer than {math.ceil(1 / fpr - 1e-9)} non-members"
        yield Finding(name, "sound", result, "", 1.0)
        return
    yield Finding(name, "sound", f"one attack distinguishes TPR {tpr:.3f} from chance at 80 % power", "", tpr)
