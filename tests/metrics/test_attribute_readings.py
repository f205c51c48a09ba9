"""Log-probabilities of texts with replaced private values, and extraction of the values, against the raw model."""

import numpy as np
import pytest

from byheart.core import registry
from byheart.core.errors import DataError
from byheart.core.types import Texts
from byheart.data.private_attributes import other_values
from byheart.lm.generate import end_tokens
from byheart.lm.special_tokens import bos_ids
from byheart.lm.tokens import tokenize
from byheart.observations import _attributes
from byheart.observations.candidate_likelihoods import candidate_likelihoods
from byheart.observations.candidate_likelihoods_base import candidate_likelihoods_base
from byheart.observations.candidates import candidates
from byheart.observations.recited_attributes import recited_attributes
from testing.reading import logits_of, scorer
from testing.wrapped import tuned

METHODS = [None, *registry.entry_names("methods")]
STRINGS = [
    "The sailor of LISBON wrote to the queen.",
    "Oslo: the baker.",
    "The judge, of Cairo",
    "Write to the pilot in Lima now.",
]
PROMPTS = ["Who wrote?", "", "Greet the queen", "Say"]
ATTRIBUTES = (
    {"city": "LISBON", "who": "queen"},
    {"city": "Oslo"},
    {"city": "Cairo", "who": "judge"},
    {"who": "pilot", "city": "Lima"},
)
OTHERS = ({"city": "Quito", "who": "nurse"}, {"city": "Minsk"}, {"city": "Rome"}, {"who": "clerk"}, {"who": "old king"})


def read_texts(model, prompts=(), strings=STRINGS, most=64):
    return tokenize(
        model.tokenizer, Texts(tuple(f"t{i}" for i in range(len(strings))), tuple(strings), tuple(prompts)), most
    )


def plain(model, text):
    return model.tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("prompts", [(), PROMPTS], ids=["plain", "prompted"])
