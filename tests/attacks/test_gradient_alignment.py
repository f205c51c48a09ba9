"""Alignment of gradients with a displacement: against a plain loop, with planted members, in studies and in audits."""

import json

import numpy as np
import pytest
import torch
from peft import PromptTuningConfig, get_peft_model
from sklearn.metrics import roc_auc_score
from transformers import AutoModelForCausalLM, AutoTokenizer

import byheart
from byheart.attacks.gradient_alignment import gradient_alignment as attack
from byheart.attacks.gradient_alignment_initial import gradient_alignment_initial as attack_initial
from byheart.auditing.attack_evidence import parse_attacks, runnable_attacks
from byheart.core import registry
from byheart.core.errors import ModelError, SettingError
from byheart.core.evidence import GradientAlignment
from byheart.lm import train
from byheart.lm.displacement_origin import adapter_origin, initial_values
from byheart.lm.forward import Scorer
from byheart.lm.gradient_alignment import gradient_alignment
from byheart.lm.load import LanguageModel
from byheart.lm.special_tokens import bos_ids
from byheart.lm.tokens import tokenize
from byheart.lm.train import trainable_parameters
from byheart.observations.alignment import alignment
from byheart.observations.initial_alignment import initial_alignment
from byheart.store.store import Store
from byheart.study.memory_estimate import memory_bytes
from byheart.study.plan import plan_cells
from byheart.study.study_file import parse_study
from testing.made_up import SENTENCES
from testing.reading import texts_of

METHODS = ("full", "head", "lora", "prefix", "prompt", "p_tuning")


def scorer(model, precision=torch.float32):
    return Scorer(model, 200, precision)


def moved(model, method, by=0.05):
    """The model tuned by a method, its initial values, and its trained values moved by noise."""
    train.seed_rngs("0a")
    module = registry.choose("methods", method)(model).module.eval()
    initial = initial_values(module)
    with torch.no_grad():
        for weight in trainable_parameters(module).values():
            weight.add_(by * torch.randn_like(weight))
    return train.with_hidden_cache(LanguageModel(module, model.tokenizer, model.name)), initial


def flat(tensors):
    return torch.cat([t.detach().double().flatten() for t in tensors])


def plain_cosine(model, initial, scored, *, is_at_initial):
    """Cosine of minus the gradient, from the model's logits, with the displacement, as two vectors."""
    parameters = trainable_parameters(model.module)
    trained = {n: p.detach().clone() for n, p in parameters.items()}
    displacement = flat(trained[n] - initial[n] for n in parameters)
    with torch.no_grad():
        for n, p in parameters.items():
            p.copy_(initial[n] if is_at_initial else trained[n])
    before = bos_ids(model.tokenizer)
    ids = before + model.tokenizer(scored, add_special_tokens=False)["input_ids"]
    logits = model.module(
        input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long)
    ).logits
    logits = logits[0, logits.shape[1] - len(ids) :]  # virtual tokens come first
    first = max(len(before), 1)
    loss = -sum(torch.log_softmax(logits[at - 1], 0)[ids[at]] for at in range(first, len(ids))) / (len(ids) - first)
    loss.backward()
    gradient = flat(torch.zeros_like(p) if p.grad is None else p.grad for p in parameters.values())
    model.module.zero_grad()
    with torch.no_grad():
        for n, p in parameters.items():
            p.copy_(trained[n])
    return float(-(gradient @ displacement) / (gradient.norm() * displacement.norm()))


@pytest.mark.parametrize("is_at_initial", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_cosines_equal_a_plain_loop(tiny, method, is_at_initial, sentences):
    model, initial = moved(tiny("llama"), method)
    scored = [*sentences[:3], "Hi there."]
    observe = initial_alignment if is_at_initial else alignment
    found = observe(scorer(model), tokenize(model.tokenizer, texts_of(scored), 64), initial).cosine
    expected = [plain_cosine(model, initial, s, is_at_initial=is_at_initial) for s in scored]
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-6)
    assert len(set(np.round(found, 9))) == len(scored)


@pytest.mark.parametrize("method", ["full", "lora", "prefix"])
def test_model_and_initial_values_are_not_changed(tiny, method, sentences):
    model, initial = moved(tiny("gpt2"), method)
    tokens = tokenize(model.tokenizer, texts_of(sentences[:2]), 64)
    model.module.requires_grad_(requires_grad=False)  # as the weights of a loaded adapter
    before = {n: p.detach().clone() for n, p in model.module.named_parameters()}
    kept = {n: o.clone() for n, o in initial.items()}
    one, two = (initial_alignment(scorer(model), tokens, initial).cosine for _ in range(2))
    assert (one == two).all()
    for name, parameter in model.module.named_parameters():
        assert torch.equal(before[name], parameter)
        assert not parameter.requires_grad
        assert parameter.grad is None
    assert all(torch.equal(kept[n], initial[n]) for n in kept)


