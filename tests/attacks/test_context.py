"""Attacks that read a text after other texts: ReCaLL, Con-ReCall and ICP-MIA against loops, and their contexts."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from byheart.core import registry
from byheart.core.config import TokenFormat
from byheart.core.errors import DataError, SettingError
from byheart.core.evidence import Variants
from byheart.core.types import LogProbs, digest
from byheart.lm.special_tokens import bos_ids
from byheart.lm.tokens import tokenize
from byheart.observations.after_masked import after_masked, masked
from byheart.observations.after_similar import after_similar
from byheart.observations.member_prefix import member_prefix
from byheart.observations.nonmember_prefix import nonmember_prefix
from byheart.observations.target import target as observed
from testing.context_texts import KNOWN, SHORT
from testing.reading import scorer, texts_of
from testing.wrapped import tuned

NAMES = ("recall", "con_recall", "icp", "icp_similar")
ATTACKS = {name: registry.load_function("attacks", name) for name in NAMES}
METHODS = ("head", "lora", "prefix", "prompt", "p_tuning")
values = st.floats(-30, -0.0009765625, width=32)
readings = st.lists(st.lists(values, min_size=1, max_size=12), min_size=1, max_size=6)


def read(*texts):
    return LogProbs(logp=np.concatenate(texts), starts=np.cumsum([0, *map(len, texts)]))


def probed(*texts):
    return Variants(loglik=np.concatenate(texts), starts=np.cumsum([0, *map(len, texts)]))


def other(texts, data):
    """The same tokens after another context."""
    return [[data.draw(values) for _ in text] for text in texts]


@given(readings, st.data(), st.floats(0, 2))
def test_recall_and_con_recall_divide_mean_log_probabilities(texts, data, gamma):
    strange, familiar = other(texts, data), other(texts, data)
    quotient, contrast = [], []
    for alone, non, mem in zip(texts, strange, familiar, strict=True):
        ll, ll_non, ll_mem = (math.fsum(t) / len(t) for t in (alone, non, mem))
        quotient.append(ll_non / ll)
        contrast.append((ll_non - gamma * ll_mem) / ll)
    given_ = read(*texts), read(*strange), read(*familiar)
    assert np.allclose(ATTACKS["recall"](*given_[:2]), quotient, rtol=1e-9)
    assert np.allclose(ATTACKS["con_recall"](*given_, gamma=gamma), contrast, rtol=1e-9, atol=1e-9)
    assert np.allclose(ATTACKS["con_recall"](*given_, gamma=0.0), quotient, rtol=1e-9)


@given(readings, st.data())
def test_icp_is_minus_the_gain_from_the_best_probe(texts, data):
    probes = [data.draw(st.lists(values, min_size=1, max_size=5)) for _ in texts]
    expected = [math.fsum(alone) / len(alone) - max(those) for alone, those in zip(texts, probes, strict=True)]
    for name in ("icp", "icp_similar"):
        assert np.allclose(ATTACKS[name](read(*texts), probed(*probes)), expected, rtol=1e-9, atol=1e-9)


def test_by_hand():
    """A member: likely alone, much less likely after non-members, equally likely after members, no gain from a probe."""
    target = read([-0.5, -0.5], [-3.0])
    strange, familiar = read([-1.0, -2.0], [-3.0]), read([-0.5, -0.5], [-2.0])
    assert ATTACKS["recall"](target, strange).tolist() == [3.0, 1.0]
    assert ATTACKS["con_recall"](target, strange, familiar).tolist() == [2.5, 2 / 3]
    assert ATTACKS["icp"](target, probed([-0.75, -1.0], [-1.0, -2.0])).tolist() == [0.25, -2.0]


def test_a_text_of_probability_one_has_a_score():
    sure, unsure = read([0.0], [0.0]), read([-1.0], [0.0])
    assert ATTACKS["recall"](sure, unsure).tolist() == [1e6, 1.0]
    assert np.isfinite(ATTACKS["con_recall"](sure, unsure, sure)).all()
    assert ATTACKS["icp"](sure, probed([0.0], [-1.0])).tolist() == [0.0, 1.0]


def test_other_tokens_and_other_texts_are_refused():
    two, one = read([-1.0], [-1.0]), read([-1.0, -1.0])
    with pytest.raises(DataError, match=r"^attacks recall: 2 tokens of 2 .*2 tokens of 1 .*same tokens"):
        ATTACKS["recall"](two, one)
    with pytest.raises(DataError, match=r"attacks con_recall: .*same tokens"):
        ATTACKS["con_recall"](two, two, one)
    with pytest.raises(DataError, match=r"attacks icp: 2 texts .* 1 after"):
        ATTACKS["icp"](two, probed([-1.0]))


def test_settings_out_of_range_raise_an_error():
    for entry, wrong in {
        "nonmember_prefix": {"shots": 0},
        "after_masked": {"share": 0.0},
        "after_similar": {"probes": 0},
    }.items():
        with pytest.raises(SettingError, match=f"observations {entry}"):
            registry.choose("observations", entry, wrong)
    with pytest.raises(SettingError, match="attacks con_recall: gamma"):
        registry.choose("attacks", "con_recall", {"gamma": -0.1})


def ids_of(model, string):
    return model.tokenizer(string, add_special_tokens=False)["input_ids"] if string else []


def plain_loop(model, before, prompt, scored):
    """Log-probabilities of the tokens that are scored alone, after these strings' ids, by the raw model."""
    bos, lead, own = bos_ids(model.tokenizer), ids_of(model, prompt), ids_of(model, scored)
    ids = [*bos, *(i for string in before for i in ids_of(model, string)), *lead, *own]
    with torch.no_grad():
        logits = model.module(
            input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long)
        ).logits[0]
    logits = logits[logits.shape[0] - len(ids) :]  # virtual tokens come first
    unscored = 0 if bos or lead else 1
    return [
        float(torch.log_softmax(logits[at - 1].double(), 0)[ids[at]])
        for at in range(len(ids) - len(own) + unscored, len(ids))
    ]


