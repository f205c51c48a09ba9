"""Script: run the tasks in a folder's asked.json on the CPU and on another device, and write found.json.

It runs in a separate process, because a device stays registered with torch; one for all tasks, because torch loads slowly.
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
from byheart.lm import base_cache, devices, load
from testing import other_device


def main(folder):
    """Run all tasks of the folder's asked.json separately: the failure of one does not affect the others."""
    there = other_device.device()
    plain = load.read_module
    # A device in Python has no fused attention.
    load.read_module = lambda *names, **how: plain(*names, **how, attn_implementation="eager")
    operations = []
    operation = other_device.operation
    other_device.operation = lambda *words: operations.append(1) or operation(*words)
    requested = json.loads((folder / "asked.json").read_text())
    tasks = {"refusals": lambda: not_refused(there), "audit": lambda: audits(requested["audit"], there)}
    for name, content in requested["studies"].items():
        tasks[name] = partial(studies, content, folder / name, there)
    found = {}
    for name, task in tasks.items():
        operations.clear()
        try:
            found[name] = {"found": task(), "error": ""}
        except Exception:  # noqa: BLE001 - the test of this task reports it
            found[name] = {"found": None, "error": traceback.format_exc()[-3000:]}
        found[name]["operations"] = len(operations)
    (folder / "found.json").write_text(json.dumps(found))


def not_refused(there):
    """The operations that a GPU rejects and the device does not; empty if it is correct."""
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
    """The number of results of an audit with every attack on each device, and their largest difference."""
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
    """The number of rows of a study on the CPU, the rows that differ on the device, and the failed cells."""
    found, failed = [], []
    for place in (torch.device("cpu"), there):
        devices.torch_device = lambda _, place=place: place
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
