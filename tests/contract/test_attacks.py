"""The contract of every attack on the shelf, and each attack against its paper's formula as a plain loop."""

import copy
import dataclasses
import inspect
import math
import re
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byheart.core import registry
from byheart.core.errors import DataError, SettingError
from byheart.core.evidence import (
    ContrastiveSamples,
    Frequencies,
    Generations,
    GradientAlignment,
    Gradients,
    GreedyContinuation,
    SamplingLogProbs,
    Shadows,
    SyntheticTexts,
    Variants,
)
from byheart.core.types import Extraction, LogProbs, Texts, TokenStats

ATTACKS = {name: registry.load_function("attacks", name) for name in registry.entry_names("attacks")}

COUNT = 60
MEMBERS = np.arange(COUNT) % 2 == 0
POOLED = {"lira"}  # pools a variance over all scored texts; its own tests cover the other form
WORDS = ["the", "a", "river", "stone", "Löwe", "北", "walks", "under", "bright", "and", "never", "again", "mill"]


def stats(logp, starts, generator):
    count = len(logp)
    return TokenStats(
        logp=logp.astype(np.float32),
        starts=starts,
        mean=-generator.gamma(3.0, size=count).astype(np.float32),
        std=generator.uniform(0.5, 2.0, count).astype(np.float32),
        entropy=generator.gamma(3.0, size=count).astype(np.float32),
        rank=np.minimum(generator.integers(0, 50, count), np.exp(-logp) - 1).astype(int),  # p is at most 1 / (rank + 1)
    )


def evidence(gain):
    """Evidence by name, with the members' target log-probabilities raised by `gain` nats per token."""
    audited, other = passes(gain, seed=0), passes(gain, seed=5)
    sides = {"known_members": MEMBERS, "known_nonmembers": ~MEMBERS}
    known = {n: take(other["target"], np.flatnonzero(side)) for n, side in sides.items()}
    bases = {f"{n}_base": take(other["base"], np.flatnonzero(side)) for n, side in sides.items()}
    known["known_nonmembers_repeated"] = take(other["repeated"], np.flatnonzero(~MEMBERS))
    # The population: texts that neither the target nor its shadow models were trained on.
    population = bases["known_nonmembers_base"]
    shadows = dataclasses.replace(
        audited["shadows"],
        population_logp=np.array([population.logp + shift for shift in np.linspace(-0.1, -0.01, 10)]),
        population_starts=population.starts,
    )
    chance = np.random.default_rng(2)
    norms = chance.gamma(9.0, size=COUNT) / (1 + gain * MEMBERS)
    rest = [" ".join(chance.choice(WORDS, 12)) for _ in range(COUNT)]
    recalled = np.where(MEMBERS, 4 * gain, 0).astype(int)
    written = [" ".join([*r.split()[:n], *["else"] * 6]) for r, n in zip(rest, recalled, strict=True) for _ in range(3)]
    generations = Generations(written=tuple(written), rest=tuple(rest), starts=3 * np.arange(COUNT + 1))
    aligned = {n: GradientAlignment(cosine=0.1 / norms) for n in ("alignment", "initial_alignment")}
    written_too = {"gradients": Gradients(norm=norms), **aligned, "continuations": generations, **extracting(gain)}
    written_too |= released(gain, audited["texts"])
    found = {**audited, **known, **bases, **written_too, "shadows": shadows}
    return {**found, **by_epoch(found)}


def by_epoch(found):
    """The path of each kind of texts: the base model, a model half-way to the target, and the target."""
    pairs = {"target": "base", **{n: f"{n}_base" for n in ("known_members", "known_nonmembers")}}
    halfway = {n: dataclasses.replace(found[n], logp=(found[n].logp + found[b].logp) / 2) for n, b in pairs.items()}
    return {f"{n}_by_epoch": (found[b], halfway[n], found[n]) for n, b in pairs.items()}


def released(gain, texts):
    """Generated texts: unrelated ones, and copies of the members, whose number grows with `gain`."""
    unrelated = tuple(f"entirely other words number {i}" for i in range(40))
    copies = [texts.scored[i] for i in np.flatnonzero(MEMBERS)] * int(10 * gain)
    return {
        "synthetic_texts": SyntheticTexts(generated=(*unrelated, *copies)),
        "synthetic_texts_base": SyntheticTexts(generated=unrelated),
    }