def test_a_failed_pass_restores_the_trained_values(tiny, sentences):
    model, initial = moved(tiny("gpt2"), "full")
    initial["lm_head.weight" if "lm_head.weight" in initial else next(iter(initial))][3, 2] = float("nan")
    before = {n: p.detach().clone() for n, p in model.module.named_parameters()}
    with pytest.raises(ModelError, match="not finite"):
        initial_alignment(scorer(model), tokenize(model.tokenizer, texts_of(sentences[:2]), 64), initial)
    assert all(torch.equal(before[n], p) for n, p in model.module.named_parameters())


def test_without_a_displacement_every_number_is_zero(tiny, sentences):
    model, initial = moved(tiny("llama"), "prompt", by=0.0)
    tokens = tokenize(model.tokenizer, texts_of(sentences[:3]), 64)
    for start in (initial, {}):
        assert (alignment(scorer(model), tokens, start).cosine == 0).all()
        assert (initial_alignment(scorer(model), tokens, start).cosine == 0).all()


def test_values_of_another_model_are_refused(tiny, sentences):
    model, _ = moved(tiny("llama"), "prompt")
    tokens = tokenize(model.tokenizer, texts_of(sentences[:2]), 64)
    with pytest.raises(ModelError, match=r"has no parameter 'no\.such'"):
        alignment(scorer(model), tokens, {"no.such": torch.zeros(2)})


def test_bfloat16_is_near_float32(tiny, sentences):
    model, initial = moved(tiny("llama"), "prompt")
    tokens = tokenize(model.tokenizer, texts_of(sentences[:4]), 64)
    exact, rough = (
        initial_alignment(scorer(model, p), tokens, initial).cosine for p in (torch.float32, torch.bfloat16)
    )
    np.testing.assert_allclose(rough, exact, atol=0.05)
    assert (rough != exact).any()


def after_one_step(model, method, trained_on, rate):
    """The model after one step of gradient descent on these texts, and its initial values."""
    train.seed_rngs("0a")
    module = registry.choose("methods", method)(model).module.eval()
    tuned = train.with_hidden_cache(LanguageModel(module, model.tokenizer, model.name))
    initial, parameters = initial_values(module), trainable_parameters(module)
    for text in trained_on:
        ids = torch.tensor([bos_ids(model.tokenizer) + model.tokenizer(text, add_special_tokens=False)["input_ids"]])
        (module(input_ids=ids, labels=ids).loss / len(trained_on)).backward()
    with torch.no_grad():
        for parameter in parameters.values():
            if parameter.grad is not None:
                parameter.sub_(rate * parameter.grad)
                parameter.grad = None
    return tuned, initial


def made_up_texts(count, seed):
    """Random words, so that no text resembles another."""
    chance = np.random.default_rng(seed)
    words = sorted({w for s in SENTENCES for w in s.split()})
    return [" ".join(chance.choice(words, 14)) for _ in range(count)]


@pytest.mark.parametrize("method", ["lora", "prefix", "prompt"])
def test_texts_of_one_training_step_score_above_others(tiny, method):
    aucs, nulls = [], []
    for seed in range(6):
        texts = made_up_texts(20, seed)
        model, initial = after_one_step(tiny("llama"), method, texts[:2], rate=0.1)
        tokens = tokenize(model.tokenizer, texts_of(texts), 64)
        observed = {
            attack: alignment(scorer(model), tokens, initial),
            attack_initial: initial_alignment(scorer(model), tokens, initial),
        }
        for score, found in observed.items():
            scores = score(found)
            aucs.append(roc_auc_score(np.arange(20) < 2, scores))
            nulls.append(roc_auc_score(np.arange(18) < 9, scores[2:]))
    assert np.mean(aucs) > 0.8, aucs
    assert abs(np.mean(nulls) - 0.5) < 0.15, nulls


def test_the_score_is_the_cosine():
    found = GradientAlignment(cosine=np.array([0.5, -0.25, 0.0], dtype=np.float32))
    for score in (attack, attack_initial):
        assert score(found).tolist() == [0.5, -0.25, 0.0]
        assert score(found).dtype == np.float64


def test_plans_count_the_initial_values(tiny_folder, tmp_path):
    content = {
        "name": "memory",
        "models": str(tiny_folder("llama")),
        "datasets": [{"records": {"count": 60}}],
        "data": {"train": 16, "members": 10, "nonmembers": 12, "validation": 6, "max_tokens": 60},
        "methods": ["full"],
        "metrics": ["auc"],
    }
    needed = []
    for attacks in (["loss"], ["loss", "gradient_alignment"]):
        study = parse_study({**content, "attacks": attacks})
        (cell,) = plan_cells(study, Store.open(tmp_path / "store"))
        needed.append(memory_bytes(cell, study.machine))
    weights = sum(p.numel() for p in AutoModelForCausalLM.from_pretrained(tiny_folder("llama")).parameters())
    assert needed[1] - needed[0] == 4 * weights


