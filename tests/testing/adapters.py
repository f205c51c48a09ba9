"""Every adapter type of the installed peft on tiny models: a config for each, and the outcome of an audit.

`testing.format_tables` writes the outcomes to docs/formats.json.
"""

import json
import re
import tempfile
from pathlib import Path

import numpy as np
import peft
import torch
from peft import PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import AutoModelForCausalLM, AutoTokenizer

import byheart
from byheart.auditing.from_files import AuditRequest, audit_files
from byheart.auditing.settings import AuditSettings
from byheart.core.errors import ByheartError
from byheart.lm.placement import Placement
from testing.adapter_kinds import ARCHITECTURES, KINDS, names, perturb, save_experts
from testing.audited import MEMBERS, NONMEMBERS, records
from testing.reading import mean_logps
from testing.tiny_models import save_tiny_model

OUTCOMES = Path(__file__).parents[2] / "docs" / "formats.json"
SIDES = {"members": MEMBERS[:5], "nonmembers": NONMEMBERS[:5]}
TEXTS = (*SIDES["members"], *SIDES["nonmembers"])
TOLERANCE = 1e-4


def adapted(kind, architecture, base, folder):
    """A model with the kind's adapter, every trained weight moved; its folder is written if the kind has one."""
    n, model = names(architecture), AutoModelForCausalLM.from_pretrained(base)
    torch.manual_seed(4)
    config = kind.config(n)
    if isinstance(config, peft.XLoraConfig):
        save_experts(config, n, base)
        model.config.use_cache = False
    if not kind.wrapped:
        model.add_adapter(config)
        return perturb(model).eval()
    model = kind.after(perturb(get_peft_model(model, config)), n).eval()
    if kind.part is not None:
        model.save_pretrained(folder)
    return model


def state(module):
    """What an audit must not change: weights, flags, active and merged adapters, hooks, and the attributes of the object."""
    flags = {
        name: (part.training, part.active_adapters, part.disable_adapters, list(part.merged_adapters))
        if isinstance(part, BaseTunerLayer)
        else part.training
        for name, part in module.named_modules()
    }
    hooks = [(len(part._forward_hooks), len(part._forward_pre_hooks)) for part in module.modules()]
    weights = {name: (w.detach().clone(), w.requires_grad) for name, w in module.state_dict(keep_vars=True).items()}
    active = (module.active_adapters, module._adapters_disabled) if isinstance(module, PeftModel) else ()
    return {"flags": flags, "hooks": hooks, "weights": weights, "active": active, "attributes": set(vars(module))}


def differences(before, after):
    """The changed parts of the state."""
    same = before["weights"].keys() == after["weights"].keys() and all(
        torch.equal(w, after["weights"][n][0]) and grad == after["weights"][n][1]
        for n, (w, grad) in before["weights"].items()
    )
    return [*([] if same else ["weights"]), *(k for k in before if k != "weights" and before[k] != after[k])]


def reported(audit, expected, base_expected):
    """The outcome of an audit of a kind in words; raises `AssertionError` for numbers other than the plain loop's."""
    error = np.abs(audit.scores[1]["loss"] - expected).max()
    assert error < TOLERANCE, f"fine-tuned model: {error:.3f} nats off"
    if 0 not in audit.scores:
        return "works without the base model: " + audit.left_out["reference"]
    error = np.abs(audit.scores[0]["loss"] - base_expected).max()
    assert error < TOLERANCE, f"base model: {error:.3f} nats off"
    return "works"


def attempt(audit):
    """The result of an audit, or its one-line error."""
    try:
        return audit()
    except ByheartError as refusal:
        line = str(refusal)
        assert "\n" not in line, line
        return f"refused: {line}"


def outcome(kind, architecture, base, folder):
    """Audit a kind from files and in memory; return what became of each: "works", or a refusal's one line.

    Raises `AssertionError` for a wrong number or a changed object, and what the audit raises if it is no refusal.
    """
    tokenizer = AutoTokenizer.from_pretrained(base)
    texts = {part[:-1]: records(folder / f"{part}.jsonl", [{"text": t} for t in side]) for part, side in SIDES.items()}
    base_expected = mean_logps(fresh(base), tokenizer, TEXTS)
    try:
        model = adapted(kind, architecture, base, folder / "adapter")
    except Exception as error:  # noqa: BLE001 - the reason of the library is the outcome
        return {"library": f"{type(error).__name__}: {error}".splitlines()[0]}
    expected = mean_logps(model, tokenizer, TEXTS) if kind.runs else np.full(sum(map(len, SIDES.values())), np.nan)
    results = {}
    model.train()  # an audit evaluates it, and leaves it in the mode in which it was
    before = state(model)
    results["memory"] = attempt(
        lambda: reported(
            byheart.audit(model, tokenizer, *SIDES.values(), attacks=["loss", "reference"]), expected, base_expected
        )
    )
    changed = differences(before, state(model))
    assert not changed, f"the audit in memory changed {changed}"
    if kind.part is not None:
        place = folder / "adapter" / kind.part
        results["files"] = attempt(
            lambda: reported(
                audit_of_files(place, texts), loaded(base, place, tokenizer, runs=kind.runs), base_expected
            )
        )
    return results


def fresh(base):
    return AutoModelForCausalLM.from_pretrained(base).eval()


def loaded(base, place, tokenizer, *, runs):
    """The plain loop over an adapter as peft loads it."""
    if not runs:
        return np.full(sum(map(len, SIDES.values())), np.nan)
    model = fresh(base)
    model.config.use_cache = False
    return mean_logps(PeftModel.from_pretrained(model, str(place)).eval(), tokenizer, TEXTS)


def audit_of_files(place, texts):
    request = AuditRequest(sources=texts, settings=AuditSettings(attacks=["loss", "reference"]))
    return audit_files(
        request, str(place), adapter=None, base=None, placement=Placement(device="cpu"), on_status=lambda _: None
    )


def without_paths(found, folder):
    """Outcomes with `FOLDER` and `BASE` for the paths of this run."""
    return {how: re.sub(r"/\S*/(gpt2|llama|gemma|mixtral)\b", "BASE", line.replace(str(folder), "FOLDER"))
            for how, line in found.items()}  # fmt: skip


def committed():
    """The outcomes of docs/formats.json."""
    return json.loads(OUTCOMES.read_text(encoding="utf-8"))


def table():
    """Audit every kind; return outcomes by kind and architecture, as docs/formats.json has them."""
    found = {}
    with tempfile.TemporaryDirectory() as made:
        for architecture in ARCHITECTURES:
            save_tiny_model(architecture, Path(made) / architecture)
        for name, kind in KINDS.items():
            outcomes = {}
            for architecture in kind.architectures:
                with tempfile.TemporaryDirectory() as folder:
                    result = outcome(kind, architecture, str(Path(made) / architecture), Path(folder))
                    outcomes[architecture] = without_paths(result, folder)
            found[name] = {"type": kind.group, "outcomes": outcomes}
    return {"peft": peft.__version__, "adapters": found}
