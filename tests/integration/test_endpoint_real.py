"""An audit of the small model behind llama-cpp-python's server ranks texts as an audit of its weights does."""

import importlib.util
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from scipy.stats import spearmanr
from tokenizers.processors import TemplateProcessing

import byheart
from byheart.core.errors import ModelError
from byheart.lm.base_models import default_base, locate
from byheart.lm.load import load

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("llama_cpp") is None,
    reason="llama-cpp-python is not installed: pip install 'llama-cpp-python[server]', which compiles it",
)
BOS = ("--kv_overrides", "tokenizer.ggml.add_bos_token=bool:true")
WORDS = ("queen", "baker", "judge", "sailor", "nurse", "Zoë")
MEMBERS, NONMEMBERS = ([f"The {a} wrote {n} letters." for n in (two, two + 1) for a in WORDS] for two in (2, 4))


@pytest.fixture(scope="module")
def started():
    """A function that starts a server with these arguments and returns its URL; all servers are stopped at the end."""
    running = []

    def start(*words):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [
            sys.executable,
            "-m",
            "llama_cpp.server",
            "--model",
            str(locate(default_base())),
            "--model_alias",
            "small",
        ]
        running.append(subprocess.Popen([*command, "--n_ctx", "256", "--port", str(port), *words]))
        url = f"http://localhost:{port}/v1"
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{url}/models", timeout=5).close()  # noqa: S310 - our own server
            except (urllib.error.URLError, OSError):
                time.sleep(0.5)
            else:
                return url
        raise TimeoutError(url)

    yield start
    for process in running:
        process.terminate()
        process.wait(20)


def test_texts_rank_as_with_the_weights(started):
    found = byheart.audit_endpoint(started(*BOS), "small", MEMBERS, NONMEMBERS, attacks=["loss"], fpr=0.2)
    model = load(default_base())
    model.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A",
        special_tokens=[("<|im_start|>", model.tokenizer.convert_tokens_to_ids("<|im_start|>"))],
    )
    stats = byheart.token_stats(model.module, model.tokenizer, MEMBERS + NONMEMBERS)
    # The server returns no number for the first token of a text, although BOS precedes it.
    own = [stats.logp[lo + 1 : hi].mean() for lo, hi in zip(stats.starts[:-1], stats.starts[1:], strict=True)]
    assert spearmanr(found.scores[1]["loss"], own).statistic > 0.9
    np.testing.assert_allclose(found.scores[1]["loss"], own, atol=0.2)  # it computes with weights of 4 bits


def test_numbers_shifted_by_one_token_raise_an_error(started):
    with pytest.raises(ModelError, match="off by one token"):
        byheart.audit_endpoint(started(), "small", MEMBERS, NONMEMBERS, attacks=["loss"], fpr=0.2)
