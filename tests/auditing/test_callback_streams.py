"""Trainings by steps: evaluations of a stream, and of a training that ends inside an epoch, have labels of their own."""

import pytest
from datasets import Dataset
from transformers import DataCollatorForLanguageModeling, Trainer

from byheart.core.row import is_base_row
from testing.training import MEMBERS, arguments, gpt2, plain, tokenizer, watched

pytestmark = pytest.mark.usefixtures("training_folders")


def labels_of(watch):
    return [(r.epoch, r.training_settings) for r in watch.rows if r.metric == "auc"]


def streamed(folder, callbacks, **how):
    made = tokenizer()
    rows = Dataset.from_list([dict(made(t)) for t in MEMBERS[:12]]).to_iterable_dataset()
    return Trainer(
        model=gpt2(),
        args=arguments(folder, **how),
        train_dataset=rows,
        data_collator=DataCollatorForLanguageModeling(made, mlm=False),
        processing_class=made,
        callbacks=callbacks,
    )


@pytest.mark.parametrize("every", ["epoch", 2])
def test_evaluations_of_a_stream_name_their_steps(every, tmp_path):
    watch = watched(attacks=["loss"], every=every, max_texts=20)
    streamed(tmp_path, [watch], max_steps=8).train()  # three steps are one pass over the stream
    labels = labels_of(watch)
    steps = [0, 3, 6, 8] if every == "epoch" else [0, 2, 4, 6, 8]
    assert [settings for _, settings in labels] == [f"step={n}" for n in steps]
    assert [e.step for e in watch.evaluations] == steps
    assert len({epoch for epoch, _ in labels}) == len(labels)
    assert [is_base_row(r) for r in watch.rows if r.metric == "auc"] == [True, *[False] * (len(steps) - 1)]


def test_an_evaluation_inside_an_epoch_has_a_fraction_as_its_epoch(tmp_path):
    watch = watched(attacks=["loss"], max_texts=20)
    steps = -(-len(MEMBERS) // 4)
    plain(tmp_path / "a", gpt2(), [watch], max_steps=steps + steps // 2).train()
    epochs = [epoch for epoch, _ in labels_of(watch)]
    assert epochs[:2] == [0, 1]
    assert epochs[2] == pytest.approx(1 + (steps // 2) / steps, abs=1e-5)
    by_steps = watched(attacks=["loss"], max_texts=20, every=2)
    plain(tmp_path / "b", gpt2(), [by_steps], max_steps=4).train()
    assert [is_base_row(r) for r in by_steps.rows if r.metric == "auc"] == [True, False, False]
