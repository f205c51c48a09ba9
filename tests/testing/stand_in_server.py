"""A server that answers like llama-cpp-python's and vLLM's, with tiny models and configurable failures."""

import functools
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from testing.vllm_format import NOT_SET, too_long, unknown_model, vllm_numbers, vllm_tokens


@functools.cache
def opened(folder):
    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def penalized(logits, ids, penalty):
    """Logits with those of earlier tokens made smaller, as `repetition_penalty` does."""
    earlier, changed = torch.tensor(sorted(set(ids))), logits.clone()
    changed[earlier] = torch.where(logits[earlier] > 0, logits[earlier] / penalty, logits[earlier] * penalty)
    return changed


@functools.cache
def read(folder, ids, length, penalty):
    """Log-probabilities (tokens, vocabulary) of all next tokens of a text and its greedy continuation, and the continuation.

    The last continued token is not read. The tests ask for the same texts many times: only the first reads them.
    """
    model, written = opened(folder)[0], []
    with torch.no_grad():
        while len(written) < length and model.config.eos_token_id not in written:
            logits = model(torch.tensor([[*ids, *written]])).logits[0]
            written.append(int(penalized(logits[-1], [*ids, *written], penalty).argmax()))
    return logits.log_softmax(-1), written


@functools.cache
def continued(folder, ids, length, top_k, seed, penalty):
    """Ids that follow these, sampled from the `top_k` likeliest tokens (0: all) with a seed, or greedy for None."""
    model, written, generator = opened(folder)[0], [], torch.Generator().manual_seed(seed)
    while len(written) < length and model.config.eos_token_id not in written:
        with torch.no_grad():
            logits = model(torch.tensor([[*ids, *written]])).logits[0, -1]
            chances = penalized(logits, [*ids, *written], penalty).softmax(-1)
        if top_k:
            chances[chances < chances.topk(min(top_k, len(chances))).values[-1]] = 0
        written.append(int(chances.argmax() if top_k is None else torch.multinomial(chances, 1, generator=generator)))
    return written


