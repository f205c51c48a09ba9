"""The self-prompted reference model: formulas as plain loops, planted truth, generated texts, the training, and its plan."""

import gc
import json
import math
import sys
import types
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import byheart
from byheart.core import registry
from byheart.core.config import TokenFormat
from byheart.core.errors import DataError, SettingError
from byheart.core.evidence import PromptedTexts, Variants
from byheart.core.types import LogProbs
from byheart.lm import train
from byheart.lm.tokens import tokenize
from byheart.metrics.auc import auc
from byheart.observations import self_prompted_texts as generation
from byheart.observations.self_prompted_texts import self_prompted_texts
from byheart.store.result_files import read_arrays
from byheart.store.store import Store
from byheart.study import reference_training
from byheart.study.estimate import cell_estimates, plan_table
from byheart.study.evidence_keys import evidence_key
from byheart.study.memory_estimate import memory_bytes
from byheart.study.observed_states import BASE, ModelState
from byheart.study.plan import plan
from byheart.study.reference_models import reference_cell
from byheart.study.remaining_work import attack_cost, epoch_work, remaining_work
from byheart.study.study_file import parse_study as parsed
from testing.neighbour_numbers import packed, readings, variants
from testing.reading import own_ids, scorer, texts_of

spv, reference = (registry.load_function("attacks", f"{name}_self_prompted") for name in ("spv", "reference"))
EVIDENCE = ("self_prompted", "neighbours_self_prompted")

# Attacks on hand-made numbers


@given(readings, st.randoms(use_true_random=False))
def test_scores_are_the_formulas(found, chance):
    other = [([min(0, x + chance.uniform(-2, 2)) for x in t], [x - chance.uniform(0, 2) for x in n]) for t, n in found]

    def mean(own):
        return math.fsum(map(float, np.float32(own))) / len(own)

    def variation(own, others):
        return sum(math.exp(x) for x in others) / len(others) - math.exp(mean(own))

    (ours, near), (theirs, near_theirs) = (
        (packed([t for t, _ in m]), variants([n for _, n in m])) for m in (found, other)
    )
    differences = [variation(*t) - variation(*r) for t, r in zip(found, other, strict=True)]
    assert np.allclose(spv(ours, theirs, near, near_theirs), [-d for d in differences], atol=1e-9)
    gains = [mean(t) - mean(r) for (t, _), (r, _) in zip(found, other, strict=True)]
    assert np.allclose(reference(ours, theirs), gains, atol=1e-9)


def drawn(seed, *, gain, kind=1.0, texts=300, tokens=30):
    """Evidence under target, self-prompted reference and base: a text's kind gains by `kind` times its own factor, a member by `gain`.

    The reference has learned the kind, the base has not. Even texts are members, as in `measured`.
    """
    chance = np.random.default_rng([seed, 3])
    starts = np.arange(texts + 1) * tokens
    base = -3 - chance.gamma(2.0, 0.3, (texts, 1)) + chance.normal(0, 0.2, (texts, tokens))
    own = kind * chance.random((texts, 1))
    members = gain * (np.arange(texts) % 2 == 0)[:, None]

    def noisy(values):
        return LogProbs(logp=np.minimum(values + chance.normal(0, 0.1, values.shape), 0).ravel(), starts=starts)

    def near(values):
        mean = values.mean(1, keepdims=True) - chance.gamma(2.0, 0.1, (texts, 5))
        return Variants(loglik=mean.ravel(), starts=np.arange(texts + 1) * 5)

    target, reference_model, base_model = base + own + members, base + own, base
    # The target memorized the text, not its neighbours.
    neighbours = {"target": near(base + own), "reference": near(base + own), "base": near(base)}
    return {"target": noisy(target), "reference": noisy(reference_model), "base": noisy(base_model)}, neighbours


def measured(scores):
    return auc(scores, np.arange(len(scores)) % 2 == 0, tuple(map(str, range(len(scores)))))


def test_a_reference_of_the_kind_finds_members_that_the_base_model_hides():
    models, near = drawn(0, gain=0.3)
    plain = measured(registry.load_function("attacks", "reference")(models["target"], models["base"]))
    calibrated = measured(reference(models["target"], models["reference"]))
    assert calibrated.low > 0.9
    assert calibrated.low > plain.high
    assert measured(spv(models["target"], models["reference"], near["target"], near["reference"])).low > 0.6


