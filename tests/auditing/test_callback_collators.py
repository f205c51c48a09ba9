"""Trainings whose batches have no padding: the callback's numbers are those of a plain loop over the same weights."""

from types import MethodType, SimpleNamespace

import pytest
import torch
from datasets import Dataset
from transformers import DataCollatorWithFlattening, Trainer
from trl import SFTConfig, SFTTrainer

from byheart.auditing.training.callback import MemorizationWarning
from byheart.core.errors import ModelError
from testing.reading import mean_logps
from testing.training import MEMBERS, NONMEMBERS, arguments, gpt2, tokenizer, watched

pytestmark = [
    pytest.mark.usefixtures("training_folders"),
    pytest.mark.filterwarnings("ignore::byheart.auditing.training.callback.MemorizationWarning"),
]


def flattened(folder, model, callbacks):
    made = tokenizer()
    return Trainer(
        model=model,
        args=arguments(folder),
        train_dataset=Dataset.from_list([{"input_ids": made(t)["input_ids"]} for t in MEMBERS]),
        data_collator=DataCollatorWithFlattening(),
        processing_class=made,
        callbacks=callbacks,
    )


def sft(folder, model, callbacks, **how):
    args = arguments(folder, SFTConfig, **how)
    rows = Dataset.from_list([{"text": t} for t in MEMBERS])
    return SFTTrainer(model=model, args=args, train_dataset=rows, processing_class=tokenizer(), callbacks=callbacks)


def padding_free(folder, model, callbacks):
    return sft(folder, model, callbacks, padding_free=True, max_length=None)


def packed(folder, model, callbacks):
    return sft(folder, model, callbacks, packing=True, max_length=64)


@pytest.mark.parametrize("trainer", [flattened, padding_free, packed])
def test_numbers_of_a_training_without_padding_are_those_of_a_plain_loop(trainer, tmp_path):
    model, watch = gpt2(), watched(attacks=["loss"])
    before = mean_logps(gpt2().eval(), tokenizer(), MEMBERS + NONMEMBERS)
    trainer(tmp_path, model, [watch]).train()
    after = mean_logps(model.eval(), tokenizer(), MEMBERS + NONMEMBERS)
    assert len(watch.evaluations) == 3
    assert watch.evaluations[0].scores["loss"] == pytest.approx(before, abs=1e-4)
    assert watch.evaluations[-1].scores["loss"] == pytest.approx(after, abs=1e-4)
    assert not torch.allclose(torch.tensor(before), torch.tensor(after), atol=0.05)


def test_a_replaced_forward_pass_is_named_and_the_training_goes_on(tmp_path):
    """As a model of unsloth, which returns no logits unless it is asked to."""
    model = gpt2()
    forward = type(model).forward

    def replaced(self, input_ids=None, labels=None, **how):
        output = forward(self, input_ids=input_ids, labels=labels, **how)
        return output if labels is not None else SimpleNamespace(logits=object())

    replaced.__module__ = "unsloth.models.llama"
    model.forward = MethodType(replaced, model)
    watch = watched(attacks=["loss"])
    with pytest.warns(MemorizationWarning, match=r"replaced by unsloth.*UNSLOTH_RETURN_LOGITS.*training continues"):
        flattened(tmp_path / "a", model, [watch]).train()
    assert watch.evaluations == []
    with pytest.raises(ModelError, match="replaced by unsloth"):
        flattened(tmp_path / "b", model, [watched(attacks=["loss"], stop_above=0.7)]).train()