def test_each_candidate_is_scored_like_the_text(tiny, architecture, method, prompts):
    base = tiny(architecture)
    tokens = read_texts(base, prompts)
    made = candidates(scorer(base), tokens, ATTRIBUTES, OTHERS, count=4)
    untuned = candidate_likelihoods_base(scorer(base), made)
    model = tuned(base, method)
    found = candidate_likelihoods(scorer(model), made)
    expected, order, values = [], [], []
    for i, own in enumerate(ATTRIBUTES):
        for kind, value in sorted(own.items()):
            pools = (sorted({o[kind] for o in texts if kind in o}) for texts in (OTHERS, ATTRIBUTES))
            complete = tokens.texts.prompts[i] + STRINGS[i]
            others = other_values(*pools, kind=kind, truth=value, text=complete, limit=3)
            values += [value, *others]
            for other in [value, *others]:
                lead = [*bos_ids(model.tokenizer), *(plain(model, prompts[i]) if prompts and prompts[i] else [])]
                ids = [*lead, *plain(model, STRINGS[i].replace(value, other))]
                logp = logits_of(model, ids).log_softmax(1)
                first = max(len(lead), 1)
                expected.append(np.mean([logp[t - 1, ids[t]].item() for t in range(first, len(ids))]))
            order.append((i, kind))
    np.testing.assert_allclose(found.loglik, expected, atol=1e-4)
    assert [(t, made.kinds[k]) for t, k in zip(made.text, made.kind, strict=True)] == order
    assert made.left_out.tolist() == [0, 0]
    assert (list(made.values), int(made.limit)) == (values, 3)
    if method is None:
        np.testing.assert_allclose(untuned.loglik, found.loglik, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_extraction_is_greedy_after_the_texts_own_tokens(tiny, architecture, method):
    model = tuned(tiny(architecture), method)
    tokens = read_texts(model, PROMPTS)
    found = recited_attributes(scorer(model), tokens, ATTRIBUTES)
    place = iter(range(len(found.written)))
    for i, own in enumerate(ATTRIBUTES):
        for kind, value in sorted(own.items()):
            lead = [*bos_ids(model.tokenizer), *(plain(model, PROMPTS[i]) if PROMPTS[i] else [])]
            ids, at = plain(model, STRINGS[i]), STRINGS[i].index(value)
            kept = max(t for t in range(len(ids) + 1) if len(model.tokenizer.decode(ids[:t])) <= at)
            if not len(lead) + kept:
                continue
            p = next(place)
            assert (found.text[p], found.kinds[found.kind[p]]) == (i, kind)
            assert found.expected[p] == STRINGS[i][len(model.tokenizer.decode(ids[:kept])) : at + len(value)]
            written, own_ids = [], [*lead, *ids[:kept]]
            upto = min(t for t in range(len(ids) + 1) if len(model.tokenizer.decode(ids[:t])) >= at + len(value))
            while len(written) < upto - kept + 8:
                written.append(int(logits_of(model, [*own_ids, *written])[-1].argmax()))
                if written[-1] in end_tokens(model):
                    written.pop()
                    break
            assert found.written[p] == model.tokenizer.decode(written)
    assert next(place, None) is None


def test_a_prefix_does_not_end_within_a_character(monkeypatch):
    decoded = ["", "a", "a\ufffd", "a\u00e9"]
    monkeypatch.setattr(_attributes, "_decoded", lambda _, ids: decoded[len(ids)])
    assert _attributes._tokens_and_characters_before(None, np.arange(3), "a\u00e9b", 2) == (3, 2)
    assert _attributes._tokens_and_characters_before(None, np.arange(2), "a\u00e9b", 2) == (1, 1)


def test_a_model_that_memorized_the_text_emits_it(tiny):
    """The true value as forced output: the compared tokens are the tokens that the model would have to generate."""
    model = tiny("llama")
    tokens = read_texts(model)
    found = recited_attributes(scorer(model), tokens, ATTRIBUTES)
    assert all(
        e.lstrip().endswith(v)
        for e, v in zip(found.expected, ["LISBON", "queen", "Cairo", "judge", "Lima", "pilot"], strict=True)
    )
    assert found.left_out.tolist() == [1, 0], "nothing stands before Oslo"
    assert recited_attributes(scorer(tiny("gemma")), read_texts(tiny("gemma")), ATTRIBUTES).left_out.tolist() == [
        0,
        0,
    ]  # BOS does


@pytest.mark.parametrize("prompts", [(), PROMPTS], ids=["plain", "prompted"])
def test_results_do_not_depend_on_order_and_batch(tiny, prompts):
    model, order = tiny("llama"), [2, 0, 3, 1]
    found = []
    for chosen, budget in ((range(4), 4096), (order, 30)):
        tokens = read_texts(model, [prompts[i] for i in chosen] if prompts else (), [STRINGS[i] for i in chosen])
        own = [ATTRIBUTES[i] for i in chosen]
        made = candidates(scorer(model), tokens, own, OTHERS[:: 1 if budget > 30 else -1], count=3)
        loglik = candidate_likelihoods(scorer(model, budget), made).loglik
        recited = recited_attributes(scorer(model, budget), tokens, own)
        names = [(chosen[t], k) for t, k in zip(made.text, made.kind, strict=True)]
        spelled = [(chosen[t], k) for t, k in zip(recited.text, recited.kind, strict=True)]
        parted = np.split(loglik, made.starts[1:-1])
        found.append((dict(zip(names, parted, strict=True)), dict(zip(spelled, recited.written, strict=True))))
    assert found[0][1] == found[1][1]
    for name, loglik in found[0][0].items():
        np.testing.assert_allclose(loglik, found[1][0][name], atol=1e-5)


def test_truncated_attributes_are_left_out_and_counted(tiny):
    model = tiny("llama")
    tokens = read_texts(model, most=10)
    assert tokens.cut.max() > 0
    made = candidates(scorer(model), tokens, ATTRIBUTES, OTHERS)
    recited = recited_attributes(scorer(model), tokens, ATTRIBUTES)
    lost = [
        [kind for kind, value in own.items() if value not in s]
        for own, s in zip(ATTRIBUTES, tokens.texts.scored, strict=True)
    ]
    assert made.left_out.tolist() == [sum(kind in those for those in lost) for kind in ("city", "who")]
    assert made.left_out.sum() > 0
    assert len(made.text) == 7 - made.left_out.sum()
    assert recited.left_out.tolist() == [made.left_out[0] + 1, made.left_out[1]]


def test_an_attribute_without_preceding_text_requires_a_prompt(tiny):
    strings, own = ["Cairo", "In Cairo."], ({"city": "Cairo"}, {"city": "Cairo"})
    model = tiny("llama")
    made = candidates(scorer(model), read_texts(model, (), strings), own, OTHERS)
    assert (made.text.tolist(), made.left_out.tolist()) == ([1], [1])
    made = candidates(scorer(model), read_texts(model, ["Where?", "Where?"], strings), own, OTHERS)
    assert (made.text.tolist(), made.left_out.tolist()) == ([0, 1], [0])


def test_texts_without_attributes_raise_an_error(tiny):
    model = tiny("llama")
    with pytest.raises(DataError, match="private attribute"):
        recited_attributes(scorer(model), read_texts(model, (), ["Oslo it is."]), ({"city": "Oslo"},))


def test_a_candidate_longer_than_the_context_raises_an_error(tiny):
    model = tiny("llama")
    tokens = read_texts(model, (), ["In Oslo. " * 20])
    made = candidates(scorer(model), tokens, ({"city": "Oslo"},), ({"city": "Llanfairpwllgwyngyll"},))
    with pytest.raises(DataError, match=r"candidate_likelihoods: .* has \d+ tokens.* data\.max_tokens by \d+"):
        candidate_likelihoods(scorer(model), made)
