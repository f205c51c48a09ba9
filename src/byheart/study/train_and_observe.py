"""Train and observe: everything about a cell that needs a model, epoch by epoch, resumed where it was broken off.

An observation may ask, by position, for other observations, and for the inputs that `_input` makes: that closed list is
the architecture's true border, and a new kind of input is one more entry there (and in `needs.INPUTS`, for its identity).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from byheart.core.config import Machine
from byheart.core.dependencies import ATTRIBUTE_INPUTS, TOKEN_INPUTS
from byheart.core.errors import DataError, ModelError
from byheart.core.evidence import EVIDENCE_TYPES, ShadowPass, evidence_from_arrays, evidence_to_arrays
from byheart.core.make_evidence import make_evidence
from byheart.core.registry import Choice, key_of
from byheart.core.types import Texts
from byheart.stats.dp_accounting import privacy_settings
from byheart.store.store import Store, read_arrays, read_json, write_arrays
from byheart.study.checkpoints import drop_states, latest_state, save_state, write_weights
from byheart.study.evidence_keys import evidence_key, evidence_recipe
from byheart.study.planned_cell import PlannedCell
from byheart.study.remaining_work import epoch_work, observation_work
from byheart.study.shadow_models import shadow_cells, shadow_halves

if TYPE_CHECKING:
    from byheart.lm.load import LanguageModel, TrainableModel
    from byheart.lm.tokens import Tokens


class Event(NamedTuple):
    """Something worth telling: what, in which cell, in words, and how much work (token passes) was done by it.

    What a "begin" says was done, was done by an earlier run.
    """

    kind: Literal["begin", "step"]
    cell: str
    text: str
    work: float = 0.0


ProgressCallback = Callable[[Event], None]


@dataclass(frozen=True)
class _CellContext:
    """What a cell's models have in common while they are trained and observed."""

    planned: PlannedCell
    store: Store
    machine: Machine
    on_event: ProgressCallback
    tokens: Mapping[str, Tokens]


def observe(
    planned: PlannedCell,
    missing: Mapping[int, tuple[Choice, ...]],
    store: Store,
    machine: Machine,
    on_event: ProgressCallback,
    *,
    base_only: bool = False,
) -> None:
    """Train as far as needed and make every missing observation, epoch by epoch, resuming from the last whole one.

    With `untuned` nothing is trained: what is wanted at epoch 0 is made, and whatever it refuses is refused.
    """
    from byheart.lm import base_cache, load, train

    on_event(Event("begin", planned.label, "loading the base model"))
    device = load.torch_device(machine.device)
    model = base_cache.borrow(planned.cell.base, device)
    tokens = {w: _stored_tokens(planned, w, model, store) for w, texts in planned.texts.items() if len(texts)}
    _check_tokens(planned, model, tokens)
    bench = _CellContext(planned, store, machine, on_event, tokens)
    make_evidence(missing.get(0, ()), _StoreProvider(bench, 0, model))
    later = {e: w for e, w in missing.items() if e > 0}
    if base_only or (not later and store.has("training", planned.key)):
        return
    train.seed_rngs(planned.key)
    tuned = planned.cell.method(model)
    tuned.module.to(device)
    base_cache.copy_shared_trainable_weights(tuned.module)
    _train(bench, later, train.with_hidden_cache(load.LanguageModel(tuned.module, model.tokenizer, model.name)), tuned)


def release_base_model() -> None:
    """Let go of the base that this process keeps from cell to cell, if it ever loaded one."""
    held = sys.modules.get("byheart.lm.base_cache")
    if held is not None:
        held.release()


