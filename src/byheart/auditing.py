"""Audit a finished model: check, observe, attack, measure, judge. `byheart.audit` is this on objects in memory.

What can be refused without the model is refused before it is opened; the base is observed first and let go, so that two
models are never in memory unless they were there before.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from byheart.attacked import extracts
from byheart.audit_result import Audit, measured
from byheart.errors import ModelError, SettingError
from byheart.given import Given, parts, spelled
from byheart.inspection import asked, attacked, evidence, possible
from byheart.judged import ruling
from byheart.lm.forward import Scorer, trunk
from byheart.lm.load import LanguageModel
from byheart.lm.tokens import Tokens
from byheart.looks import Sides
from byheart.provenance import made
from byheart.shelf import Choice, checked, choose, types_of
from byheart.subject import Subject, held
from byheart.types import Extraction, Scores, Split, Texts, digest
from byheart.validity import Gate, gate
from byheart.watch import readable, realisable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

JUDGED = 10
"""Groups a side that the data gate needs."""
LOOKED_AT = 20_000
"""Training texts among which near copies of non-members are looked for."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """What an audit was asked for, apart from model and texts; checked when made."""

    attacks: Any = "default"
    max_texts: int = 1000
    max_tokens: int = 512
    fpr: float = 0.01
    precision: Literal["float32", "bfloat16"] = "float32"
    token_budget: int = 4096

    def __post_init__(self) -> None:
        """Refuse sizes below 1, rates outside (0, 1), attacks that do not exist."""
        for name in ("max_texts", "max_tokens", "token_budget"):
            if (value := checked(name, int, getattr(self, name))) < 1:
                raise SettingError(f"{name} = {value}: write a whole number above 0")
        checked("precision", Literal["float32", "bfloat16"], self.precision)
        checked("fpr", types_of(choose("metrics", "tpr_at_fpr").function)["fpr"], self.fpr)
        object.__setattr__(self, "attacks", asked(self.attacks))

    @property
    def metrics(self) -> tuple[Choice, ...]:
        """What is measured of every attack."""
        return choose("metrics", "auc"), choose("metrics", "tpr_at_fpr", {"fpr": self.fpr})

    @property
    def recipe(self) -> dict[str, Any]:
        """All of it in words and numbers, for whoever repeats the audit."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {**plain, "attacks": {n: a.recipe for n, a in self.attacks.items()}}


def audit(  # noqa: PLR0913 - settings come in by keyword
    model: torch.nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    members: Texts | Iterable[Any],
    nonmembers: Texts | Iterable[Any],
    *,
    base: torch.nn.Module | None = None,
    validation: Texts | Iterable[Any] | None = None,
    attacks: str | Sequence[str | Mapping[str, Mapping[str, Any]]] = "default",
    max_texts: int = 1000,
    max_tokens: int = 512,
    fpr: float = 0.01,
    precision: Literal["float32", "bfloat16"] = "float32",
    token_budget: int = 4096,
) -> Audit:
    """Audit a model in memory: was it trained on `members`, so far as the usual attacks can tell?

    Texts are strings, (prompt, completion) pairs, or records with `text`, `prompt` + `completion`, `messages` or Alpaca's
    fields, and may name their `id` and `group`. The base of a peft model is itself with the adapter switched off, of
    another model it is `base`; without one, attacks that need it are left out, which the result says. The model is left
    as it was. Raises `DataError`, `ModelError`, `SettingError` and `UnknownNameError` in one line each.
    """
    settings = Asked(
        attacks=attacks,
        max_texts=max_texts,
        max_tokens=max_tokens,
        fpr=fpr,
        precision=precision,
        token_budget=token_budget,
    )
    return audited(held(model, tokenizer, base), parts(members, nonmembers, validation), settings)


