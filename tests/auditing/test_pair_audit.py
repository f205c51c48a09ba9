"""Audits of preference pairs: files and memory run the attack on pairs; everything else refuses it by name."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import byheart
from byheart.auditing.server.servable_attacks import servable_attacks
from byheart.auditing.texts import parse_text, texts_by_part
from byheart.auditing.training.monitor import observable_attacks
from byheart.core.errors import DataError, SettingError
from byheart.core.registry import choose
from testing.audited import refusal
from testing.preferences import pair_file, pairs

MADE = pairs(48)
MEMBERS, NONMEMBERS = MADE[:24], MADE[24:]


@pytest.fixture(scope="module")
def tuned(base, tmp_path_factory):
    """A folder of a model trained with plain torch to prefer the members' chosen responses."""
    module, tokenizer = AutoModelForCausalLM.from_pretrained(base), AutoTokenizer.from_pretrained(base)
    tokenizer.pad_token = tokenizer.eos_token
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2)

    def mean_logp(side):
        batch = tokenizer([p["prompt"] + p[side] for p in MEMBERS], return_tensors="pt", padding=True)
        logp = module(**batch).logits[:, :-1].log_softmax(-1).gather(2, batch.input_ids[:, 1:, None])[..., 0]
        return (logp * batch.attention_mask[:, 1:]).sum(1)

    for _ in range(60):
        (-torch.nn.functional.logsigmoid(0.1 * (mean_logp("chosen") - mean_logp("rejected")))).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    folder = tmp_path_factory.mktemp("preferred") / "tuned"
    module.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def audited_in_memory(base, tuned, **how):
    models = [AutoModelForCausalLM.from_pretrained(folder) for folder in (tuned, base)]
    tokenizer = AutoTokenizer.from_pretrained(base)
    return byheart.audit(models[0], tokenizer, MEMBERS, NONMEMBERS, base=models[1], fpr=0.1, **how)


def test_the_attack_on_pairs_runs_in_memory_and_on_files_with_the_same_scores(base, tuned, typed_audit, tmp_path):
    attacks = ["loss", "reward_margin"]
    found = audited_in_memory(base, tuned, attacks=attacks, response="pair")
    row = next(r for r in found.rows if (r.attack, r.metric, r.epoch) == ("reward_margin", "auc", 1))
    assert row.low > 0.7
    assert found.left_out == {}
    sides = [
        w for n, p in (("members", MEMBERS), ("nonmembers", NONMEMBERS)) for w in (f"--{n}", pair_file(tmp_path / n, p))
    ]
    for name in ("members", "nonmembers"):
        (tmp_path / name).rename(tmp_path / f"{name}.jsonl")
    sides = [f"{w}.jsonl" if not str(w).startswith("--") else w for w in sides]
    words = (
        "--model",
        tuned,
        "--base",
        base,
        *sides,
        "--attacks",
        ",".join(attacks),
        "--fpr",
        "0.1",
        "--device",
        "cpu",
    )
    code, reported, complaints = typed_audit(*words, "--response", "pair")
    assert code == 0, complaints
    assert f"{row.value:.3f}"[1:] in reported or f"{row.value:.2f}"[1:] in reported
    assert "requires preference pairs" in refusal(
        typed_audit(*words[:-2], "--device", "cpu", "--attacks", "reward_margin")
    )


def test_texts_without_a_rejected_response_are_refused_by_name(base, tuned):
    with pytest.raises(DataError, match=r"reward_margin requires preference pairs: records with chosen and rejected"):
        audited_in_memory(base, tuned, attacks=["reward_margin"])
    with pytest.raises(DataError, match=r"member text '0': is no preference pair"):
        texts_by_part(["a text"], None, None, response="pair")


def test_servers_and_callbacks_refuse_it_by_name():
    attack = {"reward_margin": choose("attacks", "reward_margin")}
    with pytest.raises(
        DataError, match=r"reward_margin requires the observation rejected .*a server's answers do not provide"
    ):
        servable_attacks(attack, base=True)
    with pytest.raises(SettingError, match=r"reward_margin cannot run during training: it requires preference pairs"):
        observable_attacks(["loss", "reward_margin"])


def test_copies_are_pairs_with_both_responses_equal():
    pair = {"prompt": "q", "chosen": "a", "rejected": "b"}
    one, two = (parse_text("member", "0", {**pair, "rejected": r}, response="pair") for r in ("b", "c"))
    assert one.content != two.content
    assert (
        parse_text("member", "0", pair).content == parse_text("member", "0", {"prompt": "q", "completion": "a"}).content
    )


def test_pairs_whose_rejected_responses_differ_between_the_classes_are_no_fair_comparison(base, tuned):
    marked = [{**p, "rejected": " zzz zzz zzz zzz zzz."} for p in NONMEMBERS]
    models = [AutoModelForCausalLM.from_pretrained(folder) for folder in (tuned, base)]
    tokenizer = AutoTokenizer.from_pretrained(base)
    how = {"attacks": ["reward_margin"], "fpr": 0.1, "response": "pair", "base": models[1]}
    found = byheart.audit(models[0], tokenizer, MEMBERS, marked, **how)
    assert found.gate.verdict == "broken"
