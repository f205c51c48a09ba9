"""Whole studies on a device that is not the CPU give the rows of the CPU, without a GPU: nothing is left on the wrong one."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from torch.utils import backend_registration

from testing import processes
from testing.made_up import tiny_study
from testing.stores import FEW

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
        reason="this torch has no devices written in Python",
    ),
]
SCRIPT = Path(__file__).parents[1] / "testing" / "run_on_other_device.py"
DATA = {"train": 22, "members": 10, "nonmembers": 12, "validation": 6, "known": 10, "max_tokens": 50}
LEAKS = [
    *("loss", "reference", "lowercase", "recall", "con_recall", "icp", "icp_similar", "neighbourhood", "spv"),
    *("grad_norm", "samia", "lira", "reference_self_prompted", "spv_self_prompted", {"camia": {"cuts": [10, 20]}}),
]
MANY = {"datasets": [{"records": {"count": 120}}], "data": DATA, "observations": FEW}
RECITED = {
    "attacks": ["loss", "discoverable", "approximate", {"probabilistic": {"n": [1, 100]}}],
    "metrics": ["auc", "perplexity", "extraction_rate", "attribute_inference", "attribute_extraction", "exposure"],
    "data": {**DATA, "known": 0, "max_tokens": 100, "canaries": {"count": 8, "repetitions": [1, 4], "references": 20}},
    "observations": [{"candidates": {"count": 3}}, {"prefix_suffix_split": {"suffix": 10}}],
}


ONCE = {"epochs": 1, "batch_size": 4}
FEW_TEXTS = {"train": 8, "members": 6, "nonmembers": 6, "validation": 4, "max_tokens": 30}
EVERY = ["head", "lora", "prompt", "p_tuning", "full"]
STUDIES = {
    "llama": {**MANY, "methods": ["prefix"], "attacks": LEAKS, "training": ONCE},
    "gpt2": {"methods": EVERY, "attacks": ["loss", "min_k", "grad_norm"], "training": ONCE, "data": FEW_TEXTS},
    "mixtral": {"methods": ["lora"], "attacks": ["loss", "grad_norm"], "training": ONCE, "data": FEW_TEXTS},
    "gemma": {**MANY, **RECITED, "methods": ["lora"], "training": ONCE},
}


def study(folder, architecture):
    changes = {**STUDIES[architecture], "machine": {"precision": "float32"}}
    if find_spec("opacus") and architecture == "gpt2":
        changes["methods"] = [*changes["methods"], {"dp_lora": {"epsilon": 8}}, {"dp_full": {"epsilon": 8}}]
    return tiny_study(folder, **changes)


@pytest.fixture(scope="module")
def reported(tiny_folder, tmp_path_factory):
    """A function from the name of a task to its result; all tasks run in one process."""
    folder = tmp_path_factory.mktemp("elsewhere")
    requested = {"audit": str(tiny_folder("llama")), "studies": {n: study(tiny_folder(n), n) for n in STUDIES}}
    (folder / "asked.json").write_text(json.dumps(requested))
    processes.ended(processes.started(SCRIPT, [folder], folder), folder, within=900)
    found = json.loads((folder / "found.json").read_text())

    def of(name):
        assert not found[name]["error"], found[name]["error"]
        assert found[name]["operations"] > (0 if name == "refusals" else 1000)
        return found[name]["found"]

    return of


def test_the_device_rejects_what_a_gpu_rejects(reported):
    assert reported("refusals") == []


def test_an_audit_has_the_same_results_on_another_device(reported):
    found = reported("audit")
    assert found["numbers"][0] > 70
    assert found["apart"] < 1e-3


@pytest.mark.parametrize("architecture", STUDIES)
def test_a_study_gives_the_same_rows_on_another_device(reported, architecture):
    found = reported(architecture)
    assert found["failed"] == []
    assert found["differ"] == {}
    assert found["rows"] > 20
