"""Every method on tiny models of many architectures as a study: the trained weights in other libraries give the study's numbers."""

import numpy as np
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import byheart
from byheart.core.errors import ByheartError
from byheart.core.row import without_initialized
from byheart.store.rows import score_reader
from byheart.store.store import Store
from byheart.study.plan import plan_cells
from byheart.study.study_file import parse_study
from testing.architectures import outcome_by_name, save_model
from testing.made_up import tiny_study

METHODS = ("full", "lora", "head", "prompt", "p_tuning", "prefix", "dp_full", "dp_lora")
FEW = {"virtual_tokens": 4}  # fewer than the tiny models' sliding windows
TOLERANCE = 1e-4


def one_step(folder, **changes):
    """A study of one optimizer step."""
    data = {"train": 8, "members": 4, "nonmembers": 4, "validation": 4, "max_tokens": 24}
    training = {"epochs": 1, "batch_size": 8, "warmup": 0}
    machine = {"device": "cpu", "precision": "float32"}
    plain = {"data": data, "training": training, "machine": machine, "metrics": ["auc"]}
    return tiny_study(folder, **{**plain, **changes})


def plain_loop(module, tokenizer, planned):
    """Mean log-probability (nats) of each audited text, one text at a time, by the library's own model."""
    values = []
    for text in planned.texts["audited"].scored:
        ids = torch.tensor([tokenizer(text)["input_ids"][: planned.cell.data.max_tokens]])
        with torch.no_grad():
            logp = module(input_ids=ids).logits[0, -ids.shape[1] :].float().log_softmax(-1)
        values.append(float(logp[:-1].gather(1, ids[0, 1:, None]).mean()))
    return np.array(values)


def reopened(trained, base):
    """The trained model of a store's folder in transformers and peft; `base` returns a new base model."""
    if (trained / "model").exists():
        return AutoModelForCausalLM.from_pretrained(trained / "model", dtype=torch.float32).eval()
    if (trained / "adapter").exists():
        return PeftModel.from_pretrained(base(), trained / "adapter").eval()
    module = base()
    for name, weight in load_file(trained / "trained.safetensors").items():
        part, _, own = name.rpartition(".")
        setattr(module.get_submodule(part), own, torch.nn.Parameter(weight))  # no longer tied
    return module.eval()


def scores_by_epoch(rows, store):
    """The scores of LOSS of the base model (epoch 0) and of the trained model."""
    found = [r for r in without_initialized(rows) if r.metric == "auc" and r.attack == "loss"]
    return {r.epoch: score_reader(store)(r.scores).scores for r in found}


def largest_error(planned, rows, store, base, tokenizer):
    """Largest difference (nats) of a cell's scores from the plain loop's, of the trained model and of the base model."""
    scores = scores_by_epoch(rows, store)
    trained = reopened(store.folder("training", planned.key), base)
    errors = [
        np.abs(scores[epoch] - plain_loop(module, tokenizer, planned)).max()
        for epoch, module in ((0, base()), (1, trained))
    ]
    assert not np.array_equal(scores[0], scores[1]), "the step changed nothing"
    return max(errors)


def outcome(name, folder):
    """Train an architecture by every method. Returns "works" or the one line of a refusal for each."""
    save_model(name, folder / "base", seed=7)
    methods = [{m: FEW} if m in {"prompt", "p_tuning", "prefix"} else m for m in METHODS]
    content, store = one_step(folder / "base", methods=methods), Store.open(folder / "store")
    try:
        results = byheart.run(content, store=store)
    except ByheartError as error:
        return dict.fromkeys(METHODS, str(error))
    tokenizer = AutoTokenizer.from_pretrained(folder / "base")
    found = {}
    for planned, cell in zip(plan_cells(parse_study(content), store), results.outcomes, strict=True):
        found[planned.cell.method.name] = cell.error or "works"
        if not cell.error:
            error = largest_error(planned, cell.rows, store, lambda: opened(folder / "base"), tokenizer)
            assert error < TOLERANCE, f"{planned.label}: {error:.4f} nats off"
    return found


def opened(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def table():
    """The outcome of every method on each architecture, without the paths of this run."""
    return outcome_by_name(outcome)