@pytest.mark.parametrize("attack", [reference, spv])
def test_without_members_it_is_at_chance(attack):
    nulls = []
    for seed in range(4):
        models, near = drawn(seed, gain=0.0)
        given_ = [models["target"], models["reference"], near["target"], near["reference"]]
        nulls.append(measured(attack(*given_[: len(registry.needs(attack))])))
    assert sum(null.low < 0.5 < null.high for null in nulls) >= 3
    assert abs(np.mean([null.value for null in nulls]) - 0.5) < 0.05


def test_equal_models_score_zero_and_other_tokens_are_refused():
    one, near = packed([[-1.0, -0.5], [-2.0]]), variants([[-1.0], [-9.0, -0.1]])
    assert spv(one, one, near, near).tolist() == reference(one, one).tolist() == [0.0, 0.0]
    with pytest.raises(DataError, match=r"reference_self_prompted.*same tokens"):
        reference(one, packed([[-1.0], [-2.0]]))
    with pytest.raises(DataError, match=r"spv_self_prompted.*same tokens"):
        spv(one, packed([[-1.0], [-2.0]]), near, near)
    with pytest.raises(DataError, match=r"attacks spv_self_prompted: 2 texts, but 3 neighbours"):
        spv(one, one, near, variants([[-1.0], [-1.0]]))


# Generated texts

STRINGS = ["The queen of LISBON wrote a letter.", "Hi there.", "The old sailor", "Oslo, in the end, was quiet."]
PROMPTS = ["Who wrote?", "", "Greet the queen", "Say"]


def texts_generated(model, tokens, **settings):
    found = self_prompted_texts(scorer(model), tokens, **settings)
    return found, [own_ids(found, i) for i in range(len(found.first))]


