"""`MemorizationCallback`: what a model in somebody else's trainer has come to know by heart, epoch by epoch.

Works in any `transformers.Trainer` and in TRL's `SFTTrainer`. The model that is handed to callbacks is the one inside
DistributedDataParallel, so the first process looks alone while the others wait for its word; what it says, stop or go
on, all of them do. Under FSDP2, where each holds a part of the weights, all pass the same texts and the first one judges.
"""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from peft import PeftModel
from transformers import TrainerCallback

from byheart.auditing.texts import texts_by_part
from byheart.auditing.training.alarms import Evaluation, leaking_attacks, log_entries, separable_on_base, stop_reason
from byheart.auditing.training.hf_trainer import broadcast_from_rank_zero, calling_trainer, log
from byheart.auditing.training.monitor import TrainingMonitor, create_monitor, observable_attacks
from byheart.auditing.training.output import FORMATS, check_output_path, write_atomically
from byheart.auditing.training.plot import PICTURE_FORMATS, curve_picture, is_notebook, show_in_notebook
from byheart.core.defaults import DEFAULT_ATTACKS
from byheart.core.errors import ByheartError, ModelError, SettingError
from byheart.core.registry import choose
from byheart.core.types import Row, Texts
from byheart.lm.preserve_state import FSDP2, sharding

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, TrainerControl, TrainerState, TrainingArguments


class MemorizationWarning(UserWarning):
    """The model has begun to leak, or its texts cannot show whether it does."""


