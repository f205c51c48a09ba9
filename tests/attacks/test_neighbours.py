"""Neighbourhood and SPV-MIA: the papers' formulas as plain loops; neighbors that the base proposes; their evidence."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import byheart
from byheart.core import registry
from byheart.core.errors import DataError, SettingError
from byheart.core.evidence import NeighborTokens
from byheart.lm.tokens import tokenize
from byheart.observations import _neighbours
from byheart.observations.neighbour_texts import neighbour_texts
from byheart.observations.neighbours import neighbours
from byheart.observations.neighbours_base import neighbours_base
from byheart.store.result_files import read_arrays
from byheart.store.store import Store
from byheart.study.evidence_keys import evidence_key
from byheart.study.observed_states import ModelState
from byheart.study.plan import plan
from byheart.study.remaining_work import observation_work, remaining_work
from byheart.study.study_file import parse_study as parsed
from testing.neighbour_numbers import packed, readings, variants
from testing.reading import logits_of, own_ids, rows_of, scorer, texts_of
from testing.wrapped import tuned

ATTACKS = {name: registry.load_function("attacks", name) for name in ("neighbourhood", "spv")}

# Attacks on hand-made numbers


@given(readings)
def test_neighbourhood_is_the_mean_of_the_text_minus_that_of_its_neighbors(found):
    expected = [math.fsum(own) / len(own) - math.fsum(others) / len(others) for own, others in found]
    scores = ATTACKS["neighbourhood"](packed([t for t, _ in found]), variants([n for _, n in found]))
    assert np.allclose(scores, expected, atol=1e-9)


@given(readings, st.randoms(use_true_random=False))
def test_spv_is_the_peak_under_the_target_minus_that_under_the_base(found, chance):
    base = [([min(0, x + chance.uniform(-2, 2)) for x in t], [x - chance.uniform(0, 2) for x in n]) for t, n in found]

    def variation(own, others):
        return sum(math.exp(x) for x in others) / len(others) - math.exp(sum(map(float, np.float32(own))) / len(own))

    expected = [-(variation(*t) - variation(*b)) for t, b in zip(found, base, strict=True)]
    (ours, near), (theirs, near_base) = (
        (packed([t for t, _ in m]), variants([n for _, n in m])) for m in (found, base)
    )
    scores = ATTACKS["spv"](ours, theirs, near, near_base)
    assert np.allclose(scores, expected, atol=1e-9)
    # The authors' code: members are class 0, and this number is class 1's score for the ROC.
    authors = [variation(*t) - variation(*b) for t, b in zip(found, base, strict=True)]
    assert np.allclose(-scores, authors, atol=1e-9)


def test_by_hand():
    target, near = packed([[-1.0, -3.0], [-4.0]]), variants([[-3.0, -2.5, -3.5], [-4.0]])
    assert ATTACKS["neighbourhood"](target, near).tolist() == [1.0, 0.0]
    log = np.log
    half, quarter = log(0.5), log(0.25)
    target, base = packed([[half, half], [half]]), packed([[quarter, quarter], [half]])
    near, near_base = variants([[log(0.1), log(0.3)], [half]]), variants([[log(0.2), log(0.2)], [half]])
    np.testing.assert_allclose(
        ATTACKS["spv"](target, base, near, near_base), [(0.5 - 0.2) - (0.25 - 0.2), 0.0], atol=1e-7
    )


def test_a_member_is_a_peak_that_the_base_does_not_have():
    """Both texts gained equally; only the non-member's neighbors gained too."""
    target, base = packed([[-1.0] * 4, [-1.0] * 4]), packed([[-3.0] * 4, [-3.0] * 4])
    near, near_base = variants([[-2.9] * 5, [-1.3] * 5]), variants([[-3.3] * 5, [-3.3] * 5])
    for scores in (ATTACKS["neighbourhood"](target, near), ATTACKS["spv"](target, base, near, near_base)):
        assert scores[0] > scores[1]