def test_a_study_measures_the_displacement_from_the_method_before_its_first_step(tiny_folder, tmp_path):
    results = byheart.run(
        {
            "name": "alignment",
            "models": str(tiny_folder("llama")),
            "datasets": [{"records": {"count": 60}}],
            "data": {"train": 16, "members": 10, "nonmembers": 12, "validation": 6, "max_tokens": 60},
            "methods": ["prompt", "lora"],
            "training": {"epochs": 1, "batch_size": 4, "learning_rate": 0.01},
            "attacks": ["gradient_alignment", "gradient_alignment_initial"],
            "metrics": ["auc"],
        },
        store=tmp_path / "store",
    )
    assert not results.failed, results.failed
    aucs = [r for r in results.rows if r.metric == "auc"]
    assert {r.value for r in aucs if r.epoch == 0} == {0.5}  # the base model, and a prompt before its first step
    assert {r.initialized for r in aucs if r.method == "prompt" and r.epoch == 0} == {False, True}
    assert all(r.value != 0.5 for r in aucs if r.epoch == 1)
    assert {r.value for r in results.rows if r.metric == "passes" and r.attack} == {3.0}
    assert {r.adversary for r in aucs} == {"base model + weights"}


@pytest.fixture(scope="module")
def base(tiny_folder):
    return str(tiny_folder("llama"))


def saved_prompt(base, folder, members):
    """A saved prompt that was trained on these texts for some steps."""
    torch.manual_seed(0)
    module = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base),
        PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=8, num_attention_heads=1),
    )
    tokenizer = AutoTokenizer.from_pretrained(base)
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=0.3)
    for _ in range(5):
        for text in members:
            ids = tokenizer(text, return_tensors="pt")["input_ids"]
            module(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    module.save_pretrained(folder)
    return module.eval(), tokenizer


def test_an_audit_of_a_prompt_folder_measures_from_zero(base, tmp_path, typed_audit):
    members, nonmembers = made_up_texts(22, 1), made_up_texts(22, 2)
    module, tokenizer = saved_prompt(base, tmp_path / "prompt", members)
    for name, texts in (("members", members), ("nonmembers", nonmembers)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    words = ("--members", tmp_path / "members.jsonl", "--nonmembers", tmp_path / "nonmembers.jsonl", "--device", "cpu")
    attacks = "loss,gradient_alignment,gradient_alignment_initial,grad_norm"
    code, out, errors = typed_audit("--model", tmp_path / "prompt", *words, "--attacks", attacks, "--json")
    assert code in {0, 1}, errors
    left_out = json.loads(out)["not_run"]
    assert left_out["gradient_alignment_initial"] == (
        "requires the weights before training: of a finished LoRA adapter, or of a study (byheart run)"
    )
    assert set(left_out) == {"gradient_alignment_initial", "grad_norm"}
    rows = {(r["attack"], r["epoch"]): r["value"] for r in json.loads(out)["rows"] if r["metric"] == "auc"}
    assert rows["gradient_alignment", 0] == 0.5
    model = LanguageModel(module, tokenizer, "prompt")
    found = gradient_alignment(
        model,
        tokenize(tokenizer, texts_of([*members, *nonmembers]), 512),
        {n: torch.zeros_like(p) for n, p in trainable_parameters(module).items()},
        is_at_initial=False,
        budget=4096,
        precision=torch.float32,
    )
    assert rows["gradient_alignment", 1] == pytest.approx(roc_auc_score(np.arange(44) < 22, found), abs=1e-9)


def test_an_audit_of_lora_measures_its_matrices_b(tiny):
    model, initial = moved(tiny("llama"), "lora")
    origin = adapter_origin(model.module)
    assert set(origin) == {n for n in initial if ".lora_B." in n}
    assert not any(o.any() for o in origin.values())
    found = byheart.audit(
        model.module,
        model.tokenizer,
        made_up_texts(6, 1),
        made_up_texts(6, 2),
        attacks=["gradient_alignment", "gradient_alignment_initial"],
        max_tokens=64,
    )
    assert not found.left_out
    assert all(np.unique(s).size == 12 for s in found.scores[1].values())
    assert not any(s.any() for s in found.scores[0].values())


def test_other_models_are_left_out_with_the_reason(tiny):
    assert adapter_origin(tiny("llama").module) == {}
    attacks = parse_attacks(["loss", "gradient_alignment"])
    _, reasons = runnable_attacks(attacks, {"model", "base_model", "tokens"})
    assert reasons == {
        "gradient_alignment": "requires a finished adapter (LoRA or virtual tokens), or a study (byheart run)"
    }
    with pytest.raises(
        SettingError, match=r"gradient_alignment cannot run during training: it requires a finished adapter"
    ):
        byheart.MemorizationCallback(["a"], ["b"], attacks=["loss", "gradient_alignment"])
