"""Whole studies on a device that is not the CPU give the rows of the CPU, without a GPU: nothing is left on the wrong one."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from torch.utils import backend_registration

from testing.made_up import tiny_study

pytestmark = pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch has no devices written in Python",
)
HERE = Path(__file__).parents[1]
REFUSED = """
import torch
from testing import other_device as elsewhere
device = elsewhere.device()
a, places = torch.ones(3, 2, device=device), torch.tensor([0, 2])
assert (a + a.sum() + torch.tensor(1.0))[places].tolist() == [[8.0, 8.0]] * 2
assert a.to("cpu").numpy().sum() == 6
for refused in (
    lambda: a + torch.ones(3, 2),
    lambda: torch.nn.functional.embedding(places, a),
    lambda: a.numpy(),
    lambda: torch.linalg.lstsq(a, a, driver="gelsd"),
):
    try:
        refused()
    except (RuntimeError, TypeError):
        continue
    raise AssertionError("was not refused")
"""
AUDIT = """
import sys, torch, byheart
from testing import other_device as elsewhere
from peft import LoraConfig, get_peft_model
from byheart.lm import load
device = elsewhere.device()
found = {}
texts = [f"The {n} sailor wrote {n * n} letters to {n + 7} queens." for n in range(40)]
for place in ("cpu", device):
    model = load.load(sys.argv[1], how={"attn_implementation": "eager"})
    torch.manual_seed(1)
    module = get_peft_model(model.module, LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False)).to(place)
    stats = byheart.token_stats(module, model.tokenizer, texts)
    audit = byheart.audit(module, model.tokenizer, texts[:20], texts[20:], attacks="all")
    found[str(place)] = [*stats.logp[:50].tolist(), *(r.value for r in audit.rows if not r.metric.endswith("seconds"))]
cpu, there = found.values()
assert len(cpu) == len(there) > 70, len(cpu)
assert max(abs(a - b) for a, b in zip(cpu, there)) < 1e-3
"""
DATA = {"train": 22, "members": 10, "nonmembers": 12, "validation": 6, "known": 10, "max_tokens": 50}
LEAKS = [
    *("loss", "reference", "lowercase", "recall", "con_recall", "icp", "icp_similar", "neighbourhood", "spv"),
    *("grad_norm", "samia", "lira", {"camia": {"cuts": [10, 20]}}),
]
MANY = {"datasets": [{"records": {"count": 120}}], "data": DATA, "observations": [{"shadows": {"models": 4}}]}
RECITED = {
    "attacks": ["loss", "discoverable", "approximate", {"probabilistic": {"n": [1, 100]}}],
    "metrics": ["auc", "perplexity", "extraction_rate", "attribute_inference", "attribute_extraction", "exposure"],
    "data": {**DATA, "known": 0, "max_tokens": 100, "canaries": {"count": 8, "repetitions": [1, 4], "references": 20}},
    "observations": [{"candidates": {"count": 3}}, {"prefix_suffix_split": {"suffix": 10}}],
}


def python(*words):
    made = subprocess.run([sys.executable, *words], cwd=HERE, capture_output=True, text=True, check=False, timeout=600)
    assert made.returncode == 0, made.stderr[-3000:]


def test_the_device_refuses_what_a_gpu_refuses():
    python("-c", REFUSED)


def test_an_audit_finds_the_same_on_another_device(tiny_folder):
    python("-c", AUDIT, tiny_folder("llama"))


@pytest.mark.parametrize(
    ("architecture", "changes"),
    [
        (
            "llama",
            {**MANY, "methods": ["full", "prefix"], "attacks": LEAKS, "training": {"epochs": 1, "batch_size": 4}},
        ),
        ("gpt2", {"methods": ["head", "lora", "prompt", "p_tuning"], "attacks": ["loss", "min_k", "grad_norm"]}),
        ("mixtral", {"methods": ["lora"], "attacks": ["loss", "grad_norm"]}),
        ("gemma", {**MANY, **RECITED, "methods": ["lora"]}),
    ],
)
def test_a_study_gives_the_same_rows_on_another_device(tiny_folder, tmp_path, architecture, changes):
    methods = [*changes["methods"]]
    if find_spec("opacus") and architecture == "gpt2":
        methods += [{"dp_lora": {"epsilon": 8}}, {"dp_full": {"epsilon": 8}}]
    study = tiny_study(
        tiny_folder(architecture), **{**changes, "methods": methods, "machine": {"precision": "float32"}}
    )
    study_place, found_place = tmp_path / "study.json", tmp_path / "found.json"
    study_place.write_text(json.dumps(study))
    python("-m", "testing.run_on_other_device", study_place, found_place)
    found = json.loads(found_place.read_text())
    assert found["failed"] == []
    assert found["differ"] == {}
    assert found["rows"] > 20
    assert found["operations"] > 1000