def test_spv_is_zero_if_target_and_base_are_equal():
    one, near = packed([[-1.0, -0.5], [-2.0]]), variants([[-1.0], [-9.0, -0.1]])
    assert ATTACKS["spv"](one, one, near, near).tolist() == [0.0, 0.0]


def test_certain_and_impossible_predictions_have_finite_scores():
    sure, lost = packed([[0.0]]), packed([[-1e4, -1e4]])
    for own in (sure, lost):
        for near in (variants([[0.0]]), variants([[-1e4, -1e4]])):
            assert np.isfinite(ATTACKS["neighbourhood"](own, near)).all()
            assert np.isfinite(ATTACKS["spv"](own, own, near, variants([[-1.0] * len(near.loglik)]))).all()


def test_neighbours_of_other_texts_are_refused():
    two, near = packed([[-1.0], [-2.0]]), variants([[-1.0]])
    with pytest.raises(DataError, match=r"^attacks neighbourhood: 2 texts, but neighbours of 1 texts"):
        ATTACKS["neighbourhood"](two, near)
    with pytest.raises(DataError, match=r"^attacks spv: 2 texts, but 3 neighbours of 2 texts .* 2 of 2"):
        ATTACKS["spv"](two, two, variants([[-1.0], [-1.0, -2.0]]), variants([[-1.0], [-1.0]]))
    with pytest.raises(DataError, match=r"spv.*same tokens"):
        ATTACKS["spv"](two, packed([[-1.0]]), near, near)


# Neighbours by the base

STRINGS = ["The queen of LISBON wrote a letter.", "Hi there.", "The old sailor", "Oslo, in the end, was quiet."]
PROMPTS = ["Who wrote?", "", "Greet the queen", "Say"]


def read_texts(model, prompts=(), strings=STRINGS, most=64):
    return tokenize(model.tokenizer, texts_of(strings, prompts), most)


@pytest.mark.parametrize("prompts", [(), PROMPTS], ids=["plain", "prompted"])
def test_the_base_proposes_the_pairs_of_the_highest_swap_score(tiny, architecture, prompts):
    model = tiny(architecture)
    tokens = read_texts(model, prompts)
    found = rows_of(neighbour_texts(scorer(model), tokens, count=7))
    special = set(model.tokenizer.all_special_ids)
    for i, near in enumerate(found):
        own, first = own_ids(tokens, i), int(tokens.first[i])
        score, logits = {}, logits_of(model, own)
        for t in range(first, len(own)):
            p = logits[t - 1].softmax(0)
            quotient = (p / (1 - p[own[t]])).tolist()
            for v in set(range(len(model.tokenizer))) - special - {own[t]}:
                score[t, v] = quotient[v]
        changed = [[(t, v) for t, v in enumerate(row) if v != own[t]] for row in near]
        assert [len(c) for c in changed] == [1] * 7
        assert all(len(row) == len(own) for row in near)
        got = [score[c[0]] for c in changed]  # a KeyError means an unscored position or a special token
        assert len({c[0] for c in changed}) == 7
        np.testing.assert_allclose(got, sorted(score.values(), reverse=True)[:7], rtol=1e-4)


def test_a_true_token_of_probability_one_has_a_swap_score():
    from byheart.lm.token_swaps import top_swaps

    logits = torch.tensor([[200.0, 1.0, 0.0, 2.0]])
    log_score, ids = top_swaps(logits, torch.tensor([0]), torch.tensor([0, 1, 3]), 2)[:, 0].split(2)
    assert ids.tolist() == [3, 1]
    others = math.exp(1) + math.exp(0) + math.exp(2)
    np.testing.assert_allclose(log_score.exp(), [math.exp(2) / others, math.exp(1) / others], rtol=1e-6)