def orders(known, prompts, separator):
    """Every order of the known texts as shots, each with its separately tokenized parts."""
    shots = [(prompt, scored, separator) for prompt, scored in zip(prompts, known, strict=True)]
    return [[part for shot in order for part in shot] for order in itertools.permutations(shots)]


@pytest.mark.parametrize("method", [None, *METHODS])
def test_shots_precede_prompt_and_text_in_a_fixed_order(tiny, architecture, method):
    model = tuned(tiny(architecture), method)
    requested, given_ = ["Who?", "", " ", ""], ["Does she?", "", "Far:"]
    tokens = tokenize(model.tokenizer, texts_of(SHORT, requested), 64, token_format=TokenFormat(tokenization="apart"))
    known = tokenize(model.tokenizer, texts_of(KNOWN, given_), 64, token_format=TokenFormat(tokenization="apart"))
    alone = observed(scorer(model), tokens)
    after = nonmember_prefix(scorer(model), tokens, known, shots=3)
    assert type(after) is LogProbs
    assert (after.starts == alone.starts).all()
    assert np.abs(after.logp - alone.logp).max() > 0.01
    same = [
        np.allclose(
            after.logp,
            np.concatenate([plain_loop(model, before, p, s) for p, s in zip(requested, SHORT, strict=True)]),
            atol=1e-4,
        )
        for before in orders(KNOWN, given_, "\n\n")
    ]
    assert sum(same) == 1
    assert (member_prefix(scorer(model), tokens, known, shots=3).logp == after.logp).all()  # the same, of other texts


@pytest.mark.parametrize("method", [None, *METHODS])
def test_each_probe_precedes_prompt_and_text(tiny, architecture, method):
    model = tuned(tiny(architecture), method)
    requested = ["Who?", "", "Where is", ""]
    tokens = tokenize(model.tokenizer, texts_of(SHORT, requested), 64, token_format=TokenFormat(tokenization="apart"))
    found = after_masked(scorer(model), tokens, probes=3, separator="\n")
    assert found.starts.tolist() == [0, 3, 6, 9, 12]
    expected = []
    for prompt, scored in zip(requested, SHORT, strict=True):
        chance = np.random.default_rng(int(digest([(prompt, scored)]), 16))
        for _ in range(3):
            before = [prompt, masked(scored, 0.7, chance), "\n"]
            expected.append(np.mean(plain_loop(model, before, prompt, scored)))
    np.testing.assert_allclose(found.loglik, expected, atol=1e-4)

    known = tokenize(
        model.tokenizer, texts_of(KNOWN, ["Does she?", "", "Far:"]), 64, token_format=TokenFormat(tokenization="apart")
    )
    found = after_similar(scorer(model), tokens, known, probes=3).loglik.reshape(4, 3)
    for row, prompt, scored in zip(found, requested, SHORT, strict=True):
        each = [
            np.mean(plain_loop(model, [p, s, "\n\n"], prompt, scored))
            for p, s in zip(known.texts.prompts, known.texts.scored, strict=True)
        ]
        np.testing.assert_allclose(sorted(row), sorted(each), atol=1e-4)