def audited(subject: Subject, texts: Mapping[str, Sequence[Given]], settings: Asked) -> Audit:
    """Return the audit of a subject on texts by their part ("member", "nonmember", "validation")."""
    began = time.monotonic()
    inputs = {"model", "tokens"} | ({"base_model"} if subject.base else set())
    attacks, left_out = possible(settings.attacks, inputs | ({"validation_tokens"} & _named(texts)))
    if all(map(extracts, attacks.values())):
        raise SettingError(
            f"attacks: {', '.join(attacks)} tell what a model writes of its texts and not whether it was trained on them, which "
            "is what an audit judges; name one more, such as loss"
        )
    split, sides = _split(texts, subject.tokenizer, settings)
    metrics, doubts = realisable(settings.metrics, len(split.nonmembers))
    judged = _gate(split, sides, texts, subject.tokenizer, settings)
    scores: dict[int, dict[str, Scores]] = {}
    extractions: dict[int, dict[str, Extraction]] = {}
    known: dict[str, Any] = {}
    stats: dict[int, dict[str, Any]] = {}
    read: dict[str, Tokens] = {}
    for epoch, opening in ((0, subject.base), (1, subject.tuned)):
        if opening is None:
            continue
        with opening() as model:
            trunk(model.module)
            scorer = Scorer(model, settings.token_budget, getattr(torch, settings.precision))
            read = _read(model, split, settings, read)
            given = {"model": scorer, "tokens": read["audited"], "validation_tokens": read.get("validation")}
            given |= {"base_model": scorer} if epoch == 0 else {}
            observed = evidence(attacks, given, known, untuned=epoch == 0)
            if epoch and known and np.array_equal(observed["target"].logp, known["target"].logp):
                raise ModelError(_UNCHANGED)
            stats[epoch] = {"target": observed["target"]}
            if "validation" in read:
                stats[epoch]["validation"] = observed.get("validation") or scorer(read["validation"])
        known = observed
        found = attacked(attacks, {**observed, "texts": read["audited"].texts}, len(sides.membership))
        scores[epoch] = {n: given["scores"] for n, given in found.items() if "extracted" not in given}
        extractions[epoch] = {n: Extraction(**given) for n, given in found.items() if "extracted" in given}
    called = {"base": subject.base_name, "dataset": "audited texts", "method": subject.method}
    rows = measured(called, attacks, metrics, scores, extractions, stats, split)
    cut = int((read["audited"].cut > 0).sum())
    alone = () if subject.base or subject.doubts else (_ALONE,)
    told = (*subject.doubts, *alone, *_doubts(texts, sides, cut, settings), *doubts)
    final = [r for r in rows if r.epoch == 1 and r.attack]
    return Audit(
        rows=rows,
        ruling=ruling(scores[1], scores.get(0, {}), final, sides, judged),
        gate=judged,
        doubts=told,
        left_out=left_out,
        ids=split.audited.ids,
        scores=scores,
        extractions=extractions,
        sides=sides,
        texts=split.audited,
        made={
            "model": subject.name,
            "base": subject.base_name if subject.base else "",
            "method": subject.method,
            "weights": dict(subject.hashes()),
            "data": {part: digest([t.content] for t in those) for part, those in texts.items()},
            "settings": settings.recipe,
            "texts": {"members": int(sides.membership.sum()), "nonmembers": int((~sides.membership).sum()), "cut": cut},
            **made(time.monotonic() - began),
        },
    )


_UNCHANGED = (
    "the model says of every text exactly what its base says: its adapter is not active, was not trained, or model and base "
    "are the same weights; name the model that training saved"
)


_ALONE = "without its base, what the model knew before it was tuned cannot be told from what it learnt; name it as base"


def _named(texts: Mapping[str, Sequence[Given]]) -> set[str]:
    return {f"{part}_tokens" for part in texts}


def _split(
    texts: Mapping[str, Sequence[Given]], tokenizer: PreTrainedTokenizerBase, settings: Asked
) -> tuple[Split, Sides]:
    """Return who plays which part, and the sides that are compared."""
    drawn = {part: spelled(part, those, settings.max_texts, tokenizer) for part, those in texts.items()}
    (ours, our_groups), (theirs, their_groups) = drawn["member"], drawn["nonmember"]
    validation, validation_groups = drawn.get("validation", (Texts((), ()), ()))
    split = Split(
        ours,
        tuple(range(len(ours))),
        theirs,
        validation,
        our_groups,
        their_groups,
        {},
        validation_groups=validation_groups,
    )
    return split, Sides(split.membership, split.groups)


def _gate(
    split: Split,
    sides: Sides,
    texts: Mapping[str, Sequence[Given]],
    tokenizer: PreTrainedTokenizerBase,
    settings: Asked,
) -> Gate | None:
    """Judge the audited texts, near copies being looked for among all members; None for too few to be judged."""
    groups = np.array(sides.groups)
    if min(len(set(groups[on])) for on in (sides.membership, ~sides.membership)) < JUDGED:
        return None
    whole, train_groups = spelled("member", texts["member"], LOOKED_AT, tokenizer)
    at = {name: i for i, name in enumerate(whole.ids)}
    if all(name in at for name in split.train.ids):
        members = tuple(at[name] for name in split.train.ids)
        split = dataclasses.replace(split, train=whole, members=members)
        return gate(split, train_groups=train_groups, max_tokens=settings.max_tokens, fpr=settings.fpr)
    return gate(split, max_tokens=settings.max_tokens, fpr=settings.fpr)


def _read(model: LanguageModel, split: Split, settings: Asked, before: Mapping[str, Tokens]) -> dict[str, Tokens]:
    """Return the texts as this model's tokens; raises `ModelError` where its base, `before`, reads others."""
    kinds = {"audited": split.audited} | ({"validation": split.validation} if len(split.validation) else {})
    read = {part: readable(model, those, settings.max_tokens) for part, those in kinds.items()}
    for part, tokens in before.items():
        if not np.array_equal(tokens.ids, read[part].ids):
            raise ModelError(
                "model and base read the texts as other tokens, so they cannot be compared; name the base that it was tuned from"
            )
    return read


def _doubts(texts: Mapping[str, Sequence[Given]], sides: Sides, cut: int, settings: Asked) -> Iterable[str]:
    """Yield what a reader must know of the texts before the numbers."""
    for part, those in texts.items():
        if copies := len(those) - len({t.content for t in those}):
            yield f"{copies} of {len(those)} {part} texts are copies of others there; copies count as one group"
    if cut:
        yield f"{cut} of {len(sides.membership)} texts are longer than {settings.max_tokens} tokens, or the context, and read in part"
