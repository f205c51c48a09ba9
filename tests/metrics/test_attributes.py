"""Private attributes: told from others of their kind, recited; formulas as plain loops, readings against the raw model."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import byheart
from byheart.analysis import row_values
from byheart.core import registry
from byheart.core.errors import DataError, SettingError
from byheart.core.evidence import Candidates, RecitedAttributes, Variants
from byheart.core.types import Examples, Texts
from byheart.data.private_attributes import candidate_values
from byheart.data.splitting import split
from byheart.datasets.files import files
from byheart.lm.forward import Scorer
from byheart.lm.generate import end_tokens
from byheart.lm.tokens import bos_ids, tokenize
from byheart.metrics.attribute_extraction import attribute_extraction
from byheart.metrics.attribute_inference import attribute_inference
from byheart.observations import _attributes
from byheart.observations.candidate_likelihoods import candidate_likelihoods
from byheart.observations.candidate_likelihoods_base import candidate_likelihoods_base
from byheart.observations.candidates import candidates
from byheart.observations.recited_attributes import recited_attributes
from byheart.stats.proportions import paired_share_difference, share_with_interval
from byheart.store.store import Store
from byheart.study.evidence_keys import evidence_key
from byheart.study.plan import plan
from byheart.study.study_file import parse_study as parsed
from byheart.tables.attribute_trajectory import attribute_trajectory
from byheart.tables.attributes import attributes
from testing.wrapped import tuned

METHODS = [None, *registry.entry_names("methods")]

# The metrics on hand-made numbers


def asked(preferred, *, common=None, kinds=("email",), kind=None, text=None, left_out=None):
    """Candidates, and readings of one token each, whose log-probabilities these are: a list for each attribute, its own first."""
    flat = [x for own in preferred for x in own]
    starts = np.cumsum([0, *map(len, preferred)])
    made = Candidates(
        kinds=kinds,
        kind=np.array(kind or [0] * len(preferred)),
        text=np.array(text or range(len(preferred))),
        starts=starts,
        ids=np.zeros(2 * len(flat), dtype=np.int64),
        offsets=2 * np.arange(len(flat) + 1),
        first=np.ones(len(flat), dtype=np.int64),
        common=np.array([x for own in common for x in own]) if common else np.ones(len(flat), dtype=np.int64),
        left_out=np.array(left_out or [0] * len(kinds)),
    )
    return made, Variants(loglik=np.array(flat, dtype=float), starts=starts)


def alone(count):
    return tuple(f"g{i}" for i in range(count))


rankings = st.lists(st.lists(st.integers(-4, 0), min_size=2, max_size=6), min_size=2, max_size=8)


@given(rankings, st.data())
def test_picking_and_rank_are_those_of_ties_broken_by_chance(preferred, data):
    membership = np.array([True, False, *(data.draw(st.booleans()) for _ in preferred[2:])])
    made, readings = asked(preferred)
    found = attribute_inference(made, readings, readings, membership, alone(len(preferred)))
    hits, ranks = [], []
    for own in preferred:
        better, tied = sum(x > own[0] for x in own), sum(x == own[0] for x in own)
        places = range(better + 1, better + tied + 1)
        hits.append(sum(r == 1 for r in places) / tied)
        ranks.append(sum(1 / r for r in places) / tied)
    for of, side in (("members", membership), ("nonmembers", ~membership)):
        for measure, values in (("top1", hits), ("mrr", ranks)):
            expected = np.mean([v for v, inside in zip(values, side, strict=True) if inside])
            estimate = found[f"kind=email, measure={measure}, of={of}"]
            assert estimate.value == pytest.approx(expected)
            assert estimate.low <= estimate.value <= estimate.high
    lead = found["kind=email, measure=advantage, over=nonmembers"]
    assert lead.value == pytest.approx(np.mean(np.array(hits)[membership]) - np.mean(np.array(hits)[~membership]))


def test_by_hand():
    # Whole texts are compared, so that sums over unequal numbers of tokens decide, not means.
    made = Candidates(
        kinds=("name",), kind=np.zeros(2, int), text=np.array([0, 1]), starts=np.array([0, 2, 4]),
        ids=np.zeros(11, dtype=np.int64), offsets=np.array([0, 3, 5, 8, 11]), first=np.ones(4, dtype=np.int64),
        common=np.array([3, 1, 1, 1]), left_out=np.array([2]),
    )  # fmt: skip
    tuned_ = Variants(loglik=np.array([-1.0, -1.5, -2.0, -1.0]), starts=made.starts)  # sums -2 and -1.5; -4 and -2
    base = Variants(loglik=np.array([-1.0, -3.0, -2.0, -2.0]), starts=made.starts)  # sums -2 and -3; a tie
    found = attribute_inference(made, tuned_, base, np.array([True, False]), ("a", "b"))
    assert {n: e.value for n, e in found.items()} == {
        "kind=name, measure=top1, of=members": 0,
        "kind=name, measure=top1, of=nonmembers": 0,
        "kind=name, measure=mrr, of=members": 0.5,
        "kind=name, measure=mrr, of=nonmembers": 0.5,
        "kind=name, measure=majority, of=members": 1,
        "kind=name, measure=majority, of=nonmembers": 0.5,
        "kind=name, measure=advantage, over=majority": -1,
        "kind=name, measure=advantage, over=nonmembers": 0,
        "kind=name, measure=advantage, over=untuned": -1,
        "kind=name, measure=left_out": 2,
    }
    assert found["kind=name, measure=majority, of=members"].low is None


def test_the_untuned_model_has_no_advantage_over_itself():
    made, readings = asked([[0, -1], [0, -1]])
    found = attribute_inference(made, readings, readings, np.array([True, False]), alone(2))
    assert "kind=email, measure=advantage, over=untuned" not in found


def test_kinds_are_told_apart_and_together():
    made, readings = asked([[0, -1], [-1, 0], [0, -1]], kinds=("email", "phone"), kind=[0, 1, 0], text=[0, 0, 1])
    found = attribute_inference(made, readings, readings, np.array([True, False]), alone(2))
    told = {n.split(", ")[0]: e.value for n, e in found.items() if "top1, of=members" in n}
    assert told == {"kind=email": 1, "kind=phone": 0, "kind=all": 0.5}
    assert "kind=phone, measure=top1, of=nonmembers" not in found
    assert "kind=phone, measure=advantage, over=nonmembers" not in found
    assert found["kind=all, measure=top1, of=members"].members == 2


def test_recited_is_what_the_text_says_verbatim():
    made = RecitedAttributes(
        kinds=("email",),
        kind=np.zeros(5, int),
        text=np.arange(5),
        written=(" a@b.c. More", "a@b.cd", "A@b.c", "to a@b.c", ""),
        expected=(" a@b.c", " a@b.c", "a@b.c", "a@b.c", "a@b.c"),
        left_out=np.array([1]),
    )
    base = RecitedAttributes(**{**vars(made), "written": ("",) * 5})
    found = attribute_extraction(made, base, np.array([True, True, False, False, False]), alone(5))
    assert {n: e.value for n, e in found.items()} == {
        "kind=email, measure=recited, of=members": 1,
        "kind=email, measure=recited, of=nonmembers": 0,
        "kind=email, measure=advantage, over=nonmembers": 1,
        "kind=email, measure=advantage, over=untuned": 1,
        "kind=email, measure=left_out": 1,
    }


def test_never_to_differ_shows_no_exact_zero():
    half = np.arange(40) % 2.0
    never = paired_share_difference(half, half, alone(40))
    assert never.value == 0
    assert never.high - never.low > 0.05


def test_intervals_of_a_gain_hold_near_the_ends():
    chance = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        a, b = ((chance.random(32) < p).astype(float) for p in (0.95, 0.05))
        found = paired_share_difference(a, b, alone(32))
        held += found.low <= 0.9 <= found.high
    assert held >= 183  # plain Student intervals hold in 174 of 200


def test_attributes_of_one_text_are_worth_less_than_as_many_texts():
    values = np.repeat(np.arange(20) % 2, 5).astype(float)
    wide, narrow = (
        share_with_interval(values, tuple(f"g{i // 5}" for i in range(100))),
        share_with_interval(values, alone(100)),
    )
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


# What an attribute is exchanged for


@given(st.sets(st.text(min_size=1, max_size=4), min_size=2, max_size=12), st.integers(1, 12), st.randoms())
def test_others_are_distinct_never_the_truth_and_the_same_in_any_order(pool, count, random):
    truth, *_ = sorted(pool)
    found = candidate_values(sorted(pool), kind="name", truth=truth, text="A text.", count=count)
    assert len(found) == len(set(found)) == min(count, len(pool) - 1)
    assert truth not in found
    assert set(found) <= pool
    assert candidate_values(sorted(pool), kind="name", truth=truth, text="A text.", count=12)[:count] == found


def test_a_value_is_exchanged_where_it_stands_by_itself():
    exchanged = _attributes.replace_value
    assert exchanged("Ann met Anna, and Ann left.", "Ann", "Bo") == "Bo met Anna, and Bo left."
    assert exchanged("Anna left.", "Ann", "Bo") == "Boa left."  # it stands nowhere else
    assert exchanged("Mail a.b@c.d.", "a.b@c.d", "x") == "Mail x."
    assert exchanged("At 3, 33 and (3).", "3", "4") == "At 4, 33 and (4)."


def test_attributes_that_do_not_stand_in_their_texts_are_refused():
    texts = Texts(("t0",), ("Ann left.",))
    with pytest.raises(DataError, match="'t0': attribute 'name' is 'Bo', which does not stand in the text"):
        Examples(texts, ("pool",), ("g",), ({"name": "Bo"},))
    with pytest.raises(DataError, match="does not stand"):
        Examples(texts, ("pool",), ("g",), ({"name": " "},))


# Readings against the raw model

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


def scorer(model, budget=200):
    return Scorer(model, budget, torch.float32)


def read_texts(model, prompts=(), strings=STRINGS, most=64):
    return tokenize(
        model.tokenizer, Texts(tuple(f"t{i}" for i in range(len(strings))), tuple(strings), tuple(prompts)), most
    )


def logits_of(model, ids):
    """The model's own logits of one text, a row a token of it."""
    with torch.no_grad():
        logits = model.module(
            input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long)
        ).logits[0]
    return logits[logits.shape[0] - len(ids) :].double()  # virtual tokens stand first


