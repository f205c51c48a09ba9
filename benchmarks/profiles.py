"""Profile of scoring and of the head's epochs: shares of operations, by torch's profiler."""

from collections import Counter
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks import heads, subjects
from benchmarks.training import wrapped
from byheart.lm.forward import token_stats

TEXTS = 48
EPOCHS = 5
KINDS = {
    "matrix products": ("mm", "addmm", "bmm", "baddbmm", "linear"),
    "attention": ("scaled_dot_product",),
    "copies and casts": ("copy_", "cat", "fill_", "index", "clone"),
    "softmax and statistics": ("log_softmax", "exp", "gt", "sum", "gather", "nan_to_num", "sub_", "clamp_min_"),
}
REST = "the rest"


def measured() -> dict[str, object]:
    """Return the share of each kind of operation in torch's time."""
    model = subjects.model()
    tokens = subjects.tokens(model, subjects.texts(TEXTS))

    def scored(precision: torch.dtype) -> Callable[[], object]:
        return lambda: token_stats(model, tokens, precision=precision)

    few, audited = (subjects.tokens(model, subjects.texts(n)) for n in (heads.TRAIN, heads.AUDITED))
    head, rate = wrapped(model, "head")
    return {
        "scoring, float32": _shares(scored(torch.float32)),
        "scoring, bfloat16": _shares(scored(torch.bfloat16)),
        "epochs of the head": _shares(lambda: heads.ours(head, rate, few, audited, epochs=EPOCHS)),
    }


def _shares(run: Callable[[], object]) -> dict[str, float]:
    """Return the share of each kind of operation, largest first; an operation counts without the operations that it calls."""
    with profile(activities=[ProfilerActivity.CPU]) as found:
        run()
    spent: Counter[str] = Counter()
    for event in found.key_averages():
        spent[_kind(event.key)] += event.self_cpu_time_total
    return {kind: spent[kind] / spent.total() for kind in (*KINDS, REST)}


def _kind(operation: str) -> str:
    name = operation.removeprefix("aten::").lstrip("_")
    return next((kind for kind, names in KINDS.items() if name.startswith(names)), REST)
