"""Run as a script: STUDY.json on the CPU and on another device; FOUND.json tells what differs and what failed.

A process of its own, since a device once known to torch stays known.
"""

import json
import math
import sys
from pathlib import Path

import torch

import byheart
from byheart.lm import base_cache, load
from testing import other_device


def main(study, told):
    there = other_device.device()
    plain = load.read_module
    # Fused attention of a device that is written in Python is not to be had.
    load.read_module = lambda *names, **how: plain(*names, **how, attn_implementation="eager")
    operations = []
    operation = other_device.operation
    other_device.operation = lambda *words: operations.append(1) or operation(*words)
    found, failed = [], []
    for place in (torch.device("cpu"), there):
        load.device = lambda _, place=place: place
        base_cache.release()
        results = byheart.run(json.loads(study.read_text()), store=study.parent / place.type)
        failed += [f"{place} {o.cell}: {o.error} {o.trace[-2000:]}" for o in results.failed]
        found.append({_label(r): r.value for r in results.rows if not r.metric.endswith("seconds")})
    content = {"rows": len(found[0]), "operations": len(operations), "differ": _apart(*found), "failed": failed}
    told.write_text(json.dumps(content))


def _label(row):
    return f"{row.method} {row.attack} {row.attack_settings} {row.metric} {row.metric_settings} {row.epoch}"


def _apart(one, other):
    return {
        label: [one.get(label), other.get(label)]
        for label in {*one, *other}
        if not math.isclose(one.get(label, math.nan), other.get(label, math.nan), rel_tol=1e-3, abs_tol=1e-3)
    }


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
