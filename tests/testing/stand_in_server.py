"""A server that answers like llama-cpp-python's and vLLM's, with tiny models and configurable failures."""

import functools
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


@functools.cache
def opened(folder):
    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


@functools.cache
def read(folder, ids, length):
    """Log-probabilities (tokens, vocabulary) of all next tokens of a text and its greedy continuation, and the continuation.

    The last continued token is not read. The tests ask for the same texts many times: only the first reads them.
    """
    written = []
    with torch.no_grad():
        for _ in range(length):
            logp = opened(folder)[0](torch.tensor([[*ids, *written]])).logits[0].log_softmax(-1)
            written.append(int(logp[-1].argmax()))
    return logp, written


@functools.cache
def continued(folder, ids, length, top_k, seed):
    """Ids that follow these, sampled from the `top_k` likeliest tokens (0: all) with a seed, or greedy for None."""
    model, written, generator = opened(folder)[0], [], torch.Generator().manual_seed(seed)
    while len(written) < length and model.config.eos_token_id not in written:
        with torch.no_grad():
            chances = model(torch.tensor([[*ids, *written]])).logits[0, -1].softmax(-1)
        if top_k:
            chances[chances < chances.topk(min(top_k, len(chances))).values[-1]] = 0
        written.append(int(chances.argmax() if top_k is None else torch.multinomial(chances, 1, generator=generator)))
    return written


class StandIn:
    """Serves models by name from folders. `like` is the server that it imitates: "vllm" or "llama_cpp".

    `fail` is called with the number of the request (from 0) and its body; where it returns something, that is answered: a
    status with a body (and headers), a function of the answer, or a pause in seconds. `bos` puts <s> before every text.
    """

    def __init__(self, folders, *, like="vllm", bos=False, context=128, fail=None, key="", listed=None):
        self.folders = folders
        self.tokenizers = {name: opened(folder)[1] for name, folder in folders.items()}
        self.like, self.bos, self.context, self.key = like, bos, context, key
        self.fail = fail or (lambda number, body: None)
        self.listed = sorted(folders) if listed is None else listed
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
        # llama-cpp-python answers any other name with the model that it has.
        name = body["model"] if body["model"] in self.folders else min(self.folders)
        return self.completed(name, body)

    def completed(self, name, body):
        tokenizer = self.tokenizers[name]
        own = tokenizer(body["prompt"], add_special_tokens=False)["input_ids"]
        ids = ([tokenizer.bos_token_id] if self.bos else []) + own
        if len(ids) >= self.context:
            stated = f"This model's maximum context length is {self.context} tokens, however you requested {len(ids) + 1} tokens"
            return 400, {"error": {"message": stated, "code": "context_length_exceeded"}}
        with self.lock:
            if not body.get("echo"):
                return 200, self.sampled(name, ids, body)
            logp, written = read(self.folders[name], tuple(ids), body["max_tokens"])
        listed = [*ids, *written]
        rows = [None, *logp]
        if self.like == "llama_cpp":
            # Its rows are those of the tokens before, if a BOS was taken off; else each token's own.
            rows, listed = list(logp), own + (written if self.bos else written[:-1])
        spelt = [tokenizer.decode([i]) for i in listed]
        spelt = [s.replace("\ufffd", "") for s in spelt] if self.like == "llama_cpp" else spelt
        numbers = [None if i == 0 else float(rows[i][t]) for i, t in enumerate(listed)]
        tops = [
            None if i == 0 else {tokenizer.decode([int(rows[i].argmax())]): float(rows[i].max())}
            for i in range(len(listed))
        ]
        offsets = [len("".join(spelt[:i])) for i in range(len(spelt))]
        return 200, {
            "id": "cmpl-0",
            "object": "text_completion",
            "created": int(time.time()),
            "model": name,
            "choices": [
                {
                    "text": body["prompt"] + tokenizer.decode(written),
                    "index": 0,
                    "logprobs": {
                        "text_offset": offsets,
                        "token_logprobs": numbers,
                        "tokens": spelt,
                        "top_logprobs": tops,
                    },
                    "finish_reason": "length",
                }
            ],
            "usage": {"prompt_tokens": len(ids), "completion_tokens": len(written), "total_tokens": len(listed)},
        }

    def sampled(self, name, ids, body):
        top_k = body.get("top_k", 0) if body["temperature"] else None
        made = continued(self.folders[name], tuple(ids), body["max_tokens"], top_k, body.get("seed", 0))
        text = self.tokenizers[name].decode(made)
        return {"model": name, "choices": [{"text": text, "index": 0, "logprobs": None, "finish_reason": "length"}]}
