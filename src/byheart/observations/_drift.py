"""Activations of the base model at a few positions, and the distance of another model's activations from them.

Evidence of the base model is stored once for all methods, so it must be small: a few positions of some texts, and the most
likely next tokens only. All other tokens count as one outcome, so KL(base || model) is a lower bound of the divergence over the
whole vocabulary (data processing inequality); with `top` at least the vocabulary's size it is exact.

Attention weights on virtual tokens, which the base model lacks, count in full as moved:

    TV = (sum over the text's tokens of |w - w_base| + weight on virtual tokens) / 2
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from byheart.core.activations import Activations, Drift
from byheart.lm.activations import Entries, EntryActivations, entry_activations, spaced_entries

if TYPE_CHECKING:
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens


def base_activations(model: Scorer, tokens: Tokens, *, texts: int, positions: int, top: int) -> Activations:
    """Return the activations of a model at `positions` positions of at most `texts` texts, with the `top` next tokens."""
    entries = spaced_entries(tokens, texts=texts, positions=positions)
    count = len(entries.text)
    keys = np.concatenate([[0], np.cumsum(entries.position + 1)])
    hidden: list[np.ndarray] = [np.empty(0)] * count
    attention: list[np.ndarray] = [np.empty(0)] * count
    top_ids: list[np.ndarray] = [np.empty(0)] * count
    top_logp: list[np.ndarray] = [np.empty(0)] * count
    rest_logp = np.empty(count, dtype=np.float32)
    for batch in entry_activations(model, tokens, entries):
        logp_RV = batch.logits.log_softmax(1)
        top_RK = logp_RV.topk(min(top, logp_RV.shape[1])).indices
        rest_logp[batch.entries] = _log_rest(logp_RV, top_RK).cpu().numpy()
        columns = (batch.hidden, top_RK.int(), logp_RV.gather(1, top_RK))
        for stored, values in zip((hidden, top_ids, top_logp), columns, strict=True):
            for r, value in zip(batch.entries, values.cpu().numpy(), strict=True):
                stored[r] = value
        for row, r in enumerate(batch.entries):
            weights_LHK = _attention_of_entry(batch, row, int(entries.position[r]))[1]
            attention[r] = weights_LHK.permute(2, 0, 1).cpu().numpy()
    return Activations(
        text=entries.text,
        position=entries.position,
        hidden=np.stack(hidden),
        keys=keys,
        attention=np.concatenate(attention),
        top_ids=np.stack(top_ids),
        top_logp=np.stack(top_logp),
        rest_logp=rest_logp,
    )


def drift_from(model: Scorer, tokens: Tokens, base: Activations) -> Drift:
    """Return the distance of a model's activations from the base model's, mean over the positions of each text."""
    numbers: dict[str, list[np.ndarray]] = {
        name: [np.empty(0)] * len(base.text) for name in ("hidden", "cosine", "attention", "virtual", "next_token")
    }
    for batch in entry_activations(model, tokens, Entries(base.text, base.position)):
        rows = {**_hidden_distances(batch, base), "next_token": _next_token_divergence(batch, base)}
        for row, r in enumerate(batch.entries):
            numbers["attention"][r], numbers["virtual"][r] = _attention_distances(batch, row, base, int(r))
            for name, values in rows.items():
                numbers[name][r] = values[row]
    texts, starts = np.unique(base.text, return_index=True)
    counts = np.diff([*starts, len(base.text)])
    means = {
        name: np.add.reduceat(np.stack(values).astype(np.float64), starts, axis=0).T / counts
        for name, values in numbers.items()
    }
    return Drift(text=texts, **{name: values.T.astype(np.float32) for name, values in means.items()})


def _log_rest(logp_RV: torch.Tensor, top_RK: torch.Tensor) -> torch.Tensor:
    """Return the log-probability (nats) of all tokens but these together; minus infinity without other tokens."""
    return logp_RV.scatter(1, top_RK, -torch.inf).logsumexp(1)


def _attention_of_entry(batch: EntryActivations, row: int, position: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return an entry's attention weights by layer and head: their sum on virtual tokens (L, H), and (L, H, K) on the text.

    Layers may keep different numbers of virtual tokens.
    """
    if not batch.attention:
        empty = torch.empty(0, 0)
        return empty, torch.empty(0, 0, position + 1, dtype=torch.float16)
    virtual = torch.stack([a_RHK[row, :, : a_RHK.shape[2] - batch.length].sum(1) for a_RHK in batch.attention])
    text = torch.stack([a_RHK[row, :, -batch.length :][:, : position + 1] for a_RHK in batch.attention])
    return virtual, text.half()


def _attention_distances(
    batch: EntryActivations, row: int, base: Activations, entry: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return, by layer, the total variation distance of an entry's attention weights and their sum on virtual tokens."""
    virtual_LH, text_LHK = _attention_of_entry(batch, row, int(base.position[entry]))
    base_KLH = torch.from_numpy(base.attention[base.keys[entry] : base.keys[entry + 1]]).to(text_LHK.device)
    moved_LH = (text_LHK.float() - base_KLH.permute(1, 2, 0).float()).abs().sum(2)
    means = ((moved_LH + virtual_LH) / 2).mean(1), virtual_LH.mean(1)
    return means[0].cpu().numpy(), means[1].cpu().numpy()


def _hidden_distances(batch: EntryActivations, base: Activations) -> dict[str, np.ndarray]:
    """Return, by entry and state, the relative L2 distance of hidden states and 1 minus their cosine."""
    base_RSD = torch.from_numpy(base.hidden[batch.entries]).to(batch.hidden.device)
    base_norm, norm = base_RSD.norm(dim=2), batch.hidden.norm(dim=2)
    apart = (batch.hidden - base_RSD).norm(dim=2)
    # From the distance of unit vectors: 1 minus a dot product near 1 would be rounding.
    units = batch.hidden / norm[..., None], base_RSD / base_norm[..., None]
    cosine = (units[0] - units[1]).square().sum(2) / 2
    return {"hidden": (apart / base_norm).cpu().numpy(), "cosine": cosine.cpu().numpy()}


def _next_token_divergence(batch: EntryActivations, base: Activations) -> np.ndarray:
    """Return KL(base || model) of the next token (nats) by entry, all tokens but the base model's top as one outcome."""
    device = batch.logits.device
    logp_RV = batch.logits.log_softmax(1)
    top_RK = torch.from_numpy(base.top_ids[batch.entries].astype(np.int64)).to(device)
    base_RK = torch.from_numpy(base.top_logp[batch.entries]).to(device)
    base_rest, rest = torch.from_numpy(base.rest_logp[batch.entries]).to(device), _log_rest(logp_RV, top_RK)
    terms = (base_RK.exp() * (base_RK - logp_RV.gather(1, top_RK))).sum(1)
    rest_terms = torch.where(base_rest.isneginf(), 0.0, base_rest.exp() * (base_rest - rest))
    return (terms + rest_terms).clamp(min=0).cpu().numpy()
