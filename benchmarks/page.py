"""The page of the measurements, from results.json alone."""

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.pairs import Ratio

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

This page compares the speed and memory of byheart with the model's own forward pass, public attack scripts, and transformers'
`Trainer`. `make bench` runs all measurements and writes this page; it takes half an hour on two cores.
`make bench PIECES=memory` repeats one piece: {pieces}.

- **Ratios.** The implementations of a comparison run in turn, round by round. A ratio of times is the median of the rounds' ratios,
  with the minimum and maximum in brackets.
- **Rounds.** There are three rounds. The slowest measurements have two: Trainer with freed memory kept, Trainer with default
  settings, and 15 epochs of head tuning. Throughput (tokens/s) uses the median time. The times of `--help` and `rows` are the
  minimum of five runs. All other numbers without brackets were measured once.
- **Processes.** In comparisons with Trainer, each implementation runs in its own process; in others, all run in one process. Each
  implementation runs briefly before it is timed. The start of a process and the loading of a model are not timed.
- **Matmul peak.** The throughput of one large matrix product on this machine, in the same precision. No other order of the same
  operations is faster.

The model is SmolLM2-135M-Instruct. The texts are lead sections of Wikipedia articles of all lengths.
"""
LABELS = {
    "whole leads": "full lead sections",
    "their first 32 words": "first 32 words",
    "nothing left to do": "`run`, no changes",
    "--help": "`--help`",
    "rows": "`rows`",
    "the rest": "other",
    "epochs of the head": "head tuning",
}
"""Names in results.json as the page prints them."""


def text(results: Mapping[str, Any]) -> str:
    """Return the page of all results."""
    known = {name: results[name] for name in SECTIONS if name in results}
    machines = {name: _machine(found) for name, found in known.items()}
    common = statistics.mode(machines.values())
    head = HEAD.format(pieces=", ".join(f"`{name}`" for name in SECTIONS))
    parts = [f"{head}\n{common}"]
    for name, found in known.items():
        parts += [SECTIONS[name](found), *([machines[name]] if machines[name] != common else [])]
    if known.keys() == SECTIONS.keys():
        parts.append(_goals_not_met(known))
    return "\n".join(parts)


def _table(head: list[str], lines: list[list[object]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows) + "\n"


def _machine(found: Mapping[str, Any]) -> str:
    machine = dict(found["machine"])
    processor, cores, gpu = (machine.pop(n) for n in ("processor", "cores", "GPU"))
    on = f"{processor}, {cores} threads" if gpu == "none" else gpu
    return f"Measured on {on}; " + ", ".join(f"{n} {v}" for n, v in machine.items()) + ".\n"


def _scoring(found: Mapping[str, Any]) -> str:
    lines = [
        [
            f"{_label(name)} (mean: {one['tokens'] / one['texts']:.0f} tokens)",
            precision,
            Ratio(*one[precision]["ours over forward"]),
            Ratio(*one[precision]["one at a time over ours"]),
            f"{_rate(one, precision):.0f}",
            f"{_rate(one, precision) * one[precision]['GFLOP a token'] / one[precision]['matrix products, GFLOP/s']:.0%}",
        ]
        for name, one in found.items()
        if "texts" in one
        for precision in ("float32", "bfloat16")
    ]
    texts = next(one["texts"] for one in found.values() if "texts" in one)
    head = [
        "texts",
        "precision",
        "time: byheart / forward pass",
        "time: one text at a time / byheart",
        "byheart, tokens/s",
        "byheart, share of matmul peak",
    ]
    introduction = f"""byheart scores {texts} texts: it computes the log-probability, mean, standard deviation, entropy and rank of
every token. Two alternatives are timed:

- **forward pass**: the model's own forward pass on the same batches, which returns logits and computes nothing from them;
- **one text at a time**: softmax and log-softmax over the whole vocabulary for each text, as in public attack scripts.