def extracting(gain):
    """Generated suffixes with their probabilities. Those of members are correct up to a position that grows with `gain`."""
    chance = np.random.default_rng(6)
    lengths = chance.integers(12, 30, COUNT)
    starts = np.concatenate(([0], np.cumsum(lengths)))
    true = chance.integers(0, 50, starts[-1])
    place = np.arange(starts[-1]) - np.repeat(starts[:-1], lengths)
    right = place < np.repeat(chance.integers(0, 3, COUNT) + np.where(MEMBERS, 4 * gain, 0), lengths)
    written = np.where(right, true, 99)
    logp = np.minimum(-chance.gamma(1.0, 2.0, starts[-1]) + gain * np.repeat(MEMBERS, lengths), 0)
    return {
        "contrastive_samples": ContrastiveSamples(
            written=("text",),
            run=np.minimum(chance.integers(1, 4, COUNT) + np.where(MEMBERS, int(4 * gain), 0), lengths),
            length=lengths,
            similarity=chance.uniform(0, 0.1, COUNT) + MEMBERS * gain / 5,
        ),
        "greedy_continuation": GreedyContinuation(true=true, starts=starts, written=written, written_starts=starts),
        "mismatched_continuation": GreedyContinuation(
            true=true, starts=starts, written=np.full_like(true, 98), written_starts=starts
        ),
        "sampling_logprobs": SamplingLogProbs(logp=logp, starts=starts),
    }


def passes(gain, seed):
    generator = np.random.default_rng(seed)
    lengths = generator.integers(20, 40, COUNT)
    starts = np.concatenate(([0], np.cumsum(lengths)))
    base = -generator.gamma(3.0, size=starts[-1])
    noise = generator.normal(0, 0.1, starts[-1])
    target = np.minimum(base + noise + gain * np.repeat(MEMBERS, lengths), -1e-3)
    strings = tuple(" ".join(generator.choice(WORDS, n)) for n in lengths)
    shared = np.random.default_rng(seed + 1)
    # In lower case: other tokens, a little less likely, and not changed by fine-tuning.
    lower_starts = np.concatenate(([0], np.cumsum(lengths + generator.integers(-5, 6, COUNT))))
    lowered = -0.5 - generator.gamma(3.0, size=lower_starts[-1])
    common = Frequencies(
        frequency=generator.uniform(1e-5, 1e-3, starts[-1]), first=generator.random(starts[-1]) < 0.7, starts=starts
    )
    common.first[starts[:-1]] = True
    # After other texts: a little less likely, and after members with a part of the change by fine-tuning.
    strange = np.minimum(base + generator.normal(-0.2, 0.1, starts[-1]), -1e-3)
    familiar = np.minimum(strange + gain / 2 * np.repeat(MEMBERS, lengths), -1e-3)
    probes = np.array([generator.normal(means(base, starts), 0.1) for _ in range(3)])
    # Neighbors: one to five per text, a little less likely than the text under the base, independent of the target.
    counts = generator.integers(1, 6, COUNT)
    near_starts = np.concatenate(([0], np.cumsum(counts)))
    near = np.repeat([m.mean() for m in np.split(base, starts[1:-1])], counts) - generator.gamma(2.0, 0.1, counts.sum())
    # In pairs of halves, independent of membership.
    firsts = [generator.permutation(MEMBERS) for _ in range(5)]
    inside = np.array([half for first in firsts for half in (first, ~first)])
    shadows = base + generator.normal(0, 0.1, (10, starts[-1])) + gain * np.repeat(inside, lengths, axis=1)
    return {
        "target": stats(target, starts, shared),
        "base": stats(base, starts, shared),
        "lowercased": stats(lowered, lower_starts, shared),
        # The rejected responses: preference tuning lowers those of members.
        "rejected": stats(np.minimum(base - 0.5 + noise - gain * np.repeat(MEMBERS, lengths), -1e-3), starts, shared),
        "rejected_base": stats(np.minimum(base - 0.5, -1e-3), starts, shared),
        # The reference model learned the kind of text, which raised every text alike.
        "self_prompted": stats(np.minimum(base + 0.3 + noise[::-1], -1e-3), starts, shared),
        # A second reading has a fifth of the loss.
        "repeated": stats(target / 5, starts, shared),
        "frequencies": common,
        "nonmember_prefix": LogProbs(logp=strange, starts=starts),
        "member_prefix": LogProbs(logp=familiar, starts=starts),
        "after_masked": Variants(loglik=probes.T.ravel(), starts=np.arange(COUNT + 1) * 3),
        "after_similar": Variants(loglik=probes.T.ravel(), starts=np.arange(COUNT + 1) * 3),
        "neighbours": Variants(loglik=near, starts=near_starts),
        "neighbours_base": Variants(loglik=near - 0.01, starts=near_starts),
        "neighbours_self_prompted": Variants(loglik=near + 0.3, starts=near_starts),
        "texts": Texts(tuple(f"t{i}" for i in range(COUNT)), strings),
        "shadows": Shadows(
            logp=np.minimum(shadows, -1e-3),
            starts=starts,
            inside=inside,
            population_logp=np.empty((10, 0)),
            population_starts=np.zeros(1, dtype=np.int64),
        ),
    }


