"""Extraction without a prefix: the rule as a plain loop, and a model that memorized its texts, in a study and in audits."""

import importlib
import json
from contextlib import nullcontext

import numpy as np
import pytest
import torch

import byheart
from byheart.attacks.extractable import extractable
from byheart.core.adversary import adversary
from byheart.core.config import Machine
from byheart.core.errors import DataError, SettingError
from byheart.core.evidence import ContrastiveSamples
from byheart.core.registry import choose
from byheart.lm.contrastive import ReferenceModel
from byheart.lm.tokens import tokenize
from byheart.observations.contrastive_samples import contrastive_samples
from byheart.store.rows import score_reader
from byheart.store.store import Store
from byheart.study.observed_states import BASE, ModelState
from byheart.study.plan import plan
from byheart.study.remaining_work import observation_work
from byheart.study.store_provider import CellContext, StoreProvider
from byheart.study.stored_evidence import read_evidence
from byheart.study.study_file import parse_study
from testing.reading import own_ids, scorer, texts_of
from testing.tiny_models import memorize
from testing.wrapped import tuned

EPOCHS = 40
OBSERVED = {"contrastive_samples": {"samples": 100, "max_new_tokens": 60}}
WORDS = ["sailor", "doctor", "queen", "judge", "painter", "clerk", "Oslo", "Lima", "Cairo", "letters", "nurse", "pilot"]


def sampled(run, length, similarity=None):
    similarity = np.zeros(len(run)) if similarity is None else np.array(similarity)
    return ContrastiveSamples(written=("a",), run=np.array(run), length=np.array(length), similarity=similarity)


def test_a_window_of_tokens_or_all_tokens_of_a_short_text_are_extracted():
    run, length = [49, 50, 70, 12, 11, 0], [80, 80, 80, 12, 12, 5]
    found = extractable(sampled(run, length))
    for i, (r, n) in enumerate(zip(run, length, strict=True)):
        needed = min(n, 50)
        assert found.scores[i] == pytest.approx(1.0 if r >= needed else r / needed)
        assert found.extracted[i] == (r >= needed)
        assert found.tokens[i] == needed
    assert extractable(sampled(run, length), window=20).extracted.tolist() == [True, True, True, True, False, False]


def test_a_near_copy_is_extracted_from_the_threshold_on():
    found = extractable(sampled([1] * 3, [9] * 3, [0.79, 0.8, 1.0]), by="near")
    assert found.scores.tolist() == [0.79, 0.8, 1.0]
    assert found.extracted.tolist() == [False, True, True]
    assert extractable(sampled([1], [9], [0.5]), by="near", threshold=0.4).extracted.all()


def test_the_evidence_is_that_of_the_written_texts(tiny, sentences):
    """The samples of a tiny model contain runs of a few tokens; the evidence equals a search in them."""
    base, model = tiny("gemma"), tuned(tiny("gemma"), "lora")
    texts = texts_of([*sentences[:4], " the answer"], ["", "", "", "", "A question?"])
    tokens = tokenize(model.tokenizer, texts, 60)
    found = contrastive_samples(
        scorer(model), ReferenceModel(base), tokens, samples=30, max_new_tokens=20, opening="The"
    )
    assert len(found.written) == 30
    skipped = [1, 1, 1, 1, int(tokens.first[4])]  # BOS, and with a prompt the prompt
    assert found.length.tolist() == [len(own_ids(tokens, i)) - s for i, s in enumerate(skipped)]
    samples = [model.tokenizer(w, add_special_tokens=False)["input_ids"] for w in found.written]
    assert found.run.max() >= max(len({*own_ids(tokens, 0)[1:]} & {*s}) > 0 for s in samples)
    assert ((found.run >= 0) & (found.run <= found.length)).all()


def test_a_tokenizer_without_a_start_token_needs_an_opening(tiny, sentences, monkeypatch):
    model = tiny("llama")
    tokens = tokenize(model.tokenizer, texts_of(sentences[:2]), 60)
    monkeypatch.setattr(type(model.tokenizer), "eos_token_id", None, raising=False)
    with pytest.raises(DataError, match=r"no BOS and no EOS to start a text with\. Set opening to a word"):
        contrastive_samples(scorer(model), ReferenceModel(model), tokens, samples=2, max_new_tokens=3)
    contrastive_samples(scorer(model), ReferenceModel(model), tokens, samples=2, max_new_tokens=3, opening="The")
    with pytest.raises(DataError, match=r"fills the model's context of 128. Write a shorter opening"):
        contrastive_samples(scorer(model), ReferenceModel(model), tokens, samples=2, opening="The queen " * 90)