def test_neighbors_are_limited_by_the_vocabulary(tiny):
    model = tiny("llama")
    tokens = read_texts(model, ["Who?"], ["a"])
    assert len(tokens.scored_ids) == 1
    (near,) = rows_of(neighbour_texts(scorer(model), tokens, count=1000))
    assert len(near) == len(model.tokenizer) - len(set(model.tokenizer.all_special_ids)) - 1
    assert {row[-1] for row in near}.isdisjoint({own_ids(tokens, 0)[-1], *model.tokenizer.all_special_ids})
    scores = ATTACKS["neighbourhood"](scorer(model)(tokens), neighbours(scorer(model), tokens, packed_rows([near])))
    assert np.isfinite(scores).all()


def test_a_text_without_a_substitute_is_its_own_neighbour(tiny, monkeypatch):
    model = tiny("llama")
    tokens = read_texts(model, ["Who?", "Who?"], ["a", "The queen."])
    only = int(tokens.scored_ids[0])
    monkeypatch.setattr("byheart.lm.token_swaps.ordinary_token_ids", lambda _: [only])
    found = neighbour_texts(scorer(model), tokens)
    assert rows_of(found)[0] == [own_ids(tokens, 0)]
    assert all(row != own_ids(tokens, 1) for row in rows_of(found)[1])
    read = neighbours(scorer(model), tokens, found)
    assert abs(ATTACKS["neighbourhood"](scorer(model)(tokens), read)[0]) < 1e-5


@pytest.mark.parametrize("budget", [1, 37, 5000])
def test_neighbours_do_not_depend_on_order_or_batch(tiny, architecture, budget):
    model = tiny(architecture)
    straight = read_texts(model, PROMPTS)
    there = neighbour_texts(scorer(model), straight, count=5)
    order = [2, 0, 3, 1]
    turned = read_texts(model, [PROMPTS[i] for i in order], [STRINGS[i] for i in order])
    again = neighbour_texts(scorer(model, budget), turned, count=5)
    assert rows_of(again) == [rows_of(there)[i] for i in order]
    assert np.array_equal(
        neighbours_base(scorer(model), straight, there).loglik, neighbours(scorer(model), straight, there).loglik
    )
    one, other = neighbours(scorer(model), straight, there), neighbours(scorer(model, budget), turned, again)
    for place, i in enumerate(order):
        np.testing.assert_allclose(other.loglik[5 * place : 5 * place + 5], one.loglik[5 * i : 5 * i + 5], atol=1e-5)


def packed_rows(rows):
    flat = [row for near in rows for row in near]
    return NeighborTokens(
        ids=np.array([t for row in flat for t in row]),
        offsets=np.cumsum([0, *map(len, flat)]),
        starts=np.cumsum([0, *map(len, rows)]),
    )


# Their evidence


@pytest.mark.parametrize("method", [None, "head", "lora", "prefix", "prompt", "p_tuning"])
def test_readings_equal_a_plain_loop(tiny, architecture, method, monkeypatch):
    base = tiny(architecture)
    tokens = read_texts(base, PROMPTS)
    made = rows_of(neighbour_texts(scorer(base), tokens, count=3))
    made[1] = made[1][:1]  # texts may have different numbers of neighbors
    made[2][0] = [*made[2][0], 7, 8]  # with replaced words, a neighbor may be longer
    model = tuned(base, method) if method else base
    monkeypatch.setattr(_neighbours, "BLOCK", 50)  # several blocks, some with one neighbor
    found = neighbours(scorer(model), tokens, packed_rows(made))
    expected = []
    for i, near in enumerate(made):
        for row in near:
            logp = logits_of(model, row).log_softmax(1)
            expected.append(np.mean([float(logp[t - 1, row[t]]) for t in range(int(tokens.first[i]), len(row))]))
    np.testing.assert_allclose(found.loglik, expected, atol=1e-4)
    assert found.starts.tolist() == [0, 3, 4, 7, 10]