The ratio columns divide times: with a ratio "byheart / forward pass" of 1.03, byheart takes 1.03 times as long.
"""
    return "\n".join(["## Scoring\n", introduction, _table(head, lines)])


def _label(name: str) -> str:
    return LABELS.get(name, name)


def _rate(one: Mapping[str, Any], precision: str) -> float:
    return one["tokens"] / statistics.median(one[precision]["seconds"]["ours"])


def _memory(found: Mapping[str, Any]) -> str:
    peak, whole = found["peak above the weights, MiB"], found["one batch's logits whole, MiB"]
    return (
        "## Memory\n\nbyheart scores texts of 1,024 tokens with a randomly initialized Gemma 3 that has a vocabulary of 262,144. Its peak "
        f"memory is {peak:.0f} MiB above the weights. The complete logits of one batch in float32 would take {whole:.0f} MiB.\n"
    )


def _training(found: Mapping[str, Any]) -> str:
    lines = []
    apart = 0.0
    for method, one in found.items():
        if isinstance(one, dict) and "seconds" in one:
            apart = max(apart, max(one["loss after training"].values()) - min(one["loss after training"].values()))
            losses = one["loss after training"]
            rate = found["tokens"] / statistics.median(one["seconds"]["ours"])
            lines.append(
                [
                    method,
                    Ratio(*one["Trainer at its best over ours"]),
                    Ratio(*one["Trainer at its best, memory kept, over ours"]),
                    Ratio(*one["Trainer as it comes over ours"]),
                    *(f"{losses[side]:.3f}" for side in ("ours", "best", "default")),
                    f"{rate:.0f}",
                    f"{rate * one['GFLOP a token'] / found['matrix products, GFLOP/s']:.0%}",
                ]
            )
    head = [
        "method",
        "time: Trainer, best settings / byheart",
        "time: Trainer, best settings, freed memory kept / byheart",
        "time: Trainer, default settings / byheart",
        "loss: byheart",
        "loss: Trainer, best settings",
        "loss: Trainer, default settings",
        "byheart, tokens/s",
        "byheart, share of matmul peak",
    ]
    introduction = f"""Each method is trained for {found["epochs"]} epochs on {found["texts"]} texts with a batch size of
eight. A short training is sufficient, because the time of a step does not change. Trainer runs in three configurations:

| configuration | precision | order of texts | loading of the model | memory |
| --- | --- | --- | --- | --- |
| default settings | float32 | random | transformers, as in a script without byheart | default settings of the C library |
| best settings | bfloat16 | texts of similar length in one batch | as above | as above |
| best settings, freed memory kept | as above | as above | byheart, which makes the process keep freed memory | freed memory kept |

byheart also keeps freed memory, so the third configuration excludes this effect and shows the difference in computation. All
configurations train the same modules, which byheart's methods create.

- **Time**: Trainer's time divided by byheart's. With a ratio of 2, Trainer takes twice as long.
- **Loss**: mean negative log-likelihood of the training texts after training, in nats per token. Each configuration reads the texts
  in its own order. The losses of a method differ by at most {apart:.2f}.
- **Share of matmul peak**: counts only the matrix products that a method requires, in bfloat16. It excludes the products of
  adapters and of attention.
"""
    return "\n".join(["## Training\n", introduction, _table(head, lines)])


def _heads(found: Mapping[str, Any]) -> str:
    trained, audited = found["trained tokens"], found["audited tokens"]
    return f"""## Head tuning

The head is trained for {found["epochs"]} epochs on {trained:,} tokens. After each epoch, {audited:,} audited tokens are scored. The layers
below the head do not change, so byheart runs them once for the training texts and once for the audited texts. Trainer runs with best
settings in its own process, and byheart's scorer scores its model after each epoch. Trainer takes {Ratio(*found["Trainer over ours"])}
times as long as byheart.

The head has one fifth of the model's matrix products, which limits the speedup. At equal throughput, scoring with the head alone can be
five times as fast. Training with the head alone can be three times as fast: each step passes through the head twice and never through
the layers below.
"""


def _harness(found: Mapping[str, Any]) -> str:
    lines = [[_command(name), f"{value:.1f}"] for name, value in found.items() if name not in {"texts", "machine"}]
    introduction = f"""A finished study of {found["texts"]:,} texts runs again, each time with one more attack. No model is loaded. The
