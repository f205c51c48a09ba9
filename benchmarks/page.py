"""The page of the measurements, from results.json alone."""

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.pairs import Ratio

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

`make bench` measures what byheart costs beside what people use today, and writes this page; it takes half an hour
on two cores. Sides of a comparison are timed in turn, round by round, in one process or, where Trainer is one of
them, in a process each; what is shown of them are medians of the rounds' ratios with the least and the most, never one time
alone. There are three rounds, and two of what takes longest: Trainer with the memory kept, Trainer as it comes, and fifteen
epochs of the head. Starting a process and loading a model are not timed, and each side works for a moment first. What has no
range was measured once. `make bench PIECES=memory` measures one piece anew: {pieces}.
The model is SmolLM2-135M-Instruct, the texts are leads of Wikipedia articles of all lengths.
"""


def text(results: Mapping[str, Any]) -> str:
    """Return the page of all results."""
    known = {name: results[name] for name in SECTIONS if name in results}
    machines = {name: _machine(found) for name, found in known.items()}
    common = statistics.mode(machines.values())
    told = HEAD.format(pieces=", ".join(f"`{name}`" for name in SECTIONS))
    parts = [f"{told}\n{common}"]
    for name, found in known.items():
        parts += [SECTIONS[name](found), *([machines[name]] if machines[name] != common else [])]
    if known.keys() == SECTIONS.keys():
        parts.append(_short(known))
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
            f"{name}, {one['tokens'] / one['texts']:.0f} tokens each",
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
        "scored in",
        "time over the model's own forward pass",
        "one text at a time over ours",
        "tokens/s",
        "of the limit",
    ]
    told = (
        f"{texts} texts. All statistics of every token (log-probability, mean, standard deviation, entropy, rank) beside the model's own "
        "forward pass with logits over the same batches, with which nothing is done, and beside one text at a time with "
        "softmax and log-softmax over the whole vocabulary, as public attack scripts do it. The limit is what this machine "
        "makes of one large matrix product; no order of the same sums is faster.\n"
    )
    return "\n".join(["## Scoring\n", told, _table(head, lines)])


def _rate(one: Mapping[str, Any], precision: str) -> float:
    return one["tokens"] / statistics.median(one[precision]["seconds"]["ours"])


def _memory(found: Mapping[str, Any]) -> str:
    peak, whole = found["peak above the weights, MiB"], found["one batch's logits whole, MiB"]
    return (
        "## Memory\n\nA random Gemma 3 with a vocabulary of 262,144 scores texts of 1,024 tokens: the peak above the weights "
        f"is {peak:.0f} MiB. The logits of one batch, whole and in float32, would be {whole:.0f} MiB.\n"
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
    head = ["method", "Trainer at its best over ours", "the same, memory kept", "Trainer as it comes over ours"]
    head += ["loss, ours", "loss, best", "loss, as it comes", "tokens/s", "of the limit"]
    told = (
        f"{found['epochs']} epochs over {found['texts']} texts, eight a step: short, since nothing that is timed changes from step to "
        "step. "
        "Trainer at its best is bfloat16 with texts of like length together; as it comes, float32 in random order. "
        "Its sides are processes as a script without byheart has them: transformers loads the model, and the C library deals with "
        "memory by its own settings; byheart, when it loads a model, has its process keep what it frees. With the memory kept so "
        "by Trainer's process too, what is left is the difference in the work. The methods are byheart's on all sides. The loss "
        f"(nats a token) is that of the training texts afterwards; the sides read them in orders of their own, "
        f"and it differs by {apart:.2f} at most. Of the limit: the products that a method cannot do without, "
        "at ours, beside one large bfloat16 product; an adapter's own, and what attention multiplies, are not counted.\n"
    )
    return "\n".join(["## Training\n", told, _table(head, lines)])


def _heads(found: Mapping[str, Any]) -> str:
    return (
        f"## Head tuning\n\n{found['epochs']} epochs over {found['trained tokens']} tokens, {found['audited tokens']} audited "
        "tokens scored after each. Nothing below the head changes, so byheart runs the trunk once for what is trained and once for "
        "what is scored. Trainer (at its best, in a process as above), its model scored by byheart after each epoch, takes "
        f"{Ratio(*found['Trainer over ours'])} times as long. The head is a fifth of this model's products: at the same rate scoring by "
        "it alone can be five times as fast, and training by it alone, which goes through it twice and through the trunk not at "
        "all, three times.\n"
    )


def _harness(found: Mapping[str, Any]) -> str:
    lines = [[name, f"{value:.1f}"] for name, value in found.items() if name not in {"texts", "machine"}]
    told = (
        f"A finished study of {found['texts']:,} texts (a GPT-2 of two small layers: what byheart itself takes does not "
        "depend on the model), run again with attacks added. No model is loaded. Near copies are not looked for: its words are random.\n"
    )
    return "\n".join(["## A new attack over a finished study\n", told, _table(["command", "seconds"], lines)])


def _precision(found: Mapping[str, Any]) -> str:
    lines = [
        [name, f"{one['float32']:.3f}", f"{one['bfloat16']:.3f}", f"{one['rank correlation']:.4f}"]
        for name, one in found["attacks"].items()
    ]
    told = (
        "Scores are float32 unless `scoring: {precision: bfloat16}` says otherwise, which is more than twice as fast on "
        "processors that multiply bfloat16. What it does to a LoRA after two epochs, the same 64 members against the same 64; the AUCs are "
        "there to be compared with each other, and one alone is uncertain by up to .1:\n"
    )
    head = ["attack", "AUC, float32", "AUC, bfloat16", "rank correlation of the scores"]
    rest = (
        "\nOne study at either precision gave these; they took a minute or more, the longer one "
        f"{found['seconds of a study']:.0f} s, of which {found['share of byheart itself']:.1%} "
        "was not training and passes over texts but all else: importing libraries and loading the model "
        f"({found['of that importing libraries and loading the model']:.0%} of that), splitting and judging the data, attacks, "
        "intervals, files.\n"
    )
    return "\n".join(["## Precision\n", told, _table(head, lines), rest])


def _profiles(found: Mapping[str, Any]) -> str:
    shares = {name: one for name, one in found.items() if name != "machine"}
    kinds = next(iter(shares.values()))
    lines = [[kind, *(f"{one[kind]:.0%}" for one in shares.values())] for kind in kinds]
    told = "What operations take, by torch's profiler: whole leads scored, and the head trained and scored as above.\n"
    return "\n".join(["## Where the time goes\n", told, _table(["", *shares], lines)])


def _short(results: Mapping[str, Any]) -> str:
    """Return a list of the goals that are not reached, with the difference and its cause."""
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
    return f"""## What falls short

- **Long texts one at a time** take {at_once:.2f} times as long as ours in float32; meant were 1.5. A text of a hundred tokens
  fills two cores by itself, and ours already runs at {limit:.0%} of what the machine makes of one large matrix product; such products
  are {scored:.0%} of its time. Batches of 512 to 4,096 tokens, passes without a mask and plain attention were tried
  ([decisions](decisions.md#scoring)); none was faster.
- **Fifteen epochs of the head**: {whole:.2f} times; meant were 8. What is left is the head itself: its products for scoring and
  for training, {trained:.0%} of the time, which the factors above bound.
- **What byheart itself takes** of a study, meant to be 3 % at most, was {own:.1%} of one of {took:.0f} s; {any_script:.0%} of that
  is importing libraries and loading the model, as any script must, and none of it grows with the training. It was 3.0% of the
  last 49 minutes of `studies/attacks.yaml` (eight of twelve cells) with two workers, whatever one waited for the other at
  the end included.
- **No GPU** was there to measure on: neither speed nor what bfloat16 does there is known.
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
