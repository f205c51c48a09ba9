"""Tiny models of many architectures: an audit's numbers against a plain loop, from files, in memory and with a LoRA."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoTokenizer

import byheart
from byheart.auditing.from_files import AuditRequest, audit_files
from byheart.auditing.settings import AuditSettings
from byheart.lm.placement import Placement
from testing.adapter_kinds import perturb
from testing.adapters import SIDES, TEXTS, attempt, differences, reported, state
from testing.architecture_kinds import CONFIGS, auto_class
from testing.audited import records
from testing.reading import mean_logps
from testing.tiny_models import tiny_tokenizer

ATTACKS = ["loss", "reference"]
LORA_TARGETS = {"Mamba": ["in_proj", "x_proj"]}
"""Layers with a LoRA of architectures on which peft does not adapt every linear layer."""


def save_model(name, folder, *, seed):
    """Write a tiny random model, the same one for a seed."""
    torch.manual_seed(seed)
    model = auto_class(name).from_config(CONFIGS[name]())
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(4.0)  # far from uniform, so that a wrong row or a wrong mask shows
    model.save_pretrained(folder)
    tiny_tokenizer(bos=False).save_pretrained(folder)


def opened(name, folder):
    return auto_class(name).from_pretrained(folder, dtype=torch.float32).eval()


def expected(model, tokenizer):
    """The plain loop's numbers; NaN for a model that has none, such as an encoder-decoder model."""
    try:
        return mean_logps(model, tokenizer, TEXTS)
    except (TypeError, ValueError):
        return np.full(len(TEXTS), np.nan)


def outcome(name, folder):
    """Audit an architecture: complete weights from files and in memory, and a LoRA in memory and from files.

    Returns "works" or the one line of a refusal for each. Raises `AssertionError` for a wrong number or a changed object.
    """
    base, tuned = folder / "base", folder / "tuned"
    save_model(name, base, seed=7)
    save_model(name, tuned, seed=8)
    tokenizer = AutoTokenizer.from_pretrained(base)
    sources = {
        part[:-1]: records(folder / f"{part}.jsonl", [{"text": x} for x in side]) for part, side in SIDES.items()
    }
    models = {kind: opened(name, folder / kind) for kind in ("base", "tuned")}
    numbers = {kind: expected(model, tokenizer) for kind, model in models.items()}

    def of_files(place, base_place=None):
        request = AuditRequest(sources=sources, settings=AuditSettings(attacks=ATTACKS))
        on = {"adapter": None, "base": base_place, "placement": Placement(device="cpu"), "on_status": lambda _: None}
        return audit_files(request, str(place), **on)

    found = {"files": attempt(lambda: reported(of_files(tuned, str(base)), numbers["tuned"], numbers["base"]))}
    found["memory"] = in_memory(models["tuned"], tokenizer, numbers["tuned"], numbers["base"], base=models["base"])
    if found["files"] != "works":
        return found
    try:
        targets = LORA_TARGETS.get(name, "all-linear")
        model = get_peft_model(opened(name, base), LoraConfig(r=4, target_modules=targets, task_type="CAUSAL_LM"))
    except Exception as error:  # noqa: BLE001 - the reason of the library is the outcome
        return {**found, "lora": f"the library: {type(error).__name__}: {error}".splitlines()[0]}
    model = perturb(model).eval()
    model.save_pretrained(folder / "adapter")
    found["lora"] = in_memory(model, tokenizer, mean_logps(model, tokenizer, TEXTS), numbers["base"])
    loop = mean_logps(PeftModel.from_pretrained(opened(name, base), folder / "adapter").eval(), tokenizer, TEXTS)
    from_files = attempt(lambda: reported(of_files(folder / "adapter"), loop, numbers["base"]))
    found["lora"] = found["lora"] if from_files == found["lora"] else f"{found['lora']}; from files: {from_files}"
    return found


def in_memory(model, tokenizer, numbers, base_numbers, base=None):
    model.train()  # an audit evaluates it, and leaves it in the mode in which it was
    objects = [m for m in (model, base) if m is not None]
    before = [state(m) for m in objects]
    result = attempt(
        lambda: reported(
            byheart.audit(model, tokenizer, *SIDES.values(), base=base, attacks=ATTACKS), numbers, base_numbers
        )
    )
    changed = [part for b, m in zip(before, objects, strict=True) for part in differences(b, state(m))]
    assert not changed, f"the audit changed {changed}"
    return result


def table():
    """The outcome of each architecture, without the paths of this run."""
    return outcome_by_name(outcome)


def outcome_by_name(outcome_of):
    """The outcome of each architecture by a function from its name and an empty folder, without the folder's path."""
    found = {}
    for name in CONFIGS:
        with tempfile.TemporaryDirectory() as folder:
            found[name] = without_folder(outcome_of(name, Path(folder)), folder)
    return found


def without_folder(outcomes, folder):
    return {how: line.replace(str(folder), "FOLDER") for how, line in outcomes.items()}
