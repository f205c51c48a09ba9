"""Tiny random models of four architectures, with a real byte-level tokenizer. Shape checks are on for every test."""

import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach for a hub

import pytest
import torch
from jaxtyping import install_import_hook

with install_import_hook("byheart", "beartype.beartype"):
    import byheart.core.types  # noqa: F401 - imported here so that the hook sees them
    from byheart.core import ragged, registry  # noqa: F401 - the same
    from byheart.data import blind_baselines  # noqa: F401 - the same
    from byheart.stats import power, roc_auc  # noqa: F401 - the same

    for _shelf in ("attacks", "metrics"):
        for _name in registry.names(_shelf):
            registry.find(_shelf, _name)

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    MixtralConfig,
    PreTrainedTokenizerFast,
)

from testing import browser_page

torch.set_num_threads(1)  # tiny tensors: threads that wait for each other cost more than they save

SENTENCES = [
    f"The {a} {b} wrote {n} letters to the {c} in {p}."
    for n, (a, b, c, p) in enumerate(
        [
            ("old", "sailor", "queen", "Lisbon"),
            ("young", "doctor", "baker", "Oslo"),
            ("tall", "painter", "judge", "Cairo"),
            ("quiet", "teacher", "pilot", "Lima"),
            ("proud", "farmer", "nurse", "Quito"),
            ("blind", "singer", "clerk", "Minsk"),
        ]
        * 4
    )
]

CONFIGS = {
    "gpt2": GPT2Config(vocab_size=300, n_positions=128, n_embd=32, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=2),
    "llama": LlamaConfig(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=True,
    ),
    "gemma": GemmaConfig(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=128,
    ),
    "mixtral": MixtralConfig(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=4,
        num_experts_per_tok=2,
        max_position_embeddings=128,
        tie_word_embeddings=False,
    ),
}


def tiny_tokenizer(*, bos):
    """A byte-level BPE trained on the sentences; with `bos` it puts <s> before every text, as Gemma's does."""
    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<unk>", "<s>", "</s>"],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    made.train_from_iterator(SENTENCES, trainer)
    if bos:
        made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    # No pad token on purpose: byheart must not need one.
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A function from an architecture's name to a folder that holds a tiny random model of it."""
    made = {}

    def folder(name):
        if name not in made:
            torch.manual_seed(7)
            path = tmp_path_factory.mktemp(name)
            model = AutoModelForCausalLM.from_config(CONFIGS[name])
            with torch.no_grad():
                for weight in model.parameters():
                    if weight.ndim > 1:
                        weight.mul_(4.0)  # far from uniform, so that a wrong row or a wrong mask shows
            model.save_pretrained(path)
            tiny_tokenizer(bos=name == "gemma").save_pretrained(path)
            made[name] = path
        return made[name]

    return folder


@pytest.fixture(params=list(CONFIGS))
def architecture(request):
    return request.param


@pytest.fixture
def tiny(tiny_folder):
    """A function from an architecture's name to a freshly loaded tiny model."""
    from byheart.lm.load import load

    return lambda name: load(str(tiny_folder(name)))


@pytest.fixture
def sentences():
    return list(SENTENCES)


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium, one for all tests: playwright starts only once in a process."""
    with browser_page.started() as one:
        yield one


@pytest.fixture
def opened(browser):
    """A function that opens a page and waits for it; afterwards nothing may have gone wrong, or out."""
    contexts, told = [], []

    def opening(path, viewport=browser_page.DESK, **more):
        context = browser.new_context(viewport=viewport, **more)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: told.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: told.append(f"error: {error}"))
        page.on(
            "request", lambda request: None if request.url == path.as_uri() else told.append(f"request: {request.url}")
        )
        page.on("dialog", lambda dialog: told.append(f"dialog: {dialog.message}"))
        page.goto(path.as_uri())
        if more.get("java_script_enabled", True):
            page.wait_for_selector("html[data-ready=true]", timeout=60_000)
        return page

    yield opening
    for context in contexts:
        context.close()
    assert told == []


@pytest.fixture
def typed_audit(monkeypatch, capsys):
    """A function that types `byheart audit` with these words, in this process, and gives exit code, output and complaints."""
    from byheart.cli.main import main

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["byheart", "audit", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return ended.value.code, told.out, told.err

    return run