def _train(
    bench: _CellContext,
    observations_by_epoch: Mapping[int, tuple[Choice, ...]],
    model: LanguageModel,
    tuned: TrainableModel,
) -> None:
    from byheart.lm import train
    from byheart.lm.placement import device_of

    planned, store, settings = bench.planned, bench.store, bench.planned.cell.training
    if tuned.privacy != privacy_settings(planned.cell.method):
        raise DataError(
            f"methods {planned.cell.method.name} gives privacy = {tuned.privacy}, its file says {privacy_settings(planned.cell.method)}; "
            "let it say PRIVATE = True, and give its settings as they are"
        )
    rate = settings.learning_rate or tuned.learning_rate
    first = min(observations_by_epoch, default=settings.epochs)
    start = latest_state(planned, store, before=first)
    losses: list[float] = []
    seconds: list[float] = []
    if start is not None:
        losses, seconds = ([float(x) for x in start[1].pop(n)] for n in ("losses", "seconds"))
        done = start[0] * epoch_work(planned)
        bench.on_event(Event("begin", planned.label, f"going on after epoch {start[0]}", done))
    else:
        bench.on_event(Event("begin", planned.label, f"training epoch 1 of {settings.epochs}"))
    epochs = train.train(
        model,
        bench.tokens["train"],
        training=settings,
        learning_rate=rate,
        key=planned.key,
        precision=train.training_dtype(bench.machine.precision, device_of(model.module)),
        budget=bench.machine.token_budget,
        resume_from=start,
        dp_parameters=planned.spending,
    )
    began = time.monotonic()
    for epoch in epochs:
        losses.append(epoch.loss)
        seconds.append(time.monotonic() - began)
        bench.on_event(
            Event("step", planned.label, f"epoch {epoch.number} trained, loss {epoch.loss:.3f}", epoch_work(planned))
        )
        make_evidence(observations_by_epoch.get(epoch.number, ()), _StoreProvider(bench, epoch.number, model))
        if epoch.number < settings.epochs:
            save_state(planned, store, epoch, {"losses": losses, "seconds": seconds})
        began = time.monotonic()
    facts = {
        "trained_parameters": sum(p.numel() for p in train.trainable_parameters(model.module).values()),
        "learning_rate": rate,
        "losses": losses,
        "seconds": seconds,
        "truncated_texts": _truncated_text_count(bench),
        **_privacy_facts(planned),
    }

    def make(folder: Path) -> None:
        if (
            not planned.shadow_label
        ):  # nobody reads a shadow's weights again: there are many, and what they said is kept
            write_weights(folder, model)
        (folder / "facts.json").write_text(json.dumps(facts))

    store.get_or_make("training", planned.key, planned.recipe, make)
    drop_states(planned, store)


def _privacy_facts(planned: PlannedCell) -> dict[str, Any]:
    """Return what private training spent by each epoch, and with how much noise; nothing of training that is not private."""
    if planned.spending is None:
        return {}
    epsilons = [planned.spending.epsilon(e) for e in planned.epochs]
    return {
        "noise_multiplier": planned.spending.noise_multiplier,
        "delta": planned.spending.delta,
        "accountant_epsilon": epsilons,
    }


def _truncated_text_count(bench: _CellContext) -> int:
    """Return how many texts were cut, members counted once."""
    nonmembers = bench.tokens["audited"].cut[len(bench.planned.split.members) :]
    return sum(int((c > 0).sum()) for c in (bench.tokens["train"].cut, nonmembers, bench.tokens["validation"].cut))


@dataclass(frozen=True)
class _StoreProvider:
    """Provides the evidence of one epoch's model through the store.

    `base_model` is the same object as `model`: base evidence is made at epoch 0, before the method changes the model.
    """

    context: _CellContext
    epoch: int
    model: LanguageModel

    def argument(self, name: str) -> Any:
        """Return an input, or evidence from the store. The closed list: another input changes the architecture."""
        import torch

        from byheart.lm.forward import Scorer

        context = self.context
        if name in {"model", "base_model"}:
            return Scorer(self.model, context.machine.token_budget, getattr(torch, context.planned.scoring.precision))
        if name in TOKEN_INPUTS:
            return context.tokens[TOKEN_INPUTS[name]]
        if name in ATTRIBUTE_INPUTS:
            return getattr(context.planned.split, name)
        if name == "shadow_passes":
            return read_shadow_passes(context.planned, context.store, self.epoch)
        return read_evidence(context.planned, context.store, context.planned.observation(name), self.epoch)

    def provide(self, observation: Choice, compute: Callable[[], Any]) -> None:
        """Store the evidence unless another cell or run has stored it meanwhile."""
        planned, store = self.context.planned, self.context.store
        key = evidence_key(planned, observation, self.epoch)
        if store.has("evidence", key):
            return

        def make(folder: Path) -> None:
            evidence = compute()
            if observation.return_type not in EVIDENCE_TYPES or not isinstance(
                evidence, EVIDENCE_TYPES[observation.return_type]
            ):
                raise DataError(
                    f"observations {observation.name}: returned {type(evidence).__name__}, annotated as "
                    f"{observation.return_type or 'nothing'}. Return and annotate one of {', '.join(EVIDENCE_TYPES)}."
                )
            write_arrays(folder, evidence_to_arrays(evidence))

        store.get_or_make("evidence", key, evidence_recipe(planned, observation, self.epoch), make)
        done = observation_work(planned, observation)
        text = f"epoch {self.epoch} observed: {observation.name}"
        self.context.on_event(Event("step", planned.label, text, done))