class MemorizationCallback(TrainerCallback):
    """Attack a sample of training and held-out texts while a model trains, and log what leaked.

    `members` are texts that are trained on, `nonmembers` texts like them that are not; `validation` are others yet, for
    perplexity. Each is a string, a (prompt, completion) pair, or a record with `text`, `prompt` + `completion` or
    `messages`. There is a look before the first step, and then one every epoch, or `every` so many steps; at most
    `max_texts` a side are read, and `max_tokens` of each, which bounds what a look costs.

    Warns (`MemorizationWarning`) when an attack finds members beyond chance; the chance of any false alarm in a whole run
    is 5 % at most. Stops the training only if told to: `stop_above` an AUC, beyond chance; `stop_when_leakage_rises`
    beyond chance since the validation perplexity was at its best. `output` keeps the rows (.jsonl, .json, .parquet, .csv),
    `plot` the curve (.svg, .png, .pdf); a notebook shows it by itself.

    Raises `DataError` for texts that are missing, empty or trained on and held out at once, `SettingError` and
    `UnknownNameError` for settings; at the beginning of training `DataError` where there is no tokenizer. Weights that are
    shared out over processes in another way than FSDP2's (FSDP1, ZeRO-3, tensor parallelism) are not looked at: a warning
    says so before the first step, and that the audit is left to the end; `ModelError` where it was told to stop the training.
    """

    def __init__(  # noqa: PLR0913 - settings come in by keyword
        self,
        members: Texts | Iterable[Any],
        nonmembers: Texts | Iterable[Any],
        *,
        validation: Texts | Iterable[Any] | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        attacks: Sequence[str | Mapping[str, Mapping[str, Any]]] = DEFAULT_ATTACKS,
        every: Literal["epoch"] | int = "epoch",
        max_texts: int = 200,
        max_tokens: int = 512,
        fpr: float = 0.01,
        stop_above: float | None = None,
        stop_when_leakage_rises: bool = False,
        output: Path | str | None = None,
        plot: Path | str | None = None,
        token_budget: int = 4096,
    ) -> None:
        whole = {"max_texts": max_texts, "max_tokens": max_tokens, "token_budget": token_budget}
        given: dict[str, Any] = whole if every == "epoch" else {**whole, "every": every}
        for name, number in given.items():
            if not isinstance(number, int) or number < 1:
                raise SettingError(
                    f"{name} = {number!r}: write a whole number above 0{', or epoch' * (name == 'every')}"
                )
        if stop_above is not None and not 0.5 <= stop_above < 1:  # noqa: PLR2004 - chance
            raise SettingError(f"stop_above = {stop_above!r}: write an AUC from 0.5, which is chance, to below 1")
        if stop_when_leakage_rises and validation is None:
            raise SettingError("stop_when_leakage_rises goes by the validation perplexity: pass validation= texts")
        self._parts = texts_by_part(members, nonmembers, validation)
        self._attacks = observable_attacks(attacks)
        self._tpr = choose("metrics", "tpr_at_fpr", {"fpr": fpr})
        self._output, self._plot = (
            check_output_path("output", output, tuple(FORMATS)),
            check_output_path("plot", plot, PICTURE_FORMATS),
        )
        self._tokenizer, self._sizes = tokenizer, whole
        self._steps: int | None = given.get("every")
        self.stop_above, self.stop_when_leakage_rises = stop_above, stop_when_leakage_rises
        self.evaluations: list[Evaluation] = []
        self.leaking: list[str] = []
        """Attacks of which a warning was given."""
        self.seconds = self._began = self._opened = 0.0
        self._begun = False
        self._beside: Callable[[], object] | None = None
        self._in_notebook: Any = None

    @property
    def rows(self) -> list[Row]:
        """Every number of every look so far, on the first process."""
        return [row for look in self.evaluations for row in look.rows]

    @property
    def overhead(self) -> float:
        """Share of the time since training began that was spent looking."""
        return self.seconds / max(time.perf_counter() - self._began, 1e-9)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Look at the untuned model, and keep what it says of the texts."""
        self.evaluations, self.leaking, self.seconds, self._began = [], [], 0.0, time.perf_counter()
        self._begun, self._beside = False, None
        if how := sharding(kwargs["model"]):
            if how != FSDP2:
                self._skip_sharded(how, state)
                return
            self._beside = lambda: self._watch.evaluate(state.global_step, state.epoch or 0.0, is_first=not self._begun)
        self._trainer = calling_trainer()
        self._planned = min(state.num_train_epochs, state.max_steps)
        if self._steps:
            self._planned = math.ceil(state.max_steps / self._steps)
        self._watch = create_monitor(
            kwargs["model"],
            self._tokenizer or kwargs["processing_class"],
            self._parts,
            args=args,
            attacks=self._attacks,
            metrics=(choose("metrics", "auc"), self._tpr),
            is_stepwise=self._steps is not None,
            **self._sizes,
        )
        self._evaluate_on_rank_zero(lambda: self._evaluate_base(self._watch, state, control), state)
        self._begun = True

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Look at the model if it is time by steps; the last step always is."""
        del args, kwargs
        if self._steps and (state.global_step % self._steps == 0 or state.global_step >= state.max_steps):
            self._evaluate(state, control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Look at the model if it is time by epochs."""
        del args, kwargs
        if not self._steps:
            self._evaluate(state, control)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Say what looking cost, and let the model go: whoever keeps the callback wants its rows."""
        del args, control, kwargs
        for held in ("_watch", "_trainer"):
            vars(self).pop(held, None)
        self._beside = None
        if self._begun and state.is_world_process_zero:
            said = "%d looks took %.1f s, %.0f %% of the training's time; max_texts, max_tokens and every bound it"
            logging.getLogger(__name__).info(said, len(self.evaluations), self.seconds, 100 * self.overhead)

    def _evaluate_base(self, watched: TrainingMonitor, state: TrainerState, control: TrainerControl) -> bool:
        for doubt in watched.doubts:
            _warn(doubt)
        first = watched.evaluate(0, 0.0, is_first=True)
        if state.global_step and not isinstance(watched.module, PeftModel):
            _warn(
                f"training goes on from step {state.global_step} and the untuned model is not here: attacks that compare with "
                "it compare with the model as it is now"
            )
            return False
        self._log_evaluation(first, state, control)
        if watched.record_labels.has_enough_groups and (names := separable_on_base(first, watched.record_labels)):
            _warn(
                f"members and non-members differ by themselves: {', '.join(names)} tells them apart on the untuned model; "
                "later numbers hold that difference, and a warning needs a rise above it"
            )
        return False

    def _skip_sharded(self, how: str, state: TrainerState) -> None:
        """Say that nothing is looked at while this model trains."""
        if self.stop_above is not None or self.stop_when_leakage_rises:
            raise ModelError(
                f"{how} keeps a share of the weights on each process, so that this training cannot be watched, nor stopped for what "
                "it leaks; leave out stop_above and stop_when_leakage_rises, or train with FSDP2 or DistributedDataParallel"
            )
        if state.is_world_process_zero:
            _warn(
                f"{how} keeps a share of the weights on each process: nothing is looked at while it trains. Save the whole model at "
                "the end and audit that: byheart audit --model FOLDER --members FILE --nonmembers FILE"
            )

    def _evaluate(self, state: TrainerState, control: TrainerControl) -> None:
        if not self._begun:
            return
        if self._evaluate_on_rank_zero(lambda: self._evaluate_and_warn(self._watch, state, control), state):
            control.should_training_stop = True

    def _evaluate_on_rank_zero(self, look: Callable[[], bool], state: TrainerState) -> bool:
        """Look on the first process, and add the time to what looking has cost; the others wait as long."""
        self._opened = time.perf_counter()
        try:
            return broadcast_from_rank_zero(look, state, self._beside)
        finally:
            self.seconds += time.perf_counter() - self._opened

    def _evaluate_and_warn(self, watched: TrainingMonitor, state: TrainerState, control: TrainerControl) -> bool:
        """Look at the model, log it, warn, and return whether to stop."""
        try:
            look = watched.evaluate(state.global_step, state.epoch or 0.0)
        except ByheartError as error:
            # A model that diverged is its trainer's to judge: watching does not end the training.
            _warn(f"no numbers after step {state.global_step}: {error}")
            return False
        self._log_evaluation(look, state, control)
        if not watched.record_labels.has_enough_groups:
            return False
        new = [
            n for n in leaking_attacks(self.evaluations, watched.record_labels, self._planned) if n not in self.leaking
        ]
        if new:
            told = ", ".join(f"{n} at AUC {look.value('auc', n):.3f}" for n in new)
            _warn(
                f"after step {look.step} (epoch {look.epoch:.2f}) the model knows its training texts: {told}, and 0.5 is "
                f"chance; any false alarm in all {self._planned} looks has a chance of 5 % at most"
            )
        self.leaking += new
        why = stop_reason(
            self.evaluations,
            watched.record_labels,
            self._planned,
            self.stop_above,
            stop_when_rising=self.stop_when_leakage_rises,
        )
        if why:
            _warn(f"training stops after step {look.step}: {why}")
        return bool(why)

    def _log_evaluation(self, look: Evaluation, state: TrainerState, control: TrainerControl) -> None:
        """Keep a look's numbers, and show them wherever they are to be shown."""
        self.evaluations.append(look)
        log(self._trainer, log_entries(look, self.seconds + time.perf_counter() - self._opened), state, control)
        if self._output:
            write_atomically(self._output, FORMATS[self._output.suffix](self.rows))
        if self._plot:
            write_atomically(self._plot, curve_picture(self.evaluations, self._plot.suffix[1:]))
        if is_notebook():
            self._in_notebook = show_in_notebook(self.evaluations, self._in_notebook)


def _warn(message: str) -> None:
    warnings.warn(message, MemorizationWarning, stacklevel=2)
