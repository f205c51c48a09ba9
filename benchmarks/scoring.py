"""Scoring: every statistic of every token, compared with the model's forward pass and with one text at a time."""

from dataclasses import replace

import torch
from torch.nn.functional import log_softmax, softmax

from benchmarks import subjects
from benchmarks.pairs import ratio, timed
from byheart.lm.batching import batches, device_budget
from byheart.lm.devices import device_of
from byheart.lm.forward import padded_batch, scoring_mode, token_stats
from byheart.lm.load import LanguageModel
from byheart.lm.tokens import Tokens

TEXTS = 48
BUDGET = 4096
WORDS = 32
ROUNDS = 3


def measured() -> dict[str, object]:
    """Return ratios at float32 and bfloat16, for complete texts and for their first words."""
    model = subjects.model()
    whole = subjects.texts(TEXTS)
    short = replace(whole, scored=tuple(" ".join(t.split()[:WORDS]) for t in whole.scored))
    found: dict[str, object] = {}
    for name, texts in {"whole leads": whole, f"their first {WORDS} words": short}.items():
        tokens = subjects.tokens(model, texts)
        found[name] = {"tokens": int(tokens.lengths.sum()), "texts": TEXTS}
        for precision in (torch.float32, torch.bfloat16):
            found[name][str(precision).removeprefix("torch.")] = _compared(model, tokens, precision)
    return found


def forward(model: LanguageModel, tokens: Tokens, precision: torch.dtype) -> None:
    """Run the model's forward pass with logits over the batches of scoring, without statistics."""
    with scoring_mode(model.module, precision):
        for chosen in batches(tokens.lengths, device_budget(model.module, BUDGET)):
            model.module(input_ids=padded_batch(tokens, chosen)[0].to(device_of(model.module)))
    subjects.settled(model)


def _compared(model: LanguageModel, tokens: Tokens, precision: torch.dtype) -> dict[str, object]:
    device = next(model.module.parameters()).device

    def ours() -> None:
        token_stats(model, tokens, budget=BUDGET, precision=precision)

    def each() -> None:
        """One text at a time: its loss, and the statistics of Min-K%++, as in public attack scripts."""
        with scoring_mode(model.module, precision):
            for i in range(len(tokens)):
                ids = torch.from_numpy(tokens.ids[tokens.starts[i] : tokens.starts[i + 1]])[None].to(device)
                out = model.module(ids, labels=ids)
                p, logp = softmax(out.logits[0, :-1], dim=-1), log_softmax(out.logits[0, :-1], dim=-1)
                mean = (p * logp).sum(-1)
                variance = (p * torch.square(logp)).sum(-1) - torch.square(mean)
                (out.loss.item(), logp.gather(-1, ids[0, 1:, None]).cpu(), mean.cpu(), variance.cpu())

    seconds = timed({"ours": ours, "forward": lambda: forward(model, tokens, precision), "each": each}, rounds=ROUNDS)
    return {
        "seconds": seconds,
        "matrix products, GFLOP/s": subjects.products(precision, device),
        "GFLOP a token": 2 * subjects.matrices(model) / 1e9,
        "ours over forward": ratio(seconds, "ours", "forward"),
        "one at a time over ours": ratio(seconds, "each", "ours"),
    }