def means(values, starts):
    return np.add.reduceat(values, starts[:-1]) / np.diff(starts)


def requested(attack, known):
    unknown = [name for name in registry.needs(attack) if name not in known]
    if unknown:
        pytest.fail(f"tell `evidence` in {__file__} how {unknown} is made for {COUNT} texts")
    return [known[name] for name in registry.needs(attack)]


def take(found, order):
    """The same evidence for these texts in this order."""
    if isinstance(found, Texts):
        return found.take(int(i) for i in order)
    if isinstance(found, ContrastiveSamples | GradientAlignment | Gradients):
        arrays = {n: v[np.array(order)] for n, v in vars(found).items() if isinstance(v, np.ndarray)}
        return dataclasses.replace(found, **arrays)
    if isinstance(found, Generations):
        several = [found.written[found.starts[i] : found.starts[i + 1]] for i in order]
        starts = np.cumsum([0, *map(len, several)])
        written = tuple(w for one in several for w in one)
        return Generations(written=written, rest=tuple(found.rest[i] for i in order), starts=starts)
    if isinstance(found, GreedyContinuation):
        true, written = ([np.split(a, s[1:-1])[i] for i in order] for a, s in read_and_written(found))
        return GreedyContinuation(
            true=np.concatenate(true),
            starts=np.cumsum([0, *map(len, true)]),
            written=np.concatenate(written),
            written_starts=np.cumsum([0, *map(len, written)]),
        )
    pieces = [np.arange(found.starts[i], found.starts[i + 1]) for i in order]
    tokens, starts = np.concatenate(pieces), np.cumsum([0, *map(len, pieces)])
    if isinstance(found, Shadows):
        return dataclasses.replace(found, logp=found.logp[:, tokens], starts=starts, inside=found.inside[:, order])
    columns = {f.name: getattr(found, f.name)[tokens] for f in dataclasses.fields(found) if f.name != "starts"}
    return type(found)(starts=starts, **columns)


def read_and_written(found):
    return (found.true, found.starts), (found.written, found.written_starts)


def scored(attack, given_):
    """The scores of an attack; for an extraction attack, the similarity that its rule compares."""
    found = attack(*given_)
    if isinstance(found, Extraction):
        assert found.extracted.dtype == np.bool_
        assert found.extracted.shape == found.tokens.shape == found.scores.shape
        assert (found.tokens > 0).all()
        assert ((found.scores >= 0) & (found.scores <= 1)).all()
        return found.scores
    return found


def taken(attack, given_, order):
    """The inputs of an attack for these audited texts in this order; known and generated texts do not change."""

    def of(name, found):
        if name.startswith(("known_", "synthetic_texts")):
            return found
        return tuple(take(one, order) for one in found) if name.endswith("_by_epoch") else take(found, order)

    return [of(name, found) for name, found in zip(registry.needs(attack), given_, strict=True)]


@pytest.fixture(params=sorted(ATTACKS))
def attack(request):
    return ATTACKS[request.param]


# The contract. It covers a new file on the shelf without an edit, unless the file requests evidence of a new name.


def test_one_finite_float64_score_for_each_text(attack):
    scores = scored(attack, requested(attack, evidence(0.5)))
    assert scores.shape == (COUNT,)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()


def test_scores_do_not_depend_on_order_and_other_texts(attack):
    given_ = requested(attack, evidence(0.5))
    scores = scored(attack, given_)
    generator = np.random.default_rng(3)
    for order in (generator.permutation(COUNT), generator.choice(COUNT, 7, replace=False), np.array([4])):
        if len(order) < COUNT and attack.__name__ in POOLED:
            continue
        assert np.array_equal(scored(attack, taken(attack, given_, order)), scores[order])


def test_higher_means_member(attack):
    flat, planted = (scored(attack, requested(attack, evidence(gain))) for gain in (0.0, 2.5))
    assert auc(planted) > 0.7
    assert 0.3 < auc(flat) < 0.7
    assert (planted >= flat)[MEMBERS].all()


