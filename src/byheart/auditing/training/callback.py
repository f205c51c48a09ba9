"""`MemorizationCallback`: measures memorization while a trainer trains, epoch by epoch.

Works in any `transformers.Trainer` and in TRL's `SFTTrainer`. Callbacks receive the model inside DistributedDataParallel,
so rank 0 evaluates alone and broadcasts whether to stop; the other processes wait. Under FSDP2 each process has a part of
the weights, so all processes run the forward passes and rank 0 judges.
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
from byheart.auditing.training.alarms import (
    Evaluation,
    check_stop_settings,
    leaking_attacks,
    log_entries,
    separable_on_base,
    stop_reason,
)
from byheart.auditing.training.hf_trainer import broadcast_from_rank_zero, calling_trainer, log
from byheart.auditing.training.monitor import TrainingMonitor, create_monitor, observable_attacks
from byheart.auditing.training.output import FORMATS, check_output_path, write_atomically
from byheart.auditing.training.plot import PICTURE_FORMATS, curve_picture, is_notebook, show_in_notebook
from byheart.auditing.training.warning import MemorizationWarning, error_text, warn
from byheart.core.defaults import DEFAULT_ATTACKS
from byheart.core.errors import ByheartError, FormerNameWarning, ModelError, SettingError
from byheart.core.registry import choose
from byheart.core.types import Row, Texts
from byheart.lm.preserve_state import FSDP2, sharding, why_no_base

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, TrainerControl, TrainerState, TrainingArguments

__all__ = ["MemorizationCallback", "MemorizationWarning"]


class MemorizationCallback(TrainerCallback):
    """Attack members and non-members while a model trains, and log the metrics.

    `members` are training texts, `nonmembers` similar texts that are not trained on, `validation` other texts for
    perplexity. Each is a string, a (prompt, completion) pair, or a record with `text`, `prompt` + `completion`,
    `messages`, or `instruction` + `output`. An evaluation runs before the first step and after every epoch, or after
    every `every` steps. It uses at most `max_texts` texts per class and `max_tokens` tokens per text.

    Warns (`MemorizationWarning`) when an attack's AUC is significantly above chance; the probability of any false alarm
    in a run is at most 5 %. Stops the training only on request: if an AUC is significantly above `stop_above`, or, with
    `stop_when_leakage_rises`, significantly higher than at the best validation perplexity. `output` stores the rows
    (.jsonl, .json, .parquet, .csv), `plot` the curve (.svg, .png, .pdf); a notebook displays the curve.

    Raises `DataError` for missing, empty or overlapping texts, `SettingError` and `UnknownNameError` for settings, and
    `DataError` at the start of training without a tokenizer. Weights that are sharded in another way than FSDP2 (FSDP1,
    ZeRO-3, tensor parallelism) are not evaluated: a warning before the first step recommends an audit after training, or
    `ModelError` is raised if the callback must be able to stop the training.
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
        limits = {"max_texts": max_texts, "max_tokens": max_tokens, "token_budget": token_budget}
        counts: dict[str, Any] = limits if every == "epoch" else {**limits, "every": every}
        for name, number in counts.items():
            if not isinstance(number, int) or number < 1:
                raise SettingError(
                    f"{name} = {number!r}: the value is not a whole number above 0. Write one"
                    f"{', or epoch' * (name == 'every')}."
                )
        check_stop_settings(stop_above, stop_when_rising=stop_when_leakage_rises, has_validation=validation is not None)
        self._parts = texts_by_part(members, nonmembers, validation)
        self._attacks = observable_attacks(attacks)
        self._tpr = choose("metrics", "tpr_at_fpr", {"fpr": fpr})
        self._output, self._plot = (
            check_output_path("output", output, tuple(FORMATS)),
            check_output_path("plot", plot, PICTURE_FORMATS),
        )
        self._tokenizer, self._limits = tokenizer, limits
        self._steps: int | None = counts.get("every")
        self.stop_above, self.stop_when_leakage_rises = stop_above, stop_when_leakage_rises
        self.evaluations: list[Evaluation] = []
        self.leaking: list[str] = []
        """Attacks with a warning so far."""
        self.seconds = self._train_start = self._evaluation_start = 0.0
        self._has_started = False
        self._on_other_ranks: Callable[[], object] | None = None
        self._notebook_display: Any = None

    def __getattr__(self, name: str) -> Any:
        """Return the evaluations by their former name, with a warning."""
        if name != "looks":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        warnings.warn(
            "MemorizationCallback.looks is now MemorizationCallback.evaluations", FormerNameWarning, stacklevel=2
        )
        return self.evaluations

    @property
    def rows(self) -> list[Row]:
        """Every number of every evaluation so far; empty on other ranks than 0."""
        return [row for evaluation in self.evaluations for row in evaluation.rows]

    @property
    def overhead(self) -> float:
        """Share of the training time so far that evaluations took."""
        return self.seconds / max(time.perf_counter() - self._train_start, 1e-9)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Evaluate the base model."""
        self.evaluations, self.leaking, self.seconds, self._train_start = [], [], 0.0, time.perf_counter()
        self._has_started, self._on_other_ranks = False, None
        if how := sharding(kwargs["model"]):
            if how != FSDP2:
                self._skip_sharded(how, state)
                return
            self._on_other_ranks = lambda: self._monitor.evaluate(
                state.global_step, state.epoch or 0.0, is_first=not self._has_started
            )
        try:
            self._start(args, state, control, kwargs)
        except ByheartError:
            raise
        except Exception as error:  # noqa: BLE001 - only a wrong request ends the training, and only before its first step
            warn(f"the model is not evaluated during this training: {error_text(error)}; training continues")

    def _start(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, kwargs: dict[str, Any]
    ) -> None:
        """Create the monitor and evaluate the base model."""
        self._trainer = calling_trainer()
        self._planned_evaluations = min(state.num_train_epochs, state.max_steps)
        if self._steps:
            self._planned_evaluations = math.ceil(state.max_steps / self._steps)
        self._monitor = create_monitor(
            kwargs["model"],
            self._tokenizer or kwargs["processing_class"],
            self._parts,
            args=args,
            attacks=self._attacks,
            metrics=(choose("metrics", "auc"), self._tpr),
            is_stepwise=self._steps is not None,
            **self._limits,
        )
        self._evaluate_on_rank_zero(lambda: self._evaluate_base(self._monitor, state, control), state)
        self._has_started = True

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Evaluate the model after every `every` steps and after the last step."""
        del args, kwargs
        if self._steps and (state.global_step % self._steps == 0 or state.global_step >= state.max_steps):
            self._evaluate(state, control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Evaluate the model, unless evaluations are by steps."""
        del args, kwargs
        if not self._steps:
            self._evaluate(state, control)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Log the time of all evaluations, and release the model: a stored callback should hold only rows."""
        del args, control, kwargs
        for attribute in ("_monitor", "_trainer"):
            vars(self).pop(attribute, None)
        self._on_other_ranks = None
        if self._has_started and state.is_world_process_zero:
            message = "%d evaluations took %.1f s (%.0f %% of the training time); limit it with max_texts, max_tokens and every"
            logging.getLogger(__name__).info(message, len(self.evaluations), self.seconds, 100 * self.overhead)

    def _evaluate_base(self, monitor: TrainingMonitor, state: TrainerState, control: TrainerControl) -> bool:
        for doubt in monitor.doubts:
            warn(doubt)
        if (gate := monitor.gate) is not None and gate.verdict == "broken":
            warn(f"no number of this training can be read as leakage, so nothing warns or stops: {gate.reasons[0]}")
        base = monitor.evaluate(0, 0.0, is_first=True)
        has_base = isinstance(monitor.module, PeftModel) and not why_no_base(monitor.module)
        if state.global_step and not has_base:
            warn(
                f"training resumes from step {state.global_step}, so the base model is not available: attacks that compare with the "
                "base model compare with the resumed model instead"
            )
            return False
        self._log_evaluation(base, state, control)
        if monitor.record_labels.has_enough_groups and (names := separable_on_base(base, monitor.record_labels)):
            warn(
                f"members and non-members differ before training: {', '.join(names)} separates them on the base model. Later AUCs "
                "include this difference, and a warning requires an AUC above it"
            )
        return False

    def _skip_sharded(self, how: str, state: TrainerState) -> None:
        """Warn that sharded weights are not evaluated; raise `ModelError` if the callback should stop the training."""
        if self.stop_above is not None or self.stop_when_leakage_rises:
            raise ModelError(
                f"MemorizationCallback: {how} shards the weights over processes, so the callback can neither evaluate nor stop this "
                "training. Remove stop_above and stop_when_leakage_rises, or train with FSDP2 or DistributedDataParallel."
            )
        if state.is_world_process_zero:
            warn(
                f"{how} shards the weights over processes, so the callback does not evaluate this training. Save the full model "
                "after training and audit it: byheart audit --model FOLDER --members FILE --nonmembers FILE"
            )

    def _evaluate(self, state: TrainerState, control: TrainerControl) -> None:
        if not self._has_started:
            return
        if self._evaluate_on_rank_zero(lambda: self._evaluate_and_warn(self._monitor, state, control), state):
            control.should_training_stop = True

    def _evaluate_on_rank_zero(self, evaluate: Callable[[], bool], state: TrainerState) -> bool:
        """Evaluate on rank 0, return its result on every rank, and add the time to `seconds`."""
        self._evaluation_start = time.perf_counter()
        try:
            return broadcast_from_rank_zero(evaluate, state, self._on_other_ranks)
        finally:
            self.seconds += time.perf_counter() - self._evaluation_start

    def _evaluate_and_warn(self, monitor: TrainingMonitor, state: TrainerState, control: TrainerControl) -> bool:
        """Evaluate the model, log and warn, and return whether to stop."""
        try:
            evaluation = monitor.evaluate(state.global_step, state.epoch or 0.0)
        except Exception as error:  # noqa: BLE001 - a failed evaluation never ends the training
            warn(f"the evaluation after step {state.global_step} failed: {error_text(error)}; training continues")
            return False
        self._log_evaluation(evaluation, state, control)
        labels, planned = monitor.record_labels, self._planned_evaluations
        if not labels.has_enough_groups:
            return False
        new = [n for n in leaking_attacks(self.evaluations, labels, planned, monitor.gate) if n not in self.leaking]
        if new:
            aucs = ", ".join(f"{n} has AUC {evaluation.value('auc', n):.3f}" for n in new)
            warn(
                f"the model leaks its training texts after step {evaluation.step} (epoch {evaluation.epoch:.2f}): {aucs} (chance: "
                f"0.5). The probability of any false alarm in all {planned} evaluations is at most 5 %"
            )
        self.leaking += new
        reason = stop_reason(
            self.evaluations,
            labels,
            planned,
            self.stop_above,
            monitor.gate,
            stop_when_rising=self.stop_when_leakage_rises,
        )
        if reason:
            warn(f"training stops after step {evaluation.step}: {reason}")
        return bool(reason)

    def _log_evaluation(self, evaluation: Evaluation, state: TrainerState, control: TrainerControl) -> None:
        """Store an evaluation's numbers, log them, and update output file, plot and notebook."""
        self.evaluations.append(evaluation)
        seconds = self.seconds + time.perf_counter() - self._evaluation_start
        log(self._trainer, log_entries(evaluation, seconds), state, control)
        if self._output:
            write_atomically(self._output, FORMATS[self._output.suffix](self.rows))
        if self._plot:
            write_atomically(self._plot, curve_picture(self.evaluations, self._plot.suffix[1:]))
        if is_notebook():
            self._notebook_display = show_in_notebook(self.evaluations, self._notebook_display)