def written_texts(path):
    """Each text ends in unique words, because repeated words are easy to generate."""
    chance = np.random.default_rng(0)
    rows = [{"id": str(i), "text": f"{i} wrote: {' '.join(chance.permutation(WORDS)[:9])}"} for i in range(40)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def content(folder, path, **changes):
    data = {"train": 12, "members": 12, "nonmembers": 12, "validation": 5, "max_tokens": 100, "near_duplicate": 1.0}
    rate = {"learning_rate": 0.005, "schedule": "linear", "warmup": 0.1}
    return {
        "name": "sampled",
        "models": str(folder),
        "datasets": [{"files": {"path": str(path)}}],
        "data": data,
        "methods": ["full"],
        "training": {"epochs": EPOCHS, "batch_size": 1, "observe": [0.5], **rate},
        "attacks": ["loss", {"extractable": {"window": 30}}, {"extractable": {"by": "near"}}],
        "observations": [OBSERVED],
        "metrics": ["extraction_rate", "extraction_rate_nonmembers", "extraction_excess"],
        **changes,
    }


@pytest.fixture(scope="module")
def study(tiny_folder, tmp_path_factory):
    # Gemma's tokenizer has a BOS, so the beginning of every text is trained.
    folder = tmp_path_factory.mktemp("sampled")
    requested = content(tiny_folder("gemma"), written_texts(folder / "texts.jsonl"))
    store = Store.open(folder / "store")
    return requested, store, byheart.run(requested, store=store)


def of(results, metric, settings, epoch):
    return next(r for r in results.rows if (r.metric, r.attack_settings, r.epoch) == (metric, settings, epoch))


@pytest.mark.parametrize("settings", ["window=30", "by=near"])
def test_a_model_that_memorized_its_texts_generates_them_without_a_prefix(study, settings):
    _, _, results = study
    assert not results.failed, results.failed
    assert of(results, "extraction_rate", settings, EPOCHS).value > 0.5
    assert of(results, "extraction_rate_nonmembers", settings, EPOCHS).value == 0
    assert of(results, "extraction_excess", settings, EPOCHS).low > 0.2


@pytest.mark.parametrize("settings", ["window=30", "by=near"])
@pytest.mark.parametrize("epoch", [0, 0.5])
def test_nothing_is_extracted_from_a_base_model_and_after_few_steps(study, settings, epoch):
    """The interval of the excess contains 0."""
    _, _, results = study
    excess = of(results, "extraction_excess", settings, epoch)
    assert of(results, "extraction_rate", settings, epoch).value == 0
    assert excess.low <= 0 <= excess.high


def test_rows_have_the_adversary_and_the_cost(study):
    requested, store, results = study
    row = of(results, "extraction_rate", "window=30", EPOCHS)
    assert row.adversary == "next-token distributions + base model"
    (planned,) = plan(parse_study(requested), store)
    observation = next(o for o in planned.observations if o.name == "contrastive_samples")
    assert observation_work(planned, observation) == 2 * 100 * 60
    assert of(results, "passes", "window=30", EPOCHS).value == pytest.approx(
        2 * 100 * 60 / sum(len(t) / 4 for t in planned.split.audited.scored)
    )


def test_the_stored_samples_contain_the_extracted_texts(study):
    requested, store, results = study
    (planned,) = plan(parse_study(requested), store)
    observation = next(o for o in planned.observations if o.name == "contrastive_samples")
    written = read_evidence(planned, store, observation, planned.states[-1]).written
    stored = score_reader(store)(of(results, "extraction_rate", "window=30", EPOCHS).scores)
    assert len(written) == 100
    scored = dict(zip(planned.split.audited.ids, planned.split.audited.scored, strict=True))
    words = [scored[name].partition(": ")[2] for name, yes in zip(stored.ids, stored.extracted, strict=True) if yes]
    assert words
    runs = [[" ".join(own.split()[k : k + 4]) for k in range(6)] for own in words]
    assert all(any(run in w for run in own for w in written) for own in runs)


def test_a_study_contrasts_with_the_base_model(study, tiny_folder, tiny):
    requested, store, _ = study
    (planned,) = plan(parse_study(requested), store)
    context = CellContext(planned, store, Machine(), lambda _: None, {})
    model = tuned(tiny("gemma"), "lora")
    assert StoreProvider(context, BASE, model).argument("reference_model").model is model
    found = StoreProvider(context, ModelState(3), model).argument("reference_model").model.module.state_dict()
    base = tiny("gemma").module.state_dict()
    assert found.keys() == base.keys()
    assert all(torch.equal(found[name], weight) for name, weight in base.items())


def test_without_contrast_the_adversary_needs_generated_text_only():
    attack, alone = choose("attacks", "extractable"), choose("observations", "contrastive_samples", {"alpha": 0})
    assert adversary(attack, [alone]).label == "generated text"
    weak = choose("observations", "contrastive_samples", {"alpha": 0.1})
    assert adversary(attack, [weak]).label == "next-token distributions + base model"


def test_sharded_weights_are_refused_by_name(study):
    requested, store, _ = study
    machine = {"shard": 2, "device": "cpu"}
    with pytest.raises(
        SettingError, match=r"machine.shard = 2: observations contrastive_samples: reads another model beside"
    ):
        plan(parse_study({**requested, "machine": machine}), store)


@pytest.fixture(scope="module")
def memorized(tiny_folder, tmp_path_factory):
    """A model that memorized 12 of 24 texts, its tokenizer, the texts, and its base model."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = written_texts(tmp_path_factory.mktemp("memorized") / "t.jsonl")
    strings = [json.loads(line)["text"] for line in path.read_text().splitlines()[:24]]
    base, model = (AutoModelForCausalLM.from_pretrained(tiny_folder("gemma")) for _ in range(2))
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder("gemma"))
    memorize(model, tokenizer, strings[:12], passes=25)
    return model, tokenizer, strings, base


ATTACKS = ["loss", {"extractable": {"window": 30}}]


@pytest.fixture
def few_samples(monkeypatch):
    """Audits draw few samples; the list of pairs of target module and reference that were contrasted."""
    pairs = []
    module = importlib.import_module("byheart.observations.contrastive_samples")
    sample = module.sample_contrastively

    def sample_few(scorer, reference, *data, **settings):
        pairs.append((scorer.model.module, reference))
        return sample(scorer, reference, *data, **{**settings, "samples": 60, "max_new_tokens": 60})

    monkeypatch.setattr(module, "sample_contrastively", sample_few)
    return pairs


def test_an_audit_of_two_models_reports_the_rates(memorized, few_samples):
    model, tokenizer, strings, base = memorized
    found = byheart.audit(model, tokenizer, strings[:12], strings[12:], base=base, attacks=ATTACKS)
    rates = {(r.metric, r.epoch): r.value for r in found.rows if r.metric.startswith("extraction_rate")}
    assert rates["extraction_rate", 1] > 0.6
    assert rates["extraction_rate_nonmembers", 1] == rates["extraction_rate", 0] == 0
    assert [(target, reference.model.module) for target, reference in few_samples] == [(base, base), (model, base)]


def test_an_audit_without_a_base_model_states_the_reason(memorized):
    model, tokenizer, strings, _ = memorized
    found = byheart.audit(model, tokenizer, strings[:12], strings[12:], attacks=ATTACKS)
    (reason,) = found.left_out.values()
    assert reason.startswith("requires the base model in memory beside the fine-tuned one: an audit with --base")


def test_an_adapter_is_audited_with_its_own_base(tiny_folder, memorized, few_samples):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    _, tokenizer, strings, _ = memorized
    base = AutoModelForCausalLM.from_pretrained(tiny_folder("gemma"))
    torch.manual_seed(0)
    model = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False))
    found = byheart.audit(model, tokenizer, strings[:12], strings[12:], attacks=ATTACKS)
    assert not found.left_out
    assert {r.epoch for r in found.rows if r.metric == "extraction_rate"} == {0, 1}
    assert [reference.switch is not nullcontext for _, reference in few_samples] == [False, True]
    assert all(p.requires_grad == ("lora" in n) for n, p in model.named_parameters())
