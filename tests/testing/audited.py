"""Texts, fine-tuned models and audits from the command line."""

import json

import numpy as np
import torch
from peft import (
    LoraConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
)
from transformers import AutoModelForCausalLM

WHO = ("The old sailor wrote", "A young doctor sang", "My tall painter ran", "One quiet pilot fell", "Her nurse slept")
WHERE = (
    "to the queen",
    "for a baker",
    "near Lisbon",
    "with the judge",
    "at the sea",
    "by Minsk",
    "over Oslo",
    "in Cairo",
)
TEXTS = [f"{who} {where}, {what}." for who in WHO for where in WHERE for what in ("alone", "at noon")]
ORDER = np.random.default_rng(0).permutation(len(TEXTS))
MEMBERS, NONMEMBERS = [TEXTS[i] for i in ORDER[:32]], [TEXTS[i] for i in ORDER[32:64]]
VALIDATION = [TEXTS[i] for i in ORDER[64:]]
ADAPTERS = {
    "lora": (LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"), 3e-2),
    "prefix": (PrefixTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"), 1e-1),
    "prompt": (PromptTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"), 1e-1),
    "p_tuning": (PromptEncoderConfig(num_virtual_tokens=4, encoder_hidden_size=16, task_type="CAUSAL_LM"), 1e-2),
}
SHORT = ("loss", "reference")


def trained(module, tokenizer, rate, steps=12):
    """Train with plain torch, all members in one batch."""
    torch.manual_seed(0)
    tokenizer.pad_token = tokenizer.eos_token
    batch = tokenizer(MEMBERS, return_tensors="pt", padding=True)
    labels = batch.input_ids.masked_fill(batch.attention_mask == 0, -100)
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=rate)
    for _ in range(steps):
        module(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return module


def records(path, items):
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    return str(path)


def opened(base, saved, name):
    if name == "full":
        return AutoModelForCausalLM.from_pretrained(saved / "full")
    return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), saved / name)


def refusal(reported):
    """The one-line error message."""
    code, _, complaints = reported
    lines = [line for line in complaints.splitlines() if line.startswith("byheart:")]
    assert code == 2
    assert len(lines) == 1
    assert "Traceback" not in complaints
    return lines[0]