def test_evidence_does_not_depend_on_order_or_other_texts(tiny):
    model = tiny("llama")
    tokens, known = (tokenize(model.tokenizer, texts_of(strings), 64) for strings in (SHORT, KNOWN))
    turned = tokenize(model.tokenizer, texts_of(KNOWN[::-1], name="other"), 64)
    few = tokenize(model.tokenizer, texts_of([SHORT[2], SHORT[0]], name="few"), 64)
    complete = nonmember_prefix(scorer(model), tokens, known, shots=2)
    again = nonmember_prefix(scorer(model), few, turned, shots=2)
    parts = np.split(complete.logp, complete.starts[1:-1])
    np.testing.assert_allclose(again.logp, np.concatenate([parts[2], parts[0]]), atol=1e-5)
    for complete, again in (
        (after_masked(scorer(model), tokens), after_masked(scorer(model), few)),
        (after_similar(scorer(model), tokens, known, probes=2), after_similar(scorer(model), few, turned, probes=2)),
    ):
        rows = complete.loglik.reshape(4, -1)
        np.testing.assert_allclose(again.loglik.reshape(2, -1), rows[[2, 0]], atol=1e-5)


def test_more_probes_include_the_first_ones_and_another_seed_selects_other_shots(tiny):
    model = tiny("gpt2")
    tokens, known = (tokenize(model.tokenizer, texts_of(strings), 64) for strings in (SHORT, KNOWN))
    few, many = (after_masked(scorer(model), tokens, probes=n).loglik.reshape(4, n) for n in (2, 5))
    np.testing.assert_allclose(few, many[:, :2], atol=1e-5)
    drawn = {
        tuple(nonmember_prefix(scorer(model), tokens, known, shots=1, seed=seed).logp.round(3).tolist())
        for seed in range(12)
    }
    assert len(drawn) == 3


def test_bos_occurs_once_although_the_authors_score_a_second_one(tiny):
    """The authors tokenize shots and text separately, each with BOS, and score all tokens of the text."""
    model = tiny("gemma")
    tokens, known = (tokenize(model.tokenizer, texts_of(strings), 64) for strings in (SHORT[:1], KNOWN[:1]))
    seen = []

    class Spy:
        def __init__(self):
            self.model = model

        def __call__(self, tokens):
            seen.append(tokens)
            return scorer(model)(tokens)

    found = nonmember_prefix(Spy(), tokens, known, shots=1, separator="")
    assert (seen[0].ids == 1).sum() == 1
    assert seen[0].ids[0] == 1
    prefix, text = (model.tokenizer(s)["input_ids"] for s in (KNOWN[0], SHORT[0]))
    ids = torch.tensor([prefix + text])
    labels = torch.tensor([[-100] * len(prefix) + text])
    with torch.no_grad():
        authors = -float(model.module(ids, labels=labels).loss)
    assert text[0] == 1
    assert len(text) == len(found.logp) + 1
    assert abs(found.logp.mean() - authors) > 1e-3
    np.testing.assert_allclose(found.logp, plain_loop(model, KNOWN[:1], "", SHORT[0]), atol=1e-4)


def test_without_bos_the_authors_score_one_token_more_after_shots_than_alone(tiny):
    model = tiny("gpt2")
    tokens, known = (tokenize(model.tokenizer, texts_of(strings), 64) for strings in (SHORT[:1], KNOWN[:1]))
    found = nonmember_prefix(scorer(model), tokens, known, shots=1, separator="")
    prefix, text = (model.tokenizer(s)["input_ids"] for s in (KNOWN[0], SHORT[0]))
    with torch.no_grad():
        logits = model.module(torch.tensor([prefix + text])).logits[0].log_softmax(-1)
    each = [float(logits[len(prefix) + i - 1, t]) for i, t in enumerate(text)]
    np.testing.assert_allclose(found.logp, each[1:], atol=1e-4)
    assert len(observed(scorer(model), tokens).logp) == len(each) - 1