def read_evidence(planned: PlannedCell, store: Store, observation: Choice, epoch: int) -> Any:
    """Return what was observed, from the store."""
    return evidence_from_arrays(
        observation.return_type, read_arrays(store.folder("evidence", evidence_key(planned, observation, epoch)))
    )


def read_shadow_passes(planned: PlannedCell, store: Store, epoch: int) -> tuple[ShadowPass, ...]:
    """Return what each shadow said of the audited texts and of the population, from the store."""
    shadows = shadow_cells(planned)
    return tuple(
        ShadowPass(inside, *(read_evidence(s, store, o, epoch) for o in s.observations))
        for s, inside in zip(shadows, shadow_halves(planned, len(shadows)), strict=True)
    )


def _check_tokens(planned: PlannedCell, model: LanguageModel, tokens: Mapping[str, Tokens]) -> None:
    """Refuse what the model cannot read, before anything is observed or trained."""
    largest = max(int(t.ids.max()) for t in tokens.values())
    if largest >= model.vocabulary_size:
        raise ModelError(
            f"model {model.name!r}: its tokenizer gives token {largest}, the model knows {model.vocabulary_size}; use the model's own tokenizer"
        )
    if "canaries" in tokens:
        _check_canaries_not_truncated(planned, tokens["canaries"])
    virtual = int(planned.cell.method.recipe["settings"].get("virtual_tokens", 0))
    longest = max(int(t.lengths.max()) for t in tokens.values())
    if model.context_length is not None and longest + virtual > model.context_length:
        raise DataError(
            f"the longest text has {longest} tokens, with {virtual} virtual ones more than the model's context of {model.context_length}; "
            f"set data.max_tokens to {model.context_length - virtual} or fewer"
        )


def _check_canaries_not_truncated(planned: PlannedCell, canaries: Tokens) -> None:
    """Refuse canaries whose completion is not all trained on: what was not trained on says nothing of what was kept."""
    whole = planned.texts["canaries"].scored
    cut = [i for i, kept, text in zip(canaries.texts.ids, canaries.texts.scored, whole, strict=True) if kept != text]
    if cut:
        raise DataError(
            f"{len(cut)} of {len(whole)} canaries, {cut[0]!r} first, are cut at data.max_tokens = {planned.cell.data.max_tokens}: "
            "write a larger one, or leave out the kinds of long canaries"
        )


def _stored_tokens(planned: PlannedCell, what: str, model: LanguageModel, store: Store) -> Tokens:
    """Return the tokens of a part, made once for a base and these texts."""
    from byheart.lm.tokens import Tokens, tokenize

    texts = planned.texts[what]
    recipe = planned.tokens_recipe(what)

    def make(folder: Path) -> None:
        made = tokenize(model.tokenizer, texts, planned.cell.data.max_tokens)
        write_arrays(folder, {"ids": made.ids, "starts": made.starts, "first": made.first, "cut": made.cut})
        kept = {i: s for i, (s, whole) in enumerate(zip(made.texts.scored, texts.scored, strict=True)) if s != whole}
        (folder / "cut.json").write_text(json.dumps(kept))
        if any(texts.chats):
            (folder / "prompts.json").write_text(json.dumps(made.texts.prompts))

    folder = store.get_or_make("tokens", key_of(recipe), recipe, make)
    return Tokens(**read_arrays(folder), texts=scored_texts(texts, folder))


def scored_texts(texts: Texts, folder: Path) -> Texts:
    """Return texts as the folder of their tokens has them: without what was cut off, chats in their model's template."""
    kept: dict[str, str] = read_json(folder / "cut.json")
    written = any(texts.chats)
    if not kept and not written:
        return texts
    prompts = tuple(read_json(folder / "prompts.json")) if written else texts.prompts
    return Texts(texts.ids, tuple(kept.get(str(i), s) for i, s in enumerate(texts.scored)), prompts)