def plain(model, text):
    return model.tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("prompts", [(), PROMPTS], ids=["plain", "prompted"])
def test_each_candidate_is_read_as_the_text_is(tiny, architecture, method, prompts):
    base = tiny(architecture)
    tokens = read_texts(base, prompts)
    made = candidates(scorer(base), tokens, ATTRIBUTES, OTHERS, count=4)
    untuned = candidate_likelihoods_base(scorer(base), made)
    model = tuned(base, method)
    found = candidate_likelihoods(scorer(model), made)
    expected, order = [], []
    for i, own in enumerate(ATTRIBUTES):
        for kind, value in sorted(own.items()):
            pool = sorted({o[kind] for o in OTHERS if kind in o})
            whole = tokens.texts.prompts[i] + STRINGS[i]
            for other in [value, *candidate_values(pool, kind=kind, truth=value, text=whole, count=3)]:
                lead = [*bos_ids(model.tokenizer), *(plain(model, prompts[i]) if prompts and prompts[i] else [])]
                ids = [*lead, *plain(model, STRINGS[i].replace(value, other))]
                logp = logits_of(model, ids).log_softmax(1)
                first = max(len(lead), 1)
                expected.append(np.mean([logp[t - 1, ids[t]].item() for t in range(first, len(ids))]))
            order.append((i, kind))
    np.testing.assert_allclose(found.loglik, expected, atol=1e-4)
    assert [(t, made.kinds[k]) for t, k in zip(made.text, made.kind, strict=True)] == order
    assert made.left_out.tolist() == [0, 0]
    if method is None:
        np.testing.assert_allclose(untuned.loglik, found.loglik, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_recital_is_greedy_after_the_texts_own_tokens(tiny, architecture, method):
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


def test_a_beginning_does_not_end_within_a_character(monkeypatch):
    decoded = ["", "a", "a\ufffd", "a\u00e9"]
    monkeypatch.setattr(_attributes, "_decoded", lambda _, ids: decoded[len(ids)])
    assert _attributes._tokens_and_characters_before(None, np.arange(3), "a\u00e9b", 2) == (3, 2)
    assert _attributes._tokens_and_characters_before(None, np.arange(2), "a\u00e9b", 2) == (1, 1)


def test_a_model_that_knows_the_text_recites_it(tiny):
    """The truth written by force: what is compared is what the model would have to write."""
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
def test_neither_order_nor_batch_matters(tiny, prompts):
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


def test_what_is_cut_off_is_left_out_and_counted(tiny):
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


def test_an_attribute_that_is_all_of_its_text_needs_something_before_it(tiny):
    strings, own = ["Cairo", "In Cairo."], ({"city": "Cairo"}, {"city": "Cairo"})
    model = tiny("llama")
    made = candidates(scorer(model), read_texts(model, (), strings), own, OTHERS)
    assert (made.text.tolist(), made.left_out.tolist()) == ([1], [1])
    made = candidates(scorer(model), read_texts(model, ["Where?", "Where?"], strings), own, OTHERS)
    assert (made.text.tolist(), made.left_out.tolist()) == ([0, 1], [0])


def test_no_attribute_to_ask_for_is_refused(tiny):
    model = tiny("llama")
    with pytest.raises(DataError, match="no private attribute can be asked for"):
        recited_attributes(scorer(model), read_texts(model, (), ["Oslo it is."]), ({"city": "Oslo"},))


def test_a_value_that_outgrows_the_context_is_refused(tiny):
    model = tiny("llama")
    tokens = read_texts(model, (), ["In Oslo. " * 20])
    made = candidates(scorer(model), tokens, ({"city": "Oslo"},), ({"city": "Llanfairpwllgwyngyll"},))
    with pytest.raises(DataError, match=r"with another attribute a text has \d+ tokens.*lower data.max_tokens by \d+"):
        candidate_likelihoods(scorer(model), made)


# Studies

CITIES = ["Lisbon", "Oslo", "Cairo", "Lima", "Quito", "Minsk"]
PEOPLE = ["sailor", "doctor", "painter", "teacher", "farmer", "singer"]


def content(folder, path, **changes):
    return {
        "name": "attributes",
        "models": str(folder),
        "datasets": [{"files": {"path": str(path), "attributes": ["code", "city"]}}],
        "data": {"train": 12, "members": 12, "nonmembers": 12, "validation": 8, "max_tokens": 60},
        "methods": ["full"],
        "training": {"epochs": 16, "batch_size": 2, "learning_rate": 0.01, "schedule": "constant"},
        "attacks": ["loss"],
        "metrics": ["attribute_inference", "attribute_extraction"],
        "observations": [{"candidates": {"count": 4}}],
        **changes,
    }


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """Texts of a person, a city and a number of three digits."""
    chance = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "codes.jsonl"
    rows = []
    for n in range(44):
        city, who, code = CITIES[n % 6], PEOPLE[(n // 6) % 6], "".join(map(str, chance.integers(0, 10, 3)))
        rows.append({"text": f"{who}{n} in {city} has the code {code}.", "code": code, "city": city})
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


@pytest.fixture(scope="module")
def done(tiny_folder, lines, tmp_path_factory):
    store = Store.open(tmp_path_factory.mktemp("store"))
    return store, byheart.run(content(tiny_folder("llama"), lines), store=store)


def of(results, metric, epoch):
    return {r.metric_settings: r for r in results.rows if r.metric == metric and r.epoch == epoch}


def test_an_overfitted_model_knows_its_members_codes_and_no_others(done):
    _, results = done
    assert not results.failed
    found = of(results, "attribute_inference", 16)
    assert found["kind=code, measure=top1, of=members"].value > 0.9
    assert found["kind=code, measure=top1, of=nonmembers"].value < 0.6
    for over in ("nonmembers", "untuned", "majority"):
        assert found[f"kind=code, measure=advantage, over={over}"].low > 0
    assert found["kind=code, measure=majority, of=members"].value == pytest.approx(1 / 4)
    untuned = of(results, "attribute_inference", 0)
    assert untuned["kind=code, measure=advantage, over=nonmembers"].low < 0
    recited = of(results, "attribute_extraction", 16)
    assert recited["kind=code, measure=recited, of=members"].value > 0.3
    assert recited["kind=code, measure=recited, of=nonmembers"].value == 0
    assert recited["kind=code, measure=advantage, over=untuned"].low > 0


@pytest.mark.parametrize("by", ["group", "published"])
def test_every_text_keeps_its_own_attributes(by):
    texts = Texts(tuple(f"t{i}" for i in range(60)), tuple(f"Number {i} of all, {i * 7} in words." for i in range(60)))
    roles = [("train", "nonmember", "validation")[i % 3] for i in range(60)]
    named = tuple({"number": f"Number {i} "} for i in range(60))
    examples = Examples(texts, tuple(roles), texts.ids, named)
    dealt = split(examples, train=12, members=9, nonmembers=8, validation=7, seed=3, by=by)
    held = [
        *zip(dealt.audited.scored, dealt.attributes, strict=True),
        *zip(dealt.validation.scored, dealt.validation_attributes, strict=True),
    ]
    assert len(held) == 24
    assert all(own["number"] in text for text, own in held)


def test_what_is_kept_of_a_split_keeps_them_too(done, tiny_folder, lines):
    store, results = done
    assert all(r.value == 0 for r in results.rows if "left_out" in r.metric_settings)
    dealt = plan(parsed(content(tiny_folder("llama"), lines)), store)[0].split
    texts = (*dealt.audited.scored, *dealt.validation.scored)
    named = (*dealt.attributes, *dealt.validation_attributes)
    assert all(own["code"] in text and own["city"] in text for text, own in zip(texts, named, strict=True))


def test_what_was_asked_for_and_what_it_took_are_rows(done):
    _, results = done
    cost = {(r.metric, r.metric_settings): r.value for r in results.rows if r.epoch == 1 and not r.attack}
    assert cost["passes", "observation=candidate_likelihoods"] == 2 * 4
    assert cost["passes", "observation=recited_attributes"] == 2
    assert cost["passes", "observation=candidates"] == 0
    assert cost["seconds", "observation=candidate_likelihoods"] > 0


def test_the_tables_show_every_kind_beside_its_controls(done):
    _, results = done
    shown = attributes(results.rows)
    by_kind = {row[2:4]: dict(zip(shown.header, row, strict=True)) for row in shown.rows}
    assert set(by_kind) == {(k, a) for k in ("city", "code", "all") for a in ("picked", "recited")}
    found = of(results, "attribute_inference", 16)["kind=code, measure=top1, of=members"]
    code = by_kind["code", "picked"]
    assert code["members"].startswith(f"{found.value:.3f}")
    assert code["majority"] == "0.250"
    assert by_kind["code", "recited"]["majority"] == row_values.MISSING
    path = attribute_trajectory(results.rows)
    assert path.header[5:7] == ("untuned", "epoch 1")
    assert len(path.rows) == 2 * len(shown.rows)
    with pytest.raises(DataError, match="no row is of private attributes"):
        attributes([r for r in results.rows if r.attack])


def test_a_mark_needs_both_leads_to_stand_with_all_other_lines(done):
    _, results = done

    def marked(lows):
        """Whether the code's line is marked where its leads have these lower ends, and the value .5."""
        rows = []
        for r in results.rows:
            over = next((o for o in lows if f"kind=code, measure=advantage, over={o}" == r.metric_settings), None)
            rows.append(replace(r, value=0.5, low=lows[over], high=0.9) if over else r)
        return "*" in next(row[4] for row in attributes(rows).rows if row[2:4] == ("code", "picked"))

    assert marked({"nonmembers": 0.3, "untuned": 0.3})
    assert not marked(
        {"nonmembers": 0.3, "untuned": 0.05}
    )  # above 0 by itself, not with six lines of two leads at once
    assert not marked({"nonmembers": -0.1, "untuned": 0.3})


def test_run_again_makes_nothing(done, tiny_folder, lines, monkeypatch):
    store, results = done
    monkeypatch.setattr("byheart.lm.load.load", None)
    assert byheart.run(content(tiny_folder("llama"), lines), store=store).rows == results.rows


def test_attributes_change_only_the_keys_of_what_asks_for_them(tiny_folder, lines, tmp_path):
    named = content(tiny_folder("llama"), lines)
    fewer = content(tiny_folder("llama"), lines, datasets=[{"files": {"path": str(lines), "attributes": ["code"]}}])
    ours, theirs = (plan(parsed(c), Store.open(tmp_path / "store"))[0] for c in (named, fewer))
    assert ours.key == theirs.key
    for name in ("target", "candidates", "recited_attributes"):
        same = evidence_key(ours, ours.observation(name), 1) == evidence_key(theirs, theirs.observation(name), 1)
        assert same == (name == "target")


def test_prompts_and_virtual_tokens_are_conditions_here_too(tiny_folder, lines, tmp_path):
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    path = tmp_path / "pairs.jsonl"
    pairs = [
        {**r, "prompt": r["text"].split(" has")[0], "completion": " has" + r["text"].split(" has")[1]} for r in rows
    ]
    path.write_text("".join(json.dumps({k: v for k, v in p.items() if k != "text"}) + "\n" for p in pairs))
    asked_of = content(
        tiny_folder("gemma"),
        path,
        datasets=[{"files": {"path": str(path), "attributes": ["code"]}}],
        methods=[{"prompt": {"virtual_tokens": 4}}, "prefix"],
        training={"epochs": 1, "batch_size": 4},
    )
    results = byheart.run(asked_of, store=Store.open(tmp_path / "store"))
    assert not results.failed
    assert {r.method for r in results.rows if r.metric == "attribute_extraction" and r.epoch == 1} == {
        "prompt",
        "prefix",
    }
    assert not any("kind=all" in r.metric_settings for r in results.rows)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"datasets": ["files"]}, "metrics attribute_inference needs private attributes, and no audited text has any"),
        ({"observations": [{"candidates": {"count": 1}}]}, "candidates: count = 1"),
    ],
)
def test_bad_requests_are_refused_before_training(tiny_folder, lines, tmp_path, monkeypatch, changes, told):
    monkeypatch.setattr("byheart.lm.load.load", None)
    if changes.get("datasets"):
        changes = {"datasets": [{"files": {"path": str(lines)}}]}
    with pytest.raises((DataError, SettingError), match=told):
        byheart.run(content(tiny_folder("llama"), lines, **changes), store=Store.open(tmp_path / "store"))


