"""Shared fixtures of the tests of audits."""

import pytest
import torch
from peft import get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from testing.audited import ADAPTERS, MEMBERS, NONMEMBERS, VALIDATION, records, trained
from testing.served_texts import save_tuned


@pytest.fixture(scope="session")
def training_folders(tiny_folder):
    """Set the folder of the tiny models for `testing.training`."""
    from testing.training import FOLDERS

    FOLDERS.update({name: str(tiny_folder(name)) for name in ("gpt2", "gemma")})


@pytest.fixture(scope="session")
def folders(tiny_folder, tmp_path_factory):
    """A base and a different model, by architecture: llama's tokenizer adds no BOS, gemma's does."""

    def both(name):
        folder = tmp_path_factory.mktemp(f"{name}-tuned")
        save_tuned(tiny_folder(name), folder)
        return {"base": str(tiny_folder(name)), "tuned": str(folder)}

    made = {}
    return lambda name: made.setdefault(name, None) or made.update({name: both(name)}) or made[name]


@pytest.fixture(scope="session")
def base(tiny_folder):
    return str(tiny_folder("llama"))


@pytest.fixture(scope="session")
def saved(base, tmp_path_factory):
    """A folder of finished models, saved by plain transformers and peft: full, lora, prefix, prompt, p_tuning."""
    folder, tokenizer = tmp_path_factory.mktemp("finished"), AutoTokenizer.from_pretrained(base)
    trained(AutoModelForCausalLM.from_pretrained(base), tokenizer, 1e-2, 60).save_pretrained(folder / "full")
    tokenizer.save_pretrained(folder / "full")
    for name, (config, rate) in ADAPTERS.items():
        torch.manual_seed(1)
        trained(get_peft_model(AutoModelForCausalLM.from_pretrained(base), config), tokenizer, rate).save_pretrained(
            folder / name
        )
    return folder


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Members and non-members as JSONL with ids."""
    folder = tmp_path_factory.mktemp("texts")
    for name, texts in (("members", MEMBERS), ("nonmembers", NONMEMBERS), ("validation", VALIDATION)):
        records(folder / f"{name}.jsonl", [{"id": f"{name[0]}-{i}", "text": t} for i, t in enumerate(texts)])
    return folder


@pytest.fixture
def command(typed_audit, files):
    """A function that runs `byheart audit` with typed arguments and returns exit code, output and errors."""

    def run(*words, members="members.jsonl", nonmembers="nonmembers.jsonl", device="cpu"):
        sides = ["--members", str(files / members), "--nonmembers", str(files / nonmembers)]
        return typed_audit(*words, *sides, "--device", device)

    return run


@pytest.fixture
def short_waits(monkeypatch):
    """Retries wait for moments, and no API key is set."""
    from byheart.auditing.server import client

    monkeypatch.setattr(client.RequestLimits, "wait", 0.01, raising=False)
    monkeypatch.setattr(client, "LONGEST_WAIT", 0.05)
    monkeypatch.delenv(client.API_KEY_VARIABLE, raising=False)