def long(model, count):
    """A text with this number of tokens."""
    complete = " The painter wrote nine letters in Lisbon" * 30
    ids = ids_of(model, complete)[:count]
    text = model.tokenizer.decode(ids)
    assert ids_of(model, text) == ids
    return text


def test_fewer_shots_are_used_if_the_longest_text_leaves_no_room(tiny):
    model = tiny("llama")
    known = [long(model, 30), long(model, 26) + "!", long(model, 10)]
    gap = len(ids_of(model, "\n\n"))
    for length, fitting in ((128 - 67 - 3 * gap, 3), (129 - 67 - 3 * gap, 2), (128 - 10 - gap, 1)):
        strings = [long(model, length), SHORT[0]]
        tokens, shots = (tokenize(model.tokenizer, texts_of(s), 128) for s in (strings, known))
        found = nonmember_prefix(scorer(model), tokens, shots, shots=3)
        short = found.logp[found.starts[1] :]
        reported = [
            n
            for n in (1, 2, 3)
            for chosen in itertools.permutations(known, n)
            if np.allclose(short, plain_loop(model, [p for k in chosen for p in (k, "\n\n")], "", SHORT[0]), atol=1e-4)
        ]
        assert reported == [fitting]


def test_no_room_for_a_shot_or_a_probe_raises_an_error(tiny):
    model = tiny("llama")
    tokens = tokenize(model.tokenizer, texts_of([long(model, 126)]), 128)
    known = tokenize(model.tokenizer, texts_of(KNOWN), 128)
    expected = r"126 tokens, .*{} .*128\. .*data\.max_tokens to 6\d"
    with pytest.raises(DataError, match="observations member_prefix: .*" + expected.format("known text")):
        member_prefix(scorer(model), tokens, known, shots=3)
    with pytest.raises(DataError, match="observations after_masked: .*" + expected.format("probe")):
        after_masked(scorer(model), tokens)
    with pytest.raises(DataError, match="observations after_similar: .*" + expected.format("probe")):
        after_similar(scorer(model), tokens, known, probes=3)
    prompted = tuned(tiny("llama"), "prompt")
    tokens = tokenize(model.tokenizer, texts_of([long(model, 110)]), 128)
    with pytest.raises(DataError, match=r"110 tokens and \d+ virtual tokens, .*probe"):
        after_masked(scorer(prompted), tokens)


@pytest.mark.parametrize("method", [None, "prompt", "prefix"])
def test_a_long_probe_loses_its_beginning(tiny, method):
    model = tuned(tiny("llama"), method)
    text, probe = long(model, 90), long(model, 60)
    tokens, known = (tokenize(model.tokenizer, texts_of(s), 128) for s in ([text], [probe]))
    virtual = {"prompt": 16, "prefix": 16}.get(method, 0)
    gap = len(ids_of(model, "\n\n"))
    kept = model.tokenizer.decode(ids_of(model, probe)[60 - (128 - virtual - 90 - gap) :])
    found = after_similar(scorer(model), tokens, known, probes=1)
    np.testing.assert_allclose(found.loglik, [np.mean(plain_loop(model, [kept, "\n\n"], "", text))], atol=1e-4)
    bare = tuned(tiny("llama"), method)
    bare.module.config.max_position_embeddings = 1024
    assert abs(after_similar(scorer(bare), tokens, known, probes=1).loglik - found.loglik) > 1e-4


def test_too_few_known_texts_are_refused(tiny):
    model = tiny("gpt2")
    tokens, known = (tokenize(model.tokenizer, texts_of(strings), 64) for strings in (SHORT, KNOWN))
    with pytest.raises(
        DataError,
        match=r"^observations nonmember_prefix: shots = 7, but there are 3 known texts\. Set data\.known to 7 or more, or shots to 3",
    ):
        nonmember_prefix(scorer(model), tokens, known)
    with pytest.raises(DataError, match=r"after_similar: probes = 10, .* 3 known"):
        after_similar(scorer(model), tokens, known)
