"""Run as a script on a folder: what its asked.json names, on the CPU and on another device, into its found.json.

A process of its own, since a device once known to torch stays known; one for all of it, since torch loads slowly.
"""

import json
import math
import sys
import traceback
from functools import partial
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model

import byheart
from byheart.lm import base_cache, load
from testing import other_device


def main(folder):
    """Do all that the folder's asked.json names, each by itself: what one finds is kept where another fails."""
    there = other_device.device()
    plain = load.read_module
    # Fused attention of a device that is written in Python is not to be had.
    load.read_module = lambda *names, **how: plain(*names, **how, attn_implementation="eager")
    operations = []
    operation = other_device.operation
    other_device.operation = lambda *words: operations.append(1) or operation(*words)
    asked = json.loads((folder / "asked.json").read_text())
    tasks = {"refusals": lambda: not_refused(there), "audit": lambda: audits(asked["audit"], there)}
    for name, content in asked["studies"].items():
        tasks[name] = partial(studies, content, folder / name, there)
    found = {}
    for name, task in tasks.items():
        operations.clear()
        try:
            found[name] = {"found": task(), "error": ""}
        except Exception:  # noqa: BLE001 - told by the test of this one
            found[name] = {"found": None, "error": traceback.format_exc()[-3000:]}
        found[name]["operations"] = len(operations)
    (folder / "found.json").write_text(json.dumps(found))


def not_refused(there):
    """What a GPU refuses and the device does not; nothing, where it is as it should be."""
    a, places = torch.ones(3, 2, device=there), torch.tensor([0, 2])
    assert (a + a.sum() + torch.tensor(1.0))[places].tolist() == [[8.0, 8.0]] * 2
    assert a.to("cpu").numpy().sum() == 6
    calls = {
        "a sum over two devices": lambda: a + torch.ones(3, 2),
        "places elsewhere": lambda: torch.nn.functional.embedding(places, a),
        "an array": a.numpy,
        "a driver": lambda: torch.linalg.lstsq(a, a, driver="gelsd"),
    }
    passed = []
    for name, call in calls.items():
        try:
            call()
        except (RuntimeError, TypeError):
            continue
        passed.append(name)
    return passed


def audits(folder, there):
    """How many numbers an audit of every attack gives on each device, and how far apart they are at most."""
    found = []
    texts = [f"The {n} sailor wrote {n * n} letters to {n + 7} queens." for n in range(40)]
    for place in ("cpu", there):
        model = load.load(folder)
        torch.manual_seed(1)
        module = get_peft_model(model.module, LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False)).to(place)
        stats = byheart.token_stats(module, model.tokenizer, texts)
        audit = byheart.audit(module, model.tokenizer, texts[:20], texts[20:], attacks="all")
        rows = [r.value for r in audit.rows if not r.metric.endswith("seconds")]
        found.append([*stats.logp[:50].tolist(), *rows])
    return {"numbers": list(map(len, found)), "apart": max(abs(a - b) for a, b in zip(*found, strict=True))}


def studies(content, folder, there):
    """How many rows a study has on the CPU, which of them differ on the device, and which cells failed."""
    found, failed = [], []
    for place in (torch.device("cpu"), there):
        load.torch_device = lambda _, place=place: place
        base_cache.release()
        results = byheart.run(content, store=folder / place.type)
        failed += [f"{place} {o.cell}: {o.error} {o.trace[-2000:]}" for o in results.failed]
        found.append({_label(r): r.value for r in results.rows if not r.metric.endswith("seconds")})
    return {"rows": len(found[0]), "differ": _apart(*found), "failed": failed}


def _label(row):
    return f"{row.method} {row.attack} {row.attack_settings} {row.metric} {row.metric_settings} {row.epoch}"


def _apart(one, other):
    return {
        label: [one.get(label), other.get(label)]
        for label in {*one, *other}
        if not math.isclose(one.get(label, math.nan), other.get(label, math.nan), rel_tol=1e-3, abs_tol=1e-3)
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