def test_evidence_is_not_changed(attack):
    given_ = requested(attack, evidence(0.5))
    before = [copy.deepcopy(found) for found in given_]
    attack(*given_)
    for old, new in zip(before, given_, strict=True):
        if isinstance(new, TokenStats):
            assert all(np.array_equal(getattr(old, n), getattr(new, n)) for n in ("logp", "mean", "std", "starts"))


def test_one_token_texts_and_certain_predictions(attack):
    starts = np.array([0, 1, 3])
    zeros = np.zeros(3, dtype=np.float32)
    certain = TokenStats(logp=zeros, starts=starts, mean=zeros, std=zeros, entropy=zeros, rank=np.zeros(3, dtype=int))
    inside = np.array([[1, 0], [0, 1]] * 2, dtype=bool)
    shadows = Shadows(
        logp=np.zeros((4, 3)), starts=starts, inside=inside, population_logp=np.zeros((4, 3)), population_starts=starts
    )
    others = ("after_masked", "after_similar", "neighbours", "neighbours_base", "neighbours_self_prompted")
    unlearnt = {n: found for n, found in evidence(0.5).items() if n.startswith("known_")}
    if "shadows" in registry.needs(attack):
        unlearnt["known_nonmembers"] = certain
    known = {
        **unlearnt,
        **dict.fromkeys(("target", "base", "lowercased", "repeated", "nonmember_prefix", "member_prefix"), certain),
        **dict.fromkeys(("rejected", "rejected_base", "self_prompted"), certain),
        **dict.fromkeys(others, Variants(loglik=np.zeros(3), starts=starts)),
        "texts": Texts(("a", "b"), ("x", "\udc80 y")),
        "frequencies": Frequencies(frequency=np.full(3, 0.1), first=np.array([True, True, False]), starts=starts),
        "shadows": shadows,
        "gradients": Gradients(norm=np.zeros(2)),
        **dict.fromkeys(("alignment", "initial_alignment"), GradientAlignment(cosine=np.zeros(2))),
        "continuations": Generations(written=("", "\udc80"), rest=("", "y"), starts=np.array([0, 1, 2])),
        **dict.fromkeys(("synthetic_texts", "synthetic_texts_base"), SyntheticTexts(generated=("", "\udc80", "x"))),
        "contrastive_samples": ContrastiveSamples(
            written=("",), run=np.array([0, 2]), length=np.array([1, 2]), similarity=np.array([0.0, 1.0])
        ),
        "greedy_continuation": GreedyContinuation(
            true=np.array([4, 5, 6]), starts=starts, written=np.array([4]), written_starts=np.array([0, 0, 1])
        ),
        "mismatched_continuation": GreedyContinuation(
            true=np.array([4, 5, 6]), starts=starts, written=np.array([5, 6]), written_starts=np.array([0, 0, 2])
        ),
        "sampling_logprobs": SamplingLogProbs(logp=np.array([0.0, -np.inf, -1.0]), starts=starts),
    }
    known["target_by_epoch"] = (certain, certain, certain)
    assert np.isfinite(scored(attack, requested(attack, known))).all()


def test_source_and_help_exist(attack):
    assert re.search(r"arXiv \d{4}\.\d{4,5}|doi", registry.module_docstring(attack)), "the file's head names its paper"
    assert re.search(r"higher (means|is) (a )?member", registry.summary(attack)), "the first line says the direction"
    assert registry.summary(attack).endswith(".")
    for name, parameter in inspect.signature(attack).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            assert parameter.default is not parameter.empty, f"{name} has a default"


def test_settings_out_of_range_raise_an_error():
    for name in ("min_k", "min_k_plus_plus"):
        assert registry.choose("attacks", name, {"k": 1}).non_default_settings == {"k": 1.0}
        for wrong in (0, -0.1, 1.01, "0.2"):
            with pytest.raises(SettingError, match=f"attacks {name}: k"):
                registry.choose("attacks", name, {"k": wrong})


def auc(scores):
    pairs = [(m > n) + (m == n) / 2 for m in scores[MEMBERS] for n in scores[~MEMBERS]]
    return sum(pairs) / len(pairs)


# The papers' formulas, written as loops.

tokens = st.tuples(st.floats(-30, -0.0009765625, width=32), st.floats(-12, 0, width=32), st.floats(0, 5, width=32))
readings = st.lists(st.lists(tokens, min_size=1, max_size=25), min_size=1, max_size=8)


def read(texts):
    logp, mean, std = (np.array([t[i] for text in texts for t in text], dtype=np.float32) for i in range(3))
    starts = np.cumsum([0, *map(len, texts)])
    return TokenStats(
        logp=logp, starts=starts, mean=mean, std=std, entropy=np.zeros_like(logp), rank=np.zeros(len(logp), dtype=int)
    )


