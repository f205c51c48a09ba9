"""`MemorizationCallback`: measures memorization while a trainer trains, epoch by epoch.

Works in any `transformers.Trainer` and in TRL's `SFTTrainer`. With DistributedDataParallel, rank 0 evaluates alone and
broadcasts whether to stop. Under FSDP2 each process has a part of the weights, so all run the forward passes and rank 0 judges.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from transformers import TrainerCallback

from byheart.auditing.canaries.texts import as_planted_set, watched_texts_by_part
from byheart.auditing.training import hf_trainer, start_warnings
from byheart.auditing.training.alarms import Evaluation, check_counts, check_stop_settings, log_entries
from byheart.auditing.training.leak_warnings import must_stop, warn_about_leaks
from byheart.auditing.training.monitor import TrainingMonitor, create_monitor, observable_attacks
from byheart.auditing.training.output import TrainingOutput
from byheart.auditing.training.preflight.enforce import PreflightMode, check_mode, check_training_data
from byheart.auditing.training.preflight.report import Preflight
from byheart.auditing.training.warning import MemorizationWarning, error_text, warn
from byheart.core.defaults import DEFAULT_ATTACKS
from byheart.core.errors import ByheartError, FormerNameWarning
from byheart.core.registry import choose
from byheart.core.types import Row, Texts
from byheart.data.canary_manifest import PlantedSet
from byheart.lm.patched_forward import PatchedForwardError
from byheart.lm.sharding import FSDP2, sharding_kind

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, TrainerControl, TrainerState, TrainingArguments

__all__ = ["MemorizationCallback", "MemorizationWarning"]


class MemorizationCallback(TrainerCallback):
    """Attack members and non-members while a model trains, and log the metrics.

    `members` are training texts, `nonmembers` similar texts that are not trained on, `validation` other texts for
    perplexity. Each is a string, a (prompt, completion) pair, or a record with `text`, `prompt` + `completion`,
    `messages`, or `instruction` + `output`. An evaluation runs before the first step and after every epoch, or after
    every `every` steps. It uses at most `max_texts` texts per class and `max_tokens` tokens per text.

    Warns (`MemorizationWarning`) when an attack's AUC is significantly above chance, or below (the model leaks in reverse);
    the probability of any false alarm in a run is at most 5 %. Stops the training only on request: if an AUC is
    significantly above `stop_above`, or, with `stop_when_leakage_rises`, significantly higher than at the best validation
    perplexity. `output` stores the rows (.jsonl, .json, .parquet, .csv), `plot` the curve (.svg, .png, .pdf); a notebook
    displays the curve.

    `canaries` of `byheart.plant`, or the path of their manifest, add exposure; without `members`, the canaries are the texts.
    Before the first step, `preflight` checks that members and canaries are in the training data, complete and with loss, and
    that non-members are not. Problems raise `DataError` ("refuse"), cause a warning ("warn"), or are not checked ("off").

    Raises `DataError` for missing, empty or overlapping texts and a missing tokenizer, `SettingError` and `UnknownNameError` for
    settings. Weights under other sharding than FSDP2 (FSDP1, ZeRO-3, tensor parallelism) are not evaluated: a warning recommends
    an audit after training, or `ModelError` is raised if the callback must be able to stop the training.
    """

    def __init__(  # noqa: PLR0913 - settings come in by keyword
        self,
        members: Texts | Iterable[Any] | None = None,
        nonmembers: Texts | Iterable[Any] | None = None,
        *,
        canaries: PlantedSet | Path | str | None = None,
        preflight: PreflightMode = "warn",
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
        is_by_epoch = isinstance(every, str) and every == "epoch"
        check_counts(limits if is_by_epoch else {**limits, "every": every})
        check_stop_settings(stop_above, stop_when_rising=stop_when_leakage_rises, has_validation=validation is not None)
        check_mode(preflight)
        self._preflight: PreflightMode = preflight
        self._canaries = None if canaries is None else as_planted_set(canaries)
        self._are_members_canaries = members is None
        self._parts = watched_texts_by_part(members, nonmembers, validation, self._canaries)
        self._attacks = observable_attacks(attacks)
        self._tpr = choose("metrics", "tpr_at_fpr", {"fpr": fpr})
        self._output = TrainingOutput(output, plot)
        self._tokenizer, self._limits = tokenizer, limits
        self._steps = None if every == "epoch" else every
        self.stop_above, self.stop_when_leakage_rises = stop_above, stop_when_leakage_rises
        self.evaluations: list[Evaluation] = []
        self.leaking: list[str] = []
        """Attacks with a warning so far."""
        self.leaking_in_reverse: list[str] = []
        """Attacks with a warning of an AUC below chance so far."""
        self.preflight: Preflight | None = None
        """The report on the trainer's data before the first step."""
        self.seconds = self._train_start = self._evaluation_start = 0.0
        self._has_started = False
        self._on_other_ranks: Callable[[], object] | None = None

    def __getattr__(self, name: str) -> Any:
        """Return the evaluations by their former name, with a warning."""
        if name != "looks":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        warnings.warn("MemorizationCallback.looks is now called evaluations", FormerNameWarning, stacklevel=2)
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
        self._has_started, self._on_other_ranks, self.leaking_in_reverse = False, None, []
        if how := sharding_kind(kwargs["model"]):
            if how != FSDP2:
                can_stop = self.stop_above is not None or self.stop_when_leakage_rises
                start_warnings.warn_about_sharding(how, can_stop=can_stop, is_rank_zero=state.is_world_process_zero)
                return
            self._on_other_ranks = lambda: self._monitor.evaluate(
                state.global_step, state.epoch or 0.0, is_first=not self._has_started
            )
        try:
            self._start(args, state, control, kwargs)
        except Exception as error:  # only a wrong request ends the training, and only before its first step
            can_stop = self.stop_above is not None or self.stop_when_leakage_rises
            if isinstance(error, ByheartError) and (can_stop or not isinstance(error, PatchedForwardError)):
                raise
            warn(f"the model is not evaluated during this training: {error_text(error)}; training continues")

    def _start(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, kwargs: dict[str, Any]
    ) -> None:
        """Create the monitor and evaluate the base model."""
        self._trainer = hf_trainer.calling_trainer()
        self._planned_evaluations = hf_trainer.planned_evaluations(state, self._steps)
        self._monitor = create_monitor(
            kwargs["model"],
            self._tokenizer or kwargs["processing_class"],
            self._parts,
            args=args,
            attacks=self._attacks,
            metrics=(choose("metrics", "auc"), self._tpr),
            is_stepwise=self._steps is not None or hf_trainer.is_streamed(kwargs.get("train_dataloader")),
            canaries=self._canaries,
            fpr=self._tpr.explicit_settings.get("fpr", 0.01),
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
            hf_trainer.log_duration(len(self.evaluations), self.seconds, self.overhead)

    def _evaluate_base(self, monitor: TrainingMonitor, state: TrainerState, control: TrainerControl) -> bool:
        self.preflight = check_training_data(
            self._trainer,
            monitor,
            self._canaries,
            mode=self._preflight,
            are_members_canaries=self._are_members_canaries,
        )
        start_warnings.warn_about_texts(monitor)
        base = monitor.evaluate(0, 0.0, is_first=True)
        if start_warnings.is_base_missing(monitor, state.global_step):
            return False
        self._log_evaluation(base, state, control)
        start_warnings.warn_about_separable_texts(base, monitor)
        return False

    def _evaluate(self, state: TrainerState, control: TrainerControl) -> None:
        if not self._has_started:
            return
        if self._evaluate_on_rank_zero(lambda: self._evaluate_and_warn(self._monitor, state, control), state):
            control.should_training_stop = True

    def _evaluate_on_rank_zero(self, evaluate: Callable[[], bool], state: TrainerState) -> bool:
        """Evaluate on rank 0, return its result on every rank, and add the time to `seconds`."""
        self._evaluation_start = time.perf_counter()
        try:
            return hf_trainer.broadcast_from_rank_zero(evaluate, state, self._on_other_ranks)
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
        if not monitor.record_labels.has_enough_groups:
            return False
        arguments = (self.evaluations, monitor.record_labels, self._planned_evaluations, monitor.gate)
        warn_about_leaks(*arguments, leaking=self.leaking, leaking_in_reverse=self.leaking_in_reverse)
        return must_stop(*arguments, stop_above=self.stop_above, stop_when_rising=self.stop_when_leakage_rises)

    def _log_evaluation(self, evaluation: Evaluation, state: TrainerState, control: TrainerControl) -> None:
        """Store an evaluation's numbers, log them, and update output file, plot and notebook."""
        self.evaluations.append(evaluation)
        seconds = self.seconds + time.perf_counter() - self._evaluation_start
        hf_trainer.log(self._trainer, log_entries(evaluation, seconds), state, control)
        self._output.write(self.evaluations)