def test_the_text_itself_has_the_targets_log_probabilities(tiny, architecture):
    model = tuned(tiny(architecture), "prompt")
    tokens = read_texts(model, PROMPTS)
    itself = packed_rows([[own_ids(tokens, i)] for i in range(len(tokens))])
    scores = ATTACKS["neighbourhood"](scorer(model)(tokens), neighbours(scorer(model), tokens, itself))
    np.testing.assert_allclose(scores, 0, atol=1e-5)


def test_hidden_states_of_neighbors_are_not_cached(tiny):
    model = tuned(tiny("llama"), "head")
    tokens = read_texts(model)
    base = dataclasses.replace(model, hidden=None)
    neighbours(scorer(model), tokens, neighbour_texts(scorer(base), tokens, count=2))
    assert model.hidden == {}


def test_settings_out_of_range_raise_an_error():
    for wrong in ({"count": 0}, {"masked_model": 3}):
        with pytest.raises(SettingError, match="observations neighbour_texts"):
            registry.choose("observations", "neighbour_texts", wrong)


# A study


def content(folder, data, **changes):
    return {
        "name": "near",
        "models": str(folder),
        "datasets": [data],
        "data": {"train": 12, "members": 10, "nonmembers": 12, "validation": 6, "max_tokens": 60},
        "methods": ["lora", "prompt"],
        "training": {"epochs": 2, "batch_size": 4, "learning_rate": 0.01},
        "attacks": ["loss", "neighbourhood", "spv"],
        "observations": [{"neighbour_texts": {"count": 4}}],
        "metrics": ["auc"],
        **changes,
    }


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    names = [
        f"{a}{b}" for a in ("Ada", "Bo", "Cy", "Di", "Ed", "Flo", "Gus", "Hal") for b in ("na", "ri", "lo", "mu", "te")
    ]
    rows = [{"prompt": f"Who is {n}? ", "completion": f"{n} of {n[::-1]} sold {i} hats."} for i, n in enumerate(names)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return {"files": {"path": str(path)}}


@pytest.mark.parametrize("base", ["llama", "gemma"])
def test_a_study_generates_neighbors_once_and_scores_the_base_once(tiny_folder, pairs, tmp_path, base):
    store = Store.open(tmp_path / "store")
    requested = content(tiny_folder(base), pairs)
    results = byheart.run(requested, store=store)
    assert not results.failed, results.failed
    rows = [r for r in results.rows if r.metric == "auc" and not r.initialized]
    auc = {(r.method, r.attack, r.epoch): r.value for r in rows}
    assert len(auc) == 2 * 3 * 3
    assert {auc[m, "spv", 0] for m in ("lora", "prompt")} == {0.5}
    made = [
        json.loads(p.read_text())["recipe"]["observation"]["name"] for p in store.root.glob("evidence/*/recipe.json")
    ]
    # Two methods after two epochs each, and the initialized prompt.
    # Keys contain the former name of neighbour_texts, so that stored results stay valid.
    names = sorted(n for n in made if n.startswith(("sub", "nei")))
    assert names == ["neighbours"] * 5 + ["neighbours_base", "substitutes"]
    for planned in plan(parsed(requested), store):
        assert remaining_work(planned, store, set()) == 0
        found = read_arrays(
            store.folder("evidence", evidence_key(planned, planned.observation("neighbours"), ModelState(2)))
        )
        assert (np.diff(found["starts"]) == 4).all()


def test_the_cost_of_neighbours_is_planned(tiny_folder, pairs, tmp_path):
    store = Store.open(tmp_path)
    work = []
    for count in (4, 40):
        requested = content(
            tiny_folder("llama"), pairs, methods=["lora"], observations=[{"neighbour_texts": {"count": count}}]
        )
        (planned,) = plan(parsed(requested), store)
        work.append({o.name: observation_work(planned, o) for o in planned.observations})
    for name in ("neighbours", "neighbours_base"):
        assert work[1][name] == 10 * work[0][name] == 40 * work[0]["neighbour_texts"]