@given(readings)
def test_loss_is_the_mean_log_probability(texts):
    expected = [math.fsum(logp for logp, _, _ in text) / len(text) for text in texts]
    assert np.allclose(ATTACKS["loss"](read(texts)), expected, rtol=1e-12)


@given(readings, st.floats(-3, 3))
def test_reference_is_the_gain_over_the_base(texts, shift):
    target = read(texts)
    base = read([[(logp + shift * i, mean, std) for i, (logp, mean, std) in enumerate(text)] for text in texts])
    expected = [
        sum(float(t - b) for t, b in zip(target.logp[i:j].astype(float), base.logp[i:j].astype(float), strict=True))
        / (j - i)
        for i, j in zip(target.starts, target.starts[1:], strict=False)
    ]
    assert np.allclose(ATTACKS["reference"](target, base), expected, atol=1e-9)


def test_reference_rejects_another_tokenization():
    target, base = read([[(-1, 0, 1)] * 3, [(-1, 0, 1)] * 2]), read([[(-1, 0, 1)] * 2, [(-1, 0, 1)] * 3])
    with pytest.raises(DataError, match="same tokens"):
        ATTACKS["reference"](target, base)


@given(readings, st.data())
def test_zlib_divides_by_the_bytes_of_the_compressed_text(texts, data):
    alphabet = st.characters(exclude_categories=("Zs", "Cc", "Cs"))
    strings = tuple(data.draw(st.text(alphabet, min_size=1, max_size=60)) for _ in texts)
    target, named = read(texts), Texts(tuple(map(str, range(len(texts)))), tuple(s + "x" for s in strings))
    sizes = [len(zlib.compress(bytes(s, "utf-8"))) for s in named.scored]  # the authors' call, with its default level
    sums = [math.fsum(logp for logp, _, _ in text) for text in texts]
    expected = [total / len(text) / size for total, text, size in zip(sums, texts, sizes, strict=True)]
    assert np.allclose(ATTACKS["zlib_ratio"](target, named), expected, rtol=1e-12)
    complete = [total / size for total, size in zip(sums, sizes, strict=True)]
    assert np.allclose(ATTACKS["zlib_ratio"](target, named, total=True), complete, rtol=1e-12)


def test_zlib_ranks_like_the_authors_code():
    known = evidence(0.5)
    target, texts = known["target"], known["texts"]
    sizes = np.array([len(zlib.compress(bytes(s, "utf-8"))) for s in texts.scored])
    authors = sizes / np.array(
        [-target.logp[i:j].mean() for i, j in zip(target.starts, target.starts[1:], strict=False)]
    )
    assert np.array_equal(np.argsort(authors), np.argsort(ATTACKS["zlib_ratio"](target, texts)))


def lowest(values, k):
    return np.mean(np.sort(values)[: max(1, int(len(values) * k))])


@given(readings, st.floats(0.01, 1))
def test_min_k_is_the_mean_of_the_least_likely_tokens(texts, k):
    expected = [lowest(np.array([logp for logp, _, _ in text]), k) for text in texts]
    assert np.allclose(ATTACKS["min_k"](read(texts), k=k), expected, rtol=1e-12)


def test_min_k_of_all_tokens_is_loss():
    target = evidence(0.5)["target"]
    assert np.allclose(ATTACKS["min_k"](target, k=1.0), ATTACKS["loss"](target), rtol=1e-12)


@given(readings, st.floats(0.01, 1))
def test_min_k_plus_plus_standardizes_by_the_models_distribution(texts, k):
    expected = [lowest(np.array([(x - mu) / max(sigma, 1e-6) for x, mu, sigma in text]), k) for text in texts]
    assert np.allclose(ATTACKS["min_k_plus_plus"](read(texts), k=k), expected, rtol=1e-6)


def test_hand_made_numbers():
    target = read([[(-1.0, -2.0, 1.0), (-4.0, -2.0, 0.5), (-3.0, -3.0, 0.0), (-2.0, -1.0, 2.0)], [(-5.0, -4.0, 2.0)]])
    assert ATTACKS["loss"](target).tolist() == [-2.5, -5.0]
    assert ATTACKS["min_k"](target).tolist() == [-4.0, -5.0]
    assert ATTACKS["min_k"](target, k=0.5).tolist() == [-3.5, -5.0]
    assert ATTACKS["min_k_plus_plus"](target, k=0.5).tolist() == [(-4.0 - 0.5) / 2, -0.5]
