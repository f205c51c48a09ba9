"""Attacks that compare with the base, on surprising tokens and on lowercase texts: formulas as plain loops, and edge cases."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from byheart.core import registry
from byheart.core.errors import DataError, SettingError
from byheart.core.types import TokenStats
from byheart.lm.forward import Scorer
from byheart.lm.special_tokens import bos_ids
from byheart.lm.tokens import tokenize
from byheart.observations.lowercased import lowercased
from byheart.observations.target import target as observed
from byheart.store.rows import study_rows
from testing.reading import texts_of
from testing.stores import TEXT_ATTACKS
from testing.wrapped import tuned

ADDED = ("error_zone", "wbc", "surp", "min_k_plus_plus_calibrated", "lowercase")
ATTACKS = {name: registry.load_function("attacks", name) for name in (*ADDED, "min_k", "min_k_plus_plus")}

# Multiples of 1/64 have exact sums, so the loop and the code agree on equal windows.
exact = st.integers(-640, -1).map(lambda n: n / 64)
tokens = st.tuples(exact, exact, st.sampled_from([0.0, 0.5, 2.0]), st.floats(0, 5, width=32), st.integers(0, 3))
readings = st.lists(st.lists(tokens, min_size=1, max_size=50), min_size=1, max_size=6)


def read(texts):
    """Texts as lists of (logp, mean, std, entropy, rank)."""
    columns = [np.array([t[i] for text in texts for t in text], dtype=np.float32) for i in range(5)]
    names = ("logp", "mean", "std", "entropy")
    return TokenStats(
        starts=np.cumsum([0, *map(len, texts)]),
        rank=columns[4].astype(int),
        **dict(zip(names, columns[:4], strict=True)),
    )


def simple(*texts, rank=1, entropy=1.0):
    """Texts as lists of log-probabilities."""
    return read([[(logp, -2.0, 1.0, entropy, rank) for logp in text] for text in texts])


def other(texts, data):
    """The same tokens under another model."""
    return [[(data.draw(exact), data.draw(exact), *rest) for _, _, *rest in text] for text in texts]


# EZ-MIA


@given(readings, st.data())
def test_error_zone_is_the_share_of_gains_at_errors(texts, data):
    base = other(texts, data)
    expected = []
    for mine, theirs in zip(texts, base, strict=True):
        changes = [t[0] - b[0] for t, b in zip(mine, theirs, strict=True) if t[4] > 0]
        gain, loss = sum(d for d in changes if d > 0), sum(-d for d in changes if d < 0)
        share = gain / (gain + loss) if gain + loss else 1.0
        expected.append(0.5 if len(changes) == 1 and changes[0] else share)
    assert np.allclose(ATTACKS["error_zone"](read(texts), read(base)), expected, rtol=1e-12)


def test_error_zone_by_hand():
    """Gains of 3 and 1, a loss of 1, and a gain of 9 at a correct prediction, which does not count."""
    ours = read([[(-1.0, 0, 1, 1, 2), (-2.0, 0, 1, 1, 1), (-4.0, 0, 1, 1, 9), (-0.5, 0, 1, 1, 0)]])
    assert ATTACKS["error_zone"](ours, simple([-4.0, -3.0, -3.0, -9.5])).tolist() == [4 / 5]


def test_the_best_memorized_texts_score_highest_unlike_in_the_authors_code():
    flawless = [(-0.1, 0, 1, 1, 0)] * 3
    gained = [(-1.0, 0, 1, 1, 1)] * 3
    mixed = [(-1.0, 0, 1, 1, 1), (-1.0, 0, 1, 1, 1), (-4.0, 0, 1, 1, 1)]
    ours, base = read([flawless, gained, mixed]), simple([-3.0] * 3, [-3.0] * 3, [-3.0] * 3)
    scores = ATTACKS["error_zone"](ours, base)
    authors = []
    for text in np.split(np.arange(9), 3):
        changes = (ours.logp - base.logp)[text][ours.rank[text] > 0]
        gain, loss = changes[changes > 0].sum(), -changes[changes < 0].sum()
        authors.append(gain / loss if loss else 0.0)
    assert authors == [0.0, 0.0, 4.0]
    assert scores.tolist() == [1.0, 1.0, 0.8]


def test_one_error_gives_a_neutral_score():
    """One error up by 0.01, one down by 3, two errors, none: the first two scores are 1 and 0 for every size of the change."""
    right, wrong = (-0.1, 0, 1, 1, 0), (-1.0, 0, 1, 1, 1)
    ours = read([[wrong, right], [wrong, right], [wrong, wrong], [right, right]])
    base = simple([-1.01, -0.1], [2.0, -0.1], [-2.0, -0.5], [-0.2, -0.2])
    scores = ATTACKS["error_zone"](ours, base)
    assert scores.tolist() == [0.5, 0.5, pytest.approx(1 / 1.5), 1.0]
    assert ATTACKS["error_zone"](ours, base, min_errors=1).tolist()[:2] == [1.0, 0.0]
    assert ATTACKS["error_zone"](ours, base, min_errors=3).tolist()[2:] == [0.5, 1.0]


def test_equal_target_and_base_give_equal_scores():
    same = simple([-1.0, -3.0], [-2.0])
    assert ATTACKS["error_zone"](same, same).tolist() == [1.0, 1.0]
    assert ATTACKS["wbc"](same, same).tolist() == [0.0, 0.0]
    assert ATTACKS["min_k_plus_plus_calibrated"](same, same).tolist() == [0.0, 0.0]


# WBC


@given(readings, st.data(), st.lists(st.integers(1, 60), min_size=1, max_size=8))
def test_wbc_is_the_share_of_windows_with_lower_loss_under_the_target(texts, data, windows):
    base = other(texts, data)
    expected = []
    for mine, theirs in zip(texts, base, strict=True):
        shares = []
        for w in {min(w, len(mine)) for w in windows}:
            votes = [
                -sum(t[0] for t in theirs[i : i + w]) > -sum(t[0] for t in mine[i : i + w])
                for i in range(len(mine) - w + 1)
            ]
            shares.append(sum(votes) / len(votes))
        expected.append(sum(shares) / len(shares))
    assert np.allclose(ATTACKS["wbc"](read(texts), read(base), windows=tuple(windows)), expected, rtol=1e-12)


def test_wbc_by_hand():
    """Gains of +1, -3, +1, +1: 1 of 3, 0 of 2 and 0 of 1 windows of widths 2, 3 and 4 have a lower loss."""
    ours, base = simple([-1.0, -4.0, -1.0, -1.0]), simple([-2.0, -1.0, -2.0, -2.0])
    assert ATTACKS["wbc"](ours, base, windows=(2, 3, 4)).tolist() == [(1 / 3) / 3]
    assert ATTACKS["wbc"](ours, base, windows=(1,)).tolist() == [3 / 4]


def test_widths_above_the_text_length_count_once():
    ours, base = simple([-1.0, -3.5, -1.0], [-1.0]), simple([-2.0, -2.0, -2.0], [-2.0])
    # Widths 2 (no window of two), 3 (the complete text, lower by half a nat), and 4, 5, 6 clipped to 3.
    assert ATTACKS["wbc"](ours, base, windows=(2, 3, 4, 5, 6)).tolist() == [0.5, 1.0]
    assert ATTACKS["wbc"](ours, base, windows=(2, 4, 5, 6)).tolist() == [0.5, 1.0]


def test_wbc_defaults_to_the_papers_widths_and_refuses_invalid_ones():
    assert registry.default_settings(ATTACKS["wbc"])["windows"] == (2, 3, 4, 6, 9, 13, 18, 25, 32, 40)
    assert registry.choose("attacks", "wbc", {"windows": [2, 5]}).non_default_settings == {"windows": (2, 5)}
    for wrong in ([], [0], [2.5], 3):
        with pytest.raises(SettingError, match="attacks wbc: windows"):
            registry.choose("attacks", "wbc", {"windows": wrong})


# SURP


@given(readings, st.floats(0.01, 1), st.floats(0.125, 5, width=32))
def test_surp_is_the_mean_of_sure_and_unlikely_tokens(texts, k, sure):
    expected = []
    for text in texts:
        unlikely = sorted(range(len(text)), key=lambda t: (text[t][0], t))[: max(1, math.floor(k * len(text)))]
        surprising = [t for t in unlikely if text[t][3] < sure] or unlikely
        expected.append(np.mean([text[t][0] for t in surprising]))
    assert np.allclose(ATTACKS["surp"](read(texts), k=k, max_entropy=sure), expected, rtol=1e-6)


def test_surp_by_hand():
    """Of the five least likely of ten tokens, those of -8 and -4 were surprises."""
    logps, entropies = [-9, -8, -5, -4, -3, -2, -1, -1, -1, -1], [3, 1, 2, 0.5, 9, 0, 0, 0, 0, 0]
    text = [(float(x), 0, 1, h, 1) for x, h in zip(logps, entropies, strict=True)]
    assert ATTACKS["surp"](read([text]), k=0.5).tolist() == [-6.0]


def test_a_text_without_surprises_is_scored_by_min_k():
    lost = simple([-9.0, -8.0, -1.0], [-3.0], entropy=5.0)
    assert ATTACKS["surp"](lost, k=0.7).tolist() == ATTACKS["min_k"](lost, k=0.7).tolist() == [-8.5, -3.0]
    # The threshold itself is not low entropy.
    assert ATTACKS["surp"](simple([-9.0, -8.0, -1.0], entropy=2.0), k=0.7).tolist() == [-8.5]


# Min-K%++ against the base


@given(readings, st.data(), st.floats(0.01, 1))
def test_calibrated_is_the_difference_of_two_min_k_plus_plus(texts, data, k):
    base = other(texts, data)

    def lowest(text):
        standardized = sorted((x - mean) / max(std, 1e-6) for x, mean, std, *_ in text)
        return np.mean(standardized[: max(1, math.floor(k * len(text)))])

    expected = [lowest(mine) - lowest(theirs) for mine, theirs in zip(texts, base, strict=True)]
    found = ATTACKS["min_k_plus_plus_calibrated"](read(texts), read(base), k=k)
    assert np.allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_calibrated_by_hand_and_for_certain_predictions():
    ours = read([[(-1.0, -2.0, 0.5, 1, 1), (-3.0, -2.0, 0.5, 1, 1)], [(-0.5, -0.5, 0.0, 0, 0)]])
    base = read([[(-4.0, -2.0, 1.0, 1, 1), (-2.0, -2.0, 1.0, 1, 1)], [(-2.5, -1.5, 0.5, 1, 1)]])
    assert ATTACKS["min_k_plus_plus_calibrated"](ours, base, k=0.5).tolist() == [-2.0 - -2.0, 0.0 - -2.0]


@pytest.mark.parametrize("name", ["error_zone", "wbc", "min_k_plus_plus_calibrated"])
def test_another_tokenization_is_refused(name):
    with pytest.raises(DataError, match=f"{name}.* same tokens"):
        ATTACKS[name](simple([-1.0] * 3, [-1.0] * 2), simple([-1.0] * 2, [-1.0] * 3))


# Lowercase


@given(readings, readings)
def test_lowercase_is_the_quotient_of_likelihoods(texts, lower):
    count = min(len(texts), len(lower))
    texts, lower = texts[:count], lower[:count]
    expected = [
        (sum(t[0] for t in b) / len(b)) / (sum(t[0] for t in a) / len(a)) for a, b in zip(texts, lower, strict=True)
    ]
    assert np.allclose(ATTACKS["lowercase"](read(texts), read(lower)), expected, rtol=1e-12)


def test_lowercase_is_higher_for_a_verbatim_memorized_text():
    known, unknown, already = [-0.1, -0.3], [-3.0, -1.0], [-2.5]
    lower = simple([-3.0, -1.0, -2.0], [-3.0, -1.0, -2.0], already)
    assert ATTACKS["lowercase"](simple(known, unknown, already), lower).tolist() == pytest.approx([10.0, 1.0, 1.0])
    assert ATTACKS["lowercase"](simple([0.0], [0.0]), simple([0.0], [-1.0])).tolist() == pytest.approx([1.0, 1e6])


# The texts in lower case, as a model reads them


def scorer(model):
    return Scorer(model, 100, torch.float32)


def plain_loop(model, before, after):
    """Log-probabilities of the ids `after`, read after the ids `before` in a pass of their own."""
    ids = torch.tensor([[*before, *after]])
    with torch.no_grad():
        logits = model.module(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
    logits = logits[logits.shape[0] - ids.shape[1] :]  # virtual tokens come first
    places = range(max(len(before), 1), ids.shape[1])
    return [float(torch.log_softmax(logits[t - 1].double(), 0)[ids[0, t]]) for t in places]


def plain(model, text):
    return model.tokenizer(text, add_special_tokens=False)["input_ids"]


# The longest is in lower case already, so that no other is cut.
STRINGS = [
    "The queen of LISBON wrote.",
    "already in lower case, and the longest of them all",
    "Hi There.",
    "ÄRGER in Oslo",
]
PROMPTS = ["Who Wrote?", "", "Greet The QUEEN", "Say"]


@pytest.mark.parametrize("prompts", [(), PROMPTS], ids=["plain", "prompted"])
@pytest.mark.parametrize("method", [None, "head", "lora", "prefix", "prompt"])
def test_lowercased_equals_a_plain_loop(tiny, architecture, method, prompts):
    model = tiny(architecture)
    model = tuned(model, method) if method else model
    read_texts = tokenize(model.tokenizer, texts_of(STRINGS, prompts), 64)
    observed(scorer(model), read_texts)  # cached hidden states of the texts must not be used for these
    found = lowercased(scorer(model), read_texts)
    bos = bos_ids(model.tokenizer)
    expected = [
        plain_loop(model, bos + plain(model, prompt), plain(model, text.lower()))
        for prompt, text in zip(prompts or [""] * 4, STRINGS, strict=True)
    ]
    assert found.starts.tolist() == np.cumsum([0, *map(len, expected)]).tolist()
    np.testing.assert_allclose(found.logp, np.concatenate(expected), atol=2e-5)


def test_a_lowercase_text_has_equal_log_probabilities(tiny, architecture):
    model = tiny(architecture)
    strings = [*(s.lower() for s in STRINGS[:3]), "ö" * 20]
    again = []
    for most in (13, 14):  # one of them divides an ö, and the remaining part has other tokens
        read_texts = tokenize(model.tokenizer, texts_of(strings, PROMPTS), most)
        last = read_texts.ids[read_texts.starts[3] + read_texts.first[3] :].tolist()
        again.append(plain(model, read_texts.texts.scored[3]) == last)
        same, lower = observed(scorer(model), read_texts), lowercased(scorer(model), read_texts)
        for field in dataclasses.fields(same):
            assert np.array_equal(getattr(same, field.name), getattr(lower, field.name))
        assert set(ATTACKS["lowercase"](same, lower)) == {1.0}
    assert not all(again)


def test_truncated_texts_and_prompts_are_lowercased_as_truncated(tiny, architecture):
    model = tiny(architecture)
    read_texts = tokenize(model.tokenizer, texts_of(["THE OLD SAILOR WROTE.", "Hi There."], ["Who Wrote?", "Hm"]), 16)
    kept = read_texts.texts.scored[0]
    assert kept != "THE OLD SAILOR WROTE."
    lead = read_texts.ids[: read_texts.first[0]].tolist()
    expected = plain_loop(model, lead, plain(model, kept.lower())[: 16 - len(lead)])
    found = lowercased(scorer(model), read_texts)
    np.testing.assert_allclose(found.logp[: found.starts[1]], expected, atol=2e-5)


def test_a_text_that_is_longer_in_lower_case_loses_its_end(tiny):
    model = tiny("llama")
    text = "İİİİ"  # in lower case an i and a combining dot each
    read_texts = tokenize(model.tokenizer, texts_of([text]), 64)
    longer = plain(model, text.lower())
    assert len(longer) > len(read_texts.ids)
    found = lowercased(scorer(model), read_texts)
    np.testing.assert_allclose(found.logp, plain_loop(model, [], longer[: len(read_texts.ids)]), atol=2e-5)


def test_a_text_with_one_lowercase_token_is_scored_unchanged(tiny):
    model = tiny("llama")
    complete = next(
        t for t in ("THE", "IN", "TO", "IT", "HE") if len(plain(model, t)) > 1 == len(plain(model, t.lower()))
    )
    read_texts = tokenize(model.tokenizer, texts_of([complete, "Hi There."]), 64)
    same, lower = observed(scorer(model), read_texts), lowercased(scorer(model), read_texts)
    assert np.array_equal(same.logp[: same.starts[1]], lower.logp[: lower.starts[1]])
    assert ATTACKS["lowercase"](same, lower)[0] == 1.0
    after = tokenize(model.tokenizer, texts_of([complete], ["Say"]), 64)
    assert len(lowercased(scorer(model), after).logp) == 1  # after a prompt one token can be scored


def test_a_study_with_every_attack(shadow_store):
    found = {
        (r.attack, r.attack_settings, r.epoch): r.value for r in study_rows(shadow_store.store) if r.metric == "auc"
    }
    assert len(found) == 3 * (len(TEXT_ATTACKS) + 1)
    assert {a for a, _, _ in found} == set(TEXT_ATTACKS)
    assert ("wbc", "windows=[1, 5]", 2) in found
    for name in ("error_zone", "wbc", "min_k_plus_plus_calibrated"):
        assert found[name, "", 0] == 0.5  # the base model compared with itself gives no signal