@pytest.mark.parametrize("prompts", [(), PROMPTS], ids=["plain", "prompted"])
def test_each_text_continues_the_first_tokens_of_a_known_nonmember(tiny, architecture, prompts):
    model = tiny(architecture)
    known = tokenize(model.tokenizer, texts_of(STRINGS, prompts), 64)
    found, generated = texts_generated(model, known, samples=3, prompt_tokens=5)
    assert len(generated) == 12
    assert found.first.tolist() == np.repeat(known.first, 3).tolist()
    for j, ids in enumerate(generated):
        own = own_ids(known, j // 3)
        begin = max(int(known.first[j // 3]), min(5, len(own) - 1))
        assert ids[:begin] == own[:begin]
        assert begin < len(ids) <= len(own) or len(ids) == begin + 1
    assert any(ids != own_ids(known, j // 3)[: len(ids)] for j, ids in enumerate(generated))


def test_a_text_depends_on_its_prompt_alone(tiny):
    model = tiny("llama")
    known = tokenize(model.tokenizer, texts_of(STRINGS), 64)
    _, generated = texts_generated(model, known, samples=2, prompt_tokens=4)
    _, one = texts_generated(model, known, samples=1, prompt_tokens=4)
    turned = texts_of(STRINGS).take([3, 1])
    _, others = texts_generated(model, tokenize(model.tokenizer, turned, 64), samples=2, prompt_tokens=4)
    assert one == generated[::2]
    assert others == [*generated[6:8], *generated[2:4]]
    assert generated[0] != generated[1]


@pytest.mark.parametrize("end_token", [True, False])
def test_a_text_that_the_model_ends_has_the_end_token_of_training(tiny, monkeypatch, end_token):
    model = tiny("llama")
    known = tokenize(
        model.tokenizer, texts_of(STRINGS[:2], PROMPTS[:2]), 64, token_format=TokenFormat(end_token=end_token)
    )
    written = [[np.array([7, 8]), np.array([], dtype=int)], [np.full(known.text_lengths[1] - known.first[1], 9)] * 2]
    monkeypatch.setattr(generation, "generate_samples", lambda *_, **__: written)
    _, generated = texts_generated(model, known, samples=2, prompt_tokens=0)
    eos = model.tokenizer.eos_token_id
    ends = [ids[int(known.first[j // 2]) :] for j, ids in enumerate(generated)]
    # Two tokens, nothing but an end, and twice a text of full length.
    assert ends[:2] == [[7, 8, *[eos] * end_token], [eos]]
    assert all(set(end) == {9} for end in ends[2:])


def test_texts_without_a_token_to_train_on_are_refused():
    with pytest.raises(DataError, match="no token to train on"):
        PromptedTexts(ids=np.array([1, 2]), starts=np.array([0, 2]), first=np.array([2]))


# A study

METHODS = ["head", "lora", "prefix"]
DATA = {"train": 16, "members": 8, "nonmembers": 8, "validation": 6, "known": 4, "max_tokens": 40}


def content(folder, **changes):
    return {
        "name": "prompted",
        "models": str(folder),
        "datasets": [{"records": {"count": 80}}],
        "data": DATA,
        "methods": ["lora"],
        "training": {"epochs": 2, "batch_size": 4, "learning_rate": 0.01},
        "attacks": ["loss", "reference_self_prompted", "spv_self_prompted"],
        "observations": [
            {"neighbour_texts": {"count": 2}},
            {"self_prompted_texts": {"samples": 3, "prompt_tokens": 6}},
        ],
        "metrics": ["auc"],
        **changes,
    }


def arrays(store, planned, name, state):
    return read_arrays(store.folder("evidence", evidence_key(planned, planned.observation(name), state)))


def run(requested, store, **options):
    results = byheart.run(requested, store=store, **options)
    assert not results.failed, results.failed
    return results


@pytest.fixture(scope="module")
def done(tiny_folder, tmp_path_factory):
    """Store and content of a finished study of all methods, and its results."""
    store = Store.open(tmp_path_factory.mktemp("prompted") / "store")
    requested = content(tiny_folder("llama"), methods=METHODS)
    return store, requested, run(requested, store)


def test_it_scores_every_method_and_nothing_at_epoch_zero(done):
    _, _, results = done
    found = {(r.method, r.attack, r.epoch): r.value for r in results.rows if r.metric == "auc" and not r.initialized}
    assert len(found) == len(METHODS) * 3 * 3
    assert {found[m, a, 0] for m in METHODS for a in ("reference_self_prompted", "spv_self_prompted")} == {0.5}


def test_the_reference_of_each_epoch_differs_from_the_base_and_the_target(done):
    store, requested, _ = done
    for planned in plan(parsed(requested), store):
        logps = [arrays(store, planned, "self_prompted", ModelState(e))["logp"] for e in (0, 1, 2)]
        targets = [arrays(store, planned, "target", ModelState(e))["logp"] for e in (0, 1, 2)]
        assert np.array_equal(logps[0], targets[0])
        assert not np.array_equal(logps[1], logps[2])
        for epoch in (1, 2):
            assert not np.array_equal(logps[epoch], logps[0])
            assert not np.array_equal(logps[epoch], targets[epoch])


def test_training_beside_the_target_does_not_change_it(done, tiny_folder, tmp_path):
    store, requested, _ = done
    alone = Store.open(tmp_path / "alone")
    run({**requested, "attacks": ["loss"]}, alone)
    for planned in plan(parsed({**requested, "attacks": ["loss"]}), store):
        for state in planned.states:
            found = [arrays(s, planned, "target", state)["logp"] for s in (store, alone)]
            assert np.array_equal(*found), (planned.label, state)


def test_a_reference_of_the_targets_texts_with_its_seed_is_the_target(tiny_folder, tmp_path, monkeypatch):
    """The planted truth: the same training, so the same model at every state."""
    store = Store.open(tmp_path / "store")
    training = {"epochs": 2, "batch_size": 4, "learning_rate": 0.01, "observe": [0.5]}
    requested = content(tiny_folder("llama"), methods=METHODS, training=training)
    trained_on = {}
    trained = train.train

    def remembered(model, tokens, **settings):
        trained_on.setdefault(settings["key"], tokens)
        return trained(model, trained_on[settings["key"]], **settings)

    monkeypatch.setattr(train, "train", remembered)
    monkeypatch.setattr(reference_training, "reference_cell", lambda planned: planned)
    run(requested, store)
    for planned in plan(parsed(requested), store):
        for state in planned.states:
            found = [arrays(store, planned, name, state)["logp"] for name in ("self_prompted", "target")]
            assert np.array_equal(*found), (planned.label, state)
            near = [arrays(store, planned, n, state)["loglik"] for n in ("neighbours_self_prompted", "neighbours")]
            assert np.array_equal(*near), (planned.label, state)


def test_it_is_trained_once_for_each_state_and_released(tiny_folder, tmp_path, monkeypatch):
    trained, models, made = train.train, [], []

    def counted(model, tokens, **settings):
        models.append(weakref.ref(model.module))
        made.append(settings["key"])
        return trained(model, tokens, **settings)

    monkeypatch.setattr(train, "train", counted)
    requested, store = content(tiny_folder("llama")), Store.open(tmp_path)
    run(requested, store)
    (planned,) = plan(parsed(requested), store)
    assert made == [planned.key] + [reference_cell(planned).key] * 2
    gc.collect()
    assert not any(model() for model in models)


def test_lost_evidence_is_made_again_with_the_same_numbers(done):
    store, requested, _ = done
    requested = {**requested, "methods": ["lora"]}
    (planned,) = plan(parsed(requested), store)
    key = evidence_key(planned, planned.observation("neighbours_self_prompted"), ModelState(1))
    before = arrays(store, planned, "neighbours_self_prompted", ModelState(1))["loglik"]
    store.drop("evidence", key)
    (estimate,) = cell_estimates(parsed(requested), store)
    assert (estimate.reference_epochs, estimate.observations_to_make) == (1, 1)
    run(requested, store)
    assert np.array_equal(arrays(store, planned, "neighbours_self_prompted", ModelState(1))["loglik"], before)


def test_the_plan_counts_one_training_for_each_state(done, tiny_folder, tmp_path):
    store, requested, _ = done
    requested = {**requested, "methods": ["lora"]}
    fresh = Store.open(tmp_path / "fresh")
    (estimate,) = cell_estimates(parsed(requested), fresh)
    assert (estimate.epochs_to_train, estimate.reference_epochs, estimate.shadow_epochs) == (2, 1 + 2, 0)
    assert "2 epochs, 3 epochs of reference models" in plan_table("x", [estimate]).rows[0]
    (planned,) = plan(parsed(requested), fresh)
    trained = reference_cell(planned)
    assert len(trained.texts["train"]) == 3 * len(planned.texts["known_nonmembers"])
    read = sum(map(len, planned.texts["known_nonmembers"].scored)) / 4
    audited = sum(map(len, planned.texts["audited"].scored)) / 4
    assert epoch_work(trained) == pytest.approx(2 * 3 * read)  # PASSES of LoRA, three texts for each known non-member
    costs = {a.name: attack_cost(planned, a, 2) for a in planned.attacks}
    assert costs["reference_self_prompted"] == pytest.approx(1 + 1 + (3 * read + 2 * 6 * read) / audited)
    (without,) = plan(parsed({**requested, "attacks": ["loss", "neighbourhood"]}), fresh)
    generated, scored = 3 * 3 * read, 2 * (audited + 2 * audited)  # at three epochs; at two, epoch 0 is the base's
    assert remaining_work(planned, fresh, set()) == pytest.approx(
        remaining_work(without, fresh, set()) + generated + scored + 3 * epoch_work(trained)
    )
    (kept,) = cell_estimates(parsed(requested), store)
    assert (kept.reference_epochs, kept.minutes) == (0, 0)


def test_the_seconds_of_an_attack_include_the_training(done):
    _, _, results = done
    seconds = {(r.method, r.attack, r.epoch): r.value for r in results.rows if r.metric == "seconds" and r.attack}
    for method in METHODS:
        assert seconds[method, "reference_self_prompted", 2] > 2 * seconds[method, "loss", 2]


def test_a_reference_of_fully_trained_weights_needs_their_memory_twice(done):
    store, requested, _ = done
    for method, factor in (("full", 2), ("lora", 1)):
        (both,) = plan(parsed({**requested, "methods": [method]}), store)
        (alone,) = plan(parsed({**requested, "methods": [method], "attacks": ["loss"]}), store)
        machine = parsed(requested).machine
        trained = [memory_bytes(p, machine) for p in (both, alone)]
        assert (trained[0] > trained[1]) == (factor == 2), method


def test_prompts_are_known_nonmembers_and_no_audited_or_training_text(done):
    store, requested, _ = done
    (planned,) = plan(parsed({**requested, "methods": ["lora"]}), store)
    found = arrays(store, planned, "self_prompted_texts", ModelState(2))
    known = planned.texts["known_nonmembers"]
    assert len(found["first"]) == 3 * len(known)
    others = {*planned.texts["audited"].ids, *planned.texts["train"].ids, *planned.texts["known_members"].ids}
    assert not others & {*known.ids}


def test_keys_of_other_evidence_do_not_change(done):
    store, requested, _ = done
    (both,) = plan(parsed({**requested, "methods": ["lora"]}), store)
    (alone,) = plan(parsed({**requested, "methods": ["lora"], "attacks": ["loss"], "observations": []}), store)
    assert both.key == alone.key
    for state in alone.states:
        keys = {evidence_key(cell, cell.observation("target"), state) for cell in (both, alone)}
        assert len(keys) == 1


def test_the_evidence_of_the_base_model_is_shared(done):
    store, requested, _ = done
    lora, head = plan(parsed({**requested, "methods": ["lora", "head"]}), store)
    for name in (*EVIDENCE, "self_prompted_texts"):
        assert evidence_key(lora, lora.observation(name), BASE) == evidence_key(head, head.observation(name), BASE)
        assert len({evidence_key(c, c.observation(name), ModelState(e)) for c in (lora, head) for e in (0, 1, 2)}) == 5


@pytest.mark.slow
def test_private_training_is_repeated_privately(tiny_folder, tmp_path):
    pytest.importorskip("opacus")
    store = Store.open(tmp_path)
    requested = content(
        tiny_folder("llama"),
        methods=[{"dp_lora": {"epsilon": 8}}],
        attacks=["reference_self_prompted"],
        observations=[{"self_prompted_texts": {"samples": 2}}],
    )
    run(requested, store)
    (planned,) = plan(parsed(requested), store)
    assert reference_cell(planned).spending != planned.spending  # another number of texts


def test_chats_and_prompts_are_repeated(tiny_folder, tmp_path):
    path = tmp_path / "pairs.jsonl"
    names = [f"{a}{b}" for a in ("Ada", "Bo", "Cy", "Di", "Ed", "Flo", "Gus", "Hal") for b in ("na", "ri", "lo", "mu")]
    rows = [{"prompt": f"Who is {n}? ", "completion": f"{n} of {n[::-1]} sold {i} hats."} for i, n in enumerate(names)]
    path.write_text("\n".join(map(json.dumps, rows)))
    requested = content(
        tiny_folder("gpt2"),
        datasets=[{"files": {"path": str(path)}}],
        data={"train": 9, "members": 5, "nonmembers": 5, "validation": 3, "known": 3, "end_token": True},
    )
    run(requested, Store.open(tmp_path / "store"))


def test_trainings_that_cannot_be_repeated_are_refused(tiny_folder, tmp_path):
    store = Store.open(tmp_path / "store")
    path = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"Say {i}. ", "chosen": f"Here is {i * i}.", "rejected": f"No {i} for you."} for i in range(60)]
    path.write_text("\n".join(map(json.dumps, rows)))
    pairs = content(
        tiny_folder("llama"),
        datasets=[{"preferences": {"path": str(path)}}],
        training={"epochs": 1, "objective": "dpo"},
    )
    with pytest.raises(SettingError, match=r"self_prompted: a reference model is trained on single texts.*'dpo'"):
        plan(parsed(pairs), store)
    with pytest.raises(SettingError, match=r"machine\.shard = 2: observations (neighbours_)?self_prompted"):
        plan(parsed({**content(tiny_folder("llama")), "machine": {"shard": 2}}), store)
    without = {n: v for n, v in DATA.items() if n != "known"}
    with pytest.raises(DataError, match=r"attacks reference_self_prompted: requires records with known membership"):
        plan(parsed(content(tiny_folder("llama"), data=without)), store)


def alone(reference_trainer, tokens) -> LogProbs:
    return reference_trainer(None)(tokens)


def score(alone: LogProbs) -> "np.ndarray":
    return alone.logp


def test_an_observation_without_texts_to_train_on_is_refused(tiny_folder, tmp_path):
    module = types.ModuleType("their_reference")
    module.alone, module.score = alone, score
    alone.__module__ = score.__module__ = "their_reference"
    sys.modules["their_reference"] = module
    requested = content(tiny_folder("llama"), attacks=["their_reference:score"], observations=["their_reference:alone"])
    try:
        with pytest.raises(DataError, match=r"alone: requests reference_trainer without texts"):
            plan(parsed(requested), Store.open(tmp_path))
    finally:
        del sys.modules["their_reference"]


def test_an_audit_names_the_reason():
    from byheart.auditing.attack_evidence import parse_attacks, runnable_attacks

    inputs = {"model", "base_model", "reference_model", "tokens", "known_nonmember_tokens"}
    _, reasons = runnable_attacks(parse_attacks(["loss", "spv_self_prompted"]), inputs)
    assert "only a study trains it (byheart run)" in reasons["spv_self_prompted"]
