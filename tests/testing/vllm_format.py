"""vLLM's answers in its own format, as recorded from vLLM 0.32 in `vllm_answers.json`.

vLLM decodes a token with at most four tokens before it if its own string ends in a part of a character: the last part of a
character is spelled as the whole character, its other parts as "". The first token of a prompt is always decoded alone.
"""

import json
from pathlib import Path

RECORDED = json.loads((Path(__file__).parent / "vllm_answers.json").read_text(encoding="utf-8"))
PART = "\ufffd"
CONTEXT_TOKENS = 4
NOT_SET = dict.fromkeys(("stop_reason", "token_ids", "prompt_token_ids", "routed_experts"))


def vllm_token(decode, before, token):
    """The string of a token that follows others; `decode` is the tokenizer's."""
    own = decode([token])
    for count in range(1, min(len(before), CONTEXT_TOKENS) + 1) if own.endswith(PART) else ():
        context = before[-count:]
        joined = decode([*context, token])
        if joined.endswith(PART):
            continue
        while context and decode([context[-1]]).endswith(PART):
            context = context[:-1]
        return joined.removeprefix(decode(context) if context else "")
    return "" if own.endswith(PART) else own


def vllm_tokens(decode, read, written):
    """The strings of a prompt's tokens and of the generated ones."""
    later = read[1:]
    return [
        decode(read[:1]),
        *(vllm_token(decode, later[:i], token) for i, token in enumerate(later)),
        *(vllm_token(decode, written[:i], token) for i, token in enumerate(written)),
    ]


def vllm_numbers(decode, read, written, rows):
    """`token_logprobs`, `top_logprobs` and `prompt_logprobs`; `rows` are the log-probabilities after each token."""
    listed, numbers, tops, by_id = [*read, *written], [None], [None], [None]
    for i, (token, row) in enumerate(zip(listed[1:], rows, strict=False), 1):
        before = listed[1:i] if i < len(read) else listed[len(read) : i]
        likely = int(row.argmax())
        entries = {t: (float(row[t]), vllm_token(decode, before, t)) for t in (token, likely)}
        numbers.append(float(row[token]))
        tops.append({string: value for value, string in entries.values()})
        ranks = {t: int((row > row[t]).sum()) + 1 for t in entries}
        by_id.append({str(t): {"logprob": v, "rank": ranks[t], "decoded_token": s} for t, (v, s) in entries.items()})
    return numbers, tops, by_id[: len(read)]


def too_long(tokens, context):
    """vLLM's error for a prompt that leaves no token to generate."""
    stated, name, value = "max_tokens must be at least 1, got 0. (parameter=max_tokens, value=0)", "max_tokens", 0
    if tokens > context:
        name, value = "input_tokens", context + 1
        stated = (
            f"This model's maximum context length is {context} tokens. However, your prompt contains at least {value} input tokens, "
            "which exceeds this limit even without any output tokens. Please reduce the length of the input prompt. "
            f"(parameter={name}, value={value})"
        )
    return 400, {"error": {"message": stated, "type": "BadRequestError", "param": name, "code": 400}}


def unknown_model(name, served):
    """vLLM's error for a model that it does not serve."""
    stated = f"The model `{name}` does not exist. Valid aliases: {', '.join(served)}."
    return 404, {"error": {"message": stated, "type": "NotFoundError", "param": "model", "code": 404}}