def test_values_that_nobody_named_are_found(tmp_path, monkeypatch):
    path = tmp_path / "letters.jsonl"
    texts = [
        "Write to ann@web.example or bo@web.example, or call 212-555-0143.",
        "Nothing here.",
        "It was 10.0.0.1 again.",
    ]
    path.write_text(
        "".join(json.dumps({"text": t, "email": "bo@web.example"} if "bo@" in t else {"text": t}) + "\n" for t in texts)
    )
    found = files(path=str(path), pii=("email", "phone"))
    assert found.attributes == ({"email": "ann@web.example", "phone": "212-555-0143"}, {}, {})
    named = files(path=str(path), pii=("email",), attributes=("email",))
    assert named.attributes[0] == {"email": "bo@web.example"}, "what the file names goes first"
    assert files(path=str(path), pii=("ip_address",)).attributes == ({}, {}, {"ip_address": "10.0.0.1"})
    with pytest.raises(SettingError, match="pii"):
        registry.choose("datasets", "files", {"path": str(path), "pii": ["names"]})
    monkeypatch.setitem(sys.modules, "datafog", None)
    with pytest.raises(DataError, match=r"pip install 'byheart\[pii\]'"):
        files(path=str(path), pii=("email",))


def test_candidates_of_the_truth_alone_are_refused_before_training(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("byheart.lm.load.load", None)
    path = tmp_path / "one.jsonl"
    path.write_text("".join(json.dumps({"text": f"Number {n} is in Oslo.", "city": "Oslo"}) + "\n" for n in range(60)))
    data = [{"files": {"path": str(path), "attributes": ["city"]}}]
    with pytest.raises(
        DataError, match="a text's city is 'Oslo', and the validation texts have no other to tell it from"
    ):
        byheart.run(content(tiny_folder("llama"), path, datasets=data), store=Store.open(tmp_path / "store"))
    # What is only recited needs no others.
    recited = content(tiny_folder("llama"), path, datasets=data, metrics=["attribute_extraction"], observations=[])
    assert plan(parsed(recited), Store.open(tmp_path / "store"))