study's model is a GPT-2 with two small layers, because the time of byheart itself does not depend on the model. The search for near
duplicates is off, because the texts are random words.
"""
    return "\n".join(
        ["## A new attack on a finished study\n", introduction, _table(["byheart command", "time (s)"], lines)]
    )


def _command(name: str) -> str:
    added = name.removeprefix("with ").removesuffix(" added")
    return _label(name) if added == name else f"`run` with `{added}` added"


def _precision(found: Mapping[str, Any]) -> str:
    lines = [
        [name, f"{one['float32']:.3f}", f"{one['bfloat16']:.3f}", f"{one['rank correlation']:.4f}"]
        for name, one in found["attacks"].items()
    ]
    introduction = """Scores are computed in float32 by default. `scoring: {precision: bfloat16}` is more than twice as fast on processors
with bfloat16 matrix products. The table shows its effect for a LoRA after two epochs, with the same 64 members and 64 non-members.
Compare only the two AUCs of an attack: the error of a single AUC is up to .1.
"""
    head = ["attack", "AUC, float32", "AUC, bfloat16", "rank correlation of the scores"]
    share, loading = found["share of byheart itself"], found["of that importing libraries and loading the model"]
    rest = f"""Each precision has one study, which took a minute or more; the longer one took {found["seconds of a study"]:.0f} s. At most
{share:.1%} of a study's time was spent outside training and forward passes: on importing libraries and loading the model
({loading:.0%} of this time), the split and its check, attacks, intervals, and files.
"""
    return "\n".join(["## Precision\n", introduction, _table(head, lines), rest])


def _profiles(found: Mapping[str, Any]) -> str:
    shares = {name: one for name, one in found.items() if name != "machine"}
    kinds = next(iter(shares.values()))
    lines = [[_label(kind), *(f"{one[kind]:.0%}" for one in shares.values())] for kind in kinds]
    introduction = (
        "Shares of time by operation, from torch's profiler. The texts are those of scoring and of head tuning above.\n"
    )
    return "\n".join(["## Where the time goes\n", introduction, _table(["operation", *map(_label, shares)], lines)])


def _goals_not_met(results: Mapping[str, Any]) -> str:
    """Return the list of goals that are not met, with the measured value and its cause."""
    slowest = min(
        (one for one in results["scoring"].values() if "texts" in one),
        key=lambda one: one["float32"]["one at a time over ours"][0],
    )
    there = slowest["float32"]
    limit = _rate(slowest, "float32") * there["GFLOP a token"] / there["matrix products, GFLOP/s"]
    at_once, whole = there["one at a time over ours"][0], results["heads"]["Trainer over ours"][0]
    precision = results["precision"]
    took = precision["seconds of a study"]
    own, any_script = (
        precision["share of byheart itself"],
        precision["of that importing libraries and loading the model"],
    )
    scored, trained = (
        results["profiles"][name]["matrix products"] for name in ("scoring, float32", "epochs of the head")
    )
    return f"""## Goals not met

| goal | measured |
| --- | --- |
| one text at a time takes at least 1.5 times as long as byheart | {at_once:.2f} times for full lead sections in float32 |
| Trainer takes at least 8 times as long as byheart for 15 epochs of head tuning | {whole:.2f} times |
| at most 3 % of a study's time is outside training and forward passes | up to {own:.1%} in two studies; the longer took {took:.0f} s |

- **Long texts in float32.** A text of a hundred tokens occupies two cores by itself, and byheart already reaches {limit:.0%} of the matmul
  peak. Matrix products are {scored:.0%} of its time. Batches of 512 to 4,096 tokens, forward passes without a mask, and plain attention
  were tried ([decisions](decisions.md#scoring)); none was faster.
- **Head tuning.** What remains is the head itself: its matrix products for scoring and training take {trained:.0%} of the time. The
  limits in [head tuning](#head-tuning) apply to them.
- **Time outside training and forward passes.** Importing libraries and loading the model take {any_script:.0%} of it, as in any script.
  It does not grow with the length of the training, so its share is smaller in longer studies.
- **GPU.** No GPU was available. Neither the speed on a GPU nor the effect of bfloat16 there is known. `benchmarks/gpu.sh` compares a
  GPU's numbers with the CPU's and measures scoring and training there, also for random models of 1 and 7 billion parameters.
"""


SECTIONS = {
    "scoring": _scoring,
    "memory": _memory,
    "training": _training,
    "heads": _heads,
    "harness": _harness,
    "precision": _precision,
    "profiles": _profiles,
}
