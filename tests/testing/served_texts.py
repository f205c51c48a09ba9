"""Texts for a server that stands in."""

import numpy as np
from transformers import AutoModelForCausalLM, AutoTokenizer

import byheart

WHO = ("The old sailor wrote", "A young doctor sang", "My tall painter ran", "One quiet pilot fell", "Her nurse slept")
WHERE = ("to the queen", "for a baker", "near Lisbon", "with the judge", "at the sea", "by Minsk", "in Zoë's café 🍕")
TEXTS = [f"{who} {where}, {what}." for who in WHO for where in WHERE for what in ("alone", "at noon")]
ORDER = np.random.default_rng(0).permutation(len(TEXTS))
MEMBERS, NONMEMBERS = [TEXTS[i] for i in ORDER[:24]], [TEXTS[i] for i in ORDER[24:48]]
FEW = ["loss"]


def weights(folders, members=MEMBERS, nonmembers=NONMEMBERS, **asked):
    base, tuned = (AutoModelForCausalLM.from_pretrained(folders[n]) for n in ("base", "tuned"))
    tokenizer = AutoTokenizer.from_pretrained(folders["tuned"])
    return byheart.audit(tuned, tokenizer, members, nonmembers, base=base, **asked)


def changed(**parts):
    """A fault that changes the log-probabilities of every completion."""

    def change(answer):
        answer["choices"][0]["logprobs"] |= {
            n: f(answer["choices"][0]["logprobs"][n]) if callable(f) else f for n, f in parts.items()
        }
        return answer

    return lambda n, body: change if body else None


def answer(tokens, logp, *, text, written=1, read=None):
    """What a server answers."""
    listed = {"tokens": tokens, "token_logprobs": logp, "top_logprobs": [None] * len(tokens)}
    usage = {"prompt_tokens": len(tokens) - written if read is None else read, "completion_tokens": written}
    return {"choices": [{"text": text, "logprobs": listed}], "usage": usage}
