"""Several adapters in one folder: `--adapter NAME` chooses one, and what is ambiguous is refused with the choices."""

import json
import shutil

import numpy as np
import pytest
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from byheart.auditing.from_files import AuditRequest, audit_files
from byheart.auditing.settings import AuditSettings
from byheart.core.errors import ModelError
from byheart.lm.placement import Placement
from testing.adapter_kinds import perturb
from testing.audited import MEMBERS, NONMEMBERS, records
from testing.reading import mean_logps

CONFIG = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
SIDES = {"member": MEMBERS[:6], "nonmember": NONMEMBERS[:6]}


@pytest.fixture
def two(base, tmp_path):
    """A folder as peft writes it: the adapter `default` in it, and `legal` in a subfolder."""
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), CONFIG)
    model.add_adapter("legal", LoraConfig(r=8, target_modules=["o_proj"], task_type="CAUSAL_LM"))
    for name in ("default", "legal"):
        perturb(model, f".{name}.")
    model.save_pretrained(tmp_path / "two")
    return tmp_path / "two"


@pytest.fixture
def audited(tmp_path):
    sources = {part: records(tmp_path / f"{part}.jsonl", [{"text": t} for t in side]) for part, side in SIDES.items()}
    request = AuditRequest(sources=sources, settings=AuditSettings(attacks=["loss"]))
    options = {"base": None, "placement": Placement(device="cpu"), "on_status": lambda _: None}
    return lambda model, adapter=None, **others: audit_files(
        request, str(model), adapter=adapter, **{**options, **others}
    )


def loop(base, folder):
    """Mean log-probabilities (nats) of all texts, by peft and a plain loop."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder).eval()
    return mean_logps(model, tokenizer, [*SIDES["member"], *SIDES["nonmember"]])


def loss(audit):
    return audit.scores[1]["loss"]


def test_a_name_chooses_one_of_the_adapters(base, two, audited):
    default, legal = loop(base, two), loop(base, two / "legal")
    assert np.abs(default - legal).max() > 0.1
    for name, numbers in (("default", default), ("legal", legal)):
        np.testing.assert_allclose(loss(audited(two, name)), numbers, atol=1e-4)
        np.testing.assert_allclose(loss(audited(two, name, base=base)), numbers, atol=1e-4)


def test_without_a_name_the_folders_own_adapter_is_audited_and_the_others_are_named(base, two, audited):
    found = audited(two)
    np.testing.assert_allclose(loss(found), loop(base, two), atol=1e-4)
    assert any("the adapters legal" in w and "--adapter NAME" in w for w in found.warnings)
    assert not any("--adapter NAME" in w for w in audited(two, "default").warnings)
    (two / "legal").rename(two / "checkpoint-20")
    assert not any("--adapter NAME" in w for w in audited(two).warnings)


def test_an_unknown_adapter_name_is_refused_with_the_names(two, audited):
    with pytest.raises(
        ModelError, match=r"--adapter ledger: .* contains no such adapter\. Choose one of default, legal\."
    ):
        audited(two, "ledger")


def test_of_subfolders_alone_a_name_chooses_one(base, two, audited):
    (two / "adapter_config.json").rename(two / "legal" / "unused.json")
    with pytest.raises(ModelError, match=rf"its subfolders do\. Pass one of them: {two}/legal"):
        audited(two)
    np.testing.assert_allclose(loss(audited(two, "legal")), loop(base, two / "legal"), atol=1e-4)


def test_the_folders_own_adapter_comes_before_a_subfolder_of_its_name(base, two, audited):
    (two / "legal").rename(two / "default")
    own = loop(base, two)
    for name in ("default", None):
        np.testing.assert_allclose(loss(audited(two, name)), own, atol=1e-4)
    assert any(f"pass {two}/default as --model" in w for w in audited(two).warnings)
    assert np.abs(loss(audited(two / "default")) - own).max() > 0.1


def test_a_lone_adapter_is_also_named_default(base, two, audited):
    (two / "legal").rename(two.parent / "legal")
    np.testing.assert_allclose(loss(audited(two, "default")), loop(base, two), atol=1e-4)
    two.rename(two.parent / "default")
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        assert (two.parent / "default" / file).is_file()
    np.testing.assert_allclose(loss(audited(two.parent, "default")), loop(base, two.parent / "default"), atol=1e-4)


def test_complete_weights_and_a_named_adapter_are_refused_with_the_choices(base, two, audited):
    shutil.copy(f"{base}/model.safetensors", two)
    shutil.copy(f"{base}/config.json", two)
    with pytest.raises(ModelError, match=rf"write --adapter none; if not, write --adapter {two}/legal\."):
        audited(two, "legal")


def test_the_command_line_takes_a_name(two, typed_audit, tmp_path):
    files = [
        w for n, s in SIDES.items() for w in (f"--{n}s", records(tmp_path / f"{n}.jsonl", [{"text": t} for t in s]))
    ]
    code, out, complaints = typed_audit("--model", two, "--adapter", "legal", *files, "--attacks", "loss", "--json")
    assert code == 0, complaints
    assert json.loads(out)
