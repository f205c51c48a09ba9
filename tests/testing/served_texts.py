"""Texts for the stand-in server."""

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import byheart

WHO = ("The old sailor wrote", "A young doctor sang", "My tall painter ran", "One quiet pilot fell", "Her nurse slept")
WHERE = ("to the queen", "for a baker", "near Lisbon", "with the judge", "at the sea", "by Minsk", "in Zoë's café 🍕")
TEXTS = [f"{who} {where}, {what}." for who in WHO for where in WHERE for what in ("alone", "at noon")]
ORDER = np.random.default_rng(0).permutation(len(TEXTS))
MEMBERS, NONMEMBERS = [TEXTS[i] for i in ORDER[:24]], [TEXTS[i] for i in ORDER[24:48]]
FEW = ["loss"]


def save_tuned(base, folder):
    """Write a model other than the base, with the base's tokenizer, into a folder."""
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_pretrained(base)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)


def weights(folders, members=MEMBERS, nonmembers=NONMEMBERS, **requested):
    base, tuned = (AutoModelForCausalLM.from_pretrained(folders[n]) for n in ("base", "tuned"))
    tokenizer = AutoTokenizer.from_pretrained(folders["tuned"])
    return byheart.audit(tuned, tokenizer, members, nonmembers, base=base, **requested)


def changed(**parts):
    """A fault that changes the log-probabilities of every completion."""

    def change(answer):
        answer["choices"][0]["logprobs"] |= {
            n: f(answer["choices"][0]["logprobs"][n]) if callable(f) else f for n, f in parts.items()
        }
        return answer

    return lambda n, body: change if body else None


def answer(tokens, logp, *, text, written=1, read=None):
    """The answer of a server."""
    listed = {"tokens": tokens, "token_logprobs": logp, "top_logprobs": [None] * len(tokens)}
    usage = {"prompt_tokens": len(tokens) - written if read is None else read, "completion_tokens": written}
    return {"choices": [{"text": text, "logprobs": listed}], "usage": usage}