class StandIn:
    """Serves models by name from folders. `like` is the server that it imitates: "vllm" or "llama_cpp".

    `fail` is called with the number of the request (from 0) and its body; where it returns something, that is answered: a
    status with a body (and headers), a function of the answer, or a pause in seconds. `bos` puts <s> before every text.
    `penalty` is the repetition penalty of the model's generation config, which vLLM applies unless a request sets its own.
    """

    def __init__(self, folders, *, like="vllm", bos=False, context=128, fail=None, key="", listed=None, penalty=1):
        self.folders = folders
        self.tokenizers = {name: opened(folder)[1] for name, folder in folders.items()}
        self.like, self.bos, self.context, self.key = like, bos, context, key
        self.fail = fail or (lambda number, body: None)
        self.listed = sorted(folders) if listed is None else listed
        self.penalty = penalty
        self.requests, self.lock, self.calm = [], threading.Lock(), threading.Event()

    def __enter__(self):
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *words):
                pass

            def do_GET(self):
                stand_in.answered(self, None)

            def do_POST(self):
                stand_in.answered(self, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda request, address: None  # the client may have disconnected
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.calm.set()
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}/v1"

    def answered(self, handler, body):
        with self.lock:
            number = len(self.requests)
            self.requests.append((handler.path, dict(handler.headers), body))
        reported = self.fail(number, body)
        if isinstance(reported, float):
            self.calm.wait(reported)
            reported = None
        if reported == "hang up":
            handler.close_connection = True
            return
        if reported == "drip":
            self.dripped(handler)
            return
        if isinstance(reported, tuple):
            status, answer, headers = (*reported, {})[:3]
        elif self.key and handler.headers.get("Authorization") != f"Bearer {self.key}":
            status, answer, headers = 401, {"detail": f"Invalid: {handler.headers.get('Authorization')}"}, {}
        else:
            status, answer = self.usual(handler.path, body)
            answer, headers = (reported(answer) if callable(reported) and status == 200 else answer), {}
        complete = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(complete)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(complete)

    def dripped(self, handler):
        """An endless answer, one space at a time."""
        handler.send_response(200)
        handler.end_headers()
        handler.close_connection = True
        try:
            while not self.calm.wait(0.02):
                handler.wfile.write(b" ")
                handler.wfile.flush()
        except OSError:
            pass

    def usual(self, path, body):
        if path == "/v1/models":
            return 200, {"object": "list", "data": [{"id": n, "object": "model"} for n in self.listed]}
        if body is None or path not in {"/v1/completions", "/v1/chat/completions"}:
            return 404, {"detail": "Not Found"}
        if path == "/v1/chat/completions":
            status, answer = self.completed(min(self.folders), {**body, "prompt": body["messages"][-1]["content"]})
            text = answer["choices"][0]["text"]
            return status, {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}
        if self.like == "vllm" and body["model"] not in self.folders:
            return unknown_model(body["model"], sorted(self.folders))
        # llama-cpp-python answers any other name with the model that it has.
        name = body["model"] if body["model"] in self.folders else min(self.folders)
        return self.completed(name, body)

    def completed(self, name, body):
        tokenizer = self.tokenizers[name]
        own = tokenizer(body["prompt"], add_special_tokens=False)["input_ids"]
        ids = ([tokenizer.bos_token_id] if self.bos else []) + own
        if len(ids) >= self.context:
            if self.like == "vllm":
                return too_long(len(ids), self.context)
            stated = f"This model's maximum context length is {self.context} tokens, however you requested {len(ids) + 1} tokens"
            return 400, {"error": {"message": stated, "code": "context_length_exceeded"}}
        body = {**body, "max_tokens": min(body["max_tokens"], self.context - len(ids))}
        penalty = body.get("repetition_penalty", self.penalty)
        with self.lock:
            if not body.get("echo"):
                return 200, self.sampled(name, ids, body, penalty)
            logp, written = read(self.folders[name], tuple(ids), body["max_tokens"], penalty)
        if self.like == "vllm":
            spelt = vllm_tokens(tokenizer.decode, ids, written)
            numbers, tops, prompt_logprobs = vllm_numbers(tokenizer.decode, ids, written, logp)
            more = {**NOT_SET, "prompt_logprobs": prompt_logprobs}
        else:
            # Its rows are those of the tokens before, if a BOS was taken off; else each token's own.
            listed, more = own + (written if self.bos else written[:-1]), {}
            spelt = [tokenizer.decode([i]).replace("\ufffd", "") for i in listed]
            numbers = [None if i == 0 else float(logp[i][t]) for i, t in enumerate(listed)]
            tops = [
                None if i == 0 else {tokenizer.decode([int(logp[i].argmax())]): float(logp[i].max())}
                for i in range(len(listed))
            ]
        choice = {
            "text": body["prompt"] + tokenizer.decode(written, skip_special_tokens=True),
            "index": 0,
            "logprobs": {
                "text_offset": [len("".join(spelt[:i])) for i in range(len(spelt))],
                "token_logprobs": numbers,
                "tokens": spelt,
                "top_logprobs": tops,
            },
            "finish_reason": "length",
            **more,
        }
        counted = {
            "prompt_tokens": len(ids),
            "completion_tokens": len(written),
            "total_tokens": len(ids) + len(written),
        }
        answer = {"id": "cmpl-0", "object": "text_completion", "created": int(time.time()), "model": name}
        return 200, {**answer, "choices": [choice], "usage": counted}

    def sampled(self, name, ids, body, penalty):
        top_k = body.get("top_k", 0) if body["temperature"] else None
        made = continued(self.folders[name], tuple(ids), body["max_tokens"], top_k, body.get("seed", 0), penalty)
        text = self.tokenizers[name].decode(made, skip_special_tokens=True)
        return {"model": name, "choices": [{"text": text, "index": 0, "logprobs": None, "finish_reason": "length"}]}
