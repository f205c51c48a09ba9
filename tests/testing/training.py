"""Trainers of tiny models with the callback, for tests in this process and for scripts that several processes run."""

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainingArguments,
)

from byheart.auditing.training.callback import MemorizationCallback
from testing.made_up import WHERE, WHO

TEXTS = [f"{who} {where} in {n}." for n, (who, where) in enumerate((a, b) for a in WHO for b in WHERE)]
MEMBERS, NONMEMBERS = TEXTS[::2], TEXTS[1::2]
FOLDERS = {}
"""Of tiny models by name; the fixture `training_folders` fills it, and a script by hand."""


def tokenizer(**how):
    made = AutoTokenizer.from_pretrained(FOLDERS["gpt2"])
    made.pad_token = made.eos_token
    for name, value in how.items():
        setattr(made, name, value)
    return made


def gpt2(**how):
    """A model with dropout in training: an additional random number from torch would change its weights."""
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(FOLDERS["gpt2"]), **how)


def lora(model):
    torch.manual_seed(1)
    made = get_peft_model(model, LoraConfig(r=4, lora_dropout=0.2, target_modules=["c_attn"], task_type="CAUSAL_LM"))
    for name, weight in made.named_parameters():
        if "h.0" in name and "lora_A" in name:
            weight.requires_grad_(False)  # a part of the adapter is frozen by hand
    return made


def arguments(folder, kind=TrainingArguments, **how):
    usual = {
        "output_dir": str(folder),
        "num_train_epochs": 2,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-2,
        "report_to": [],
        "use_cpu": True,
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
        "dataloader_num_workers": 0,
        "bf16": False,
    }
    return kind(**{**usual, **how})


def plain(folder, model, callbacks, **how):
    made = tokenizer()
    rows = Dataset.from_list([dict(made(t)) for t in MEMBERS])
    return Trainer(
        model=model,
        args=arguments(folder, **how),
        train_dataset=rows,
        data_collator=DataCollatorForLanguageModeling(made, mlm=False),
        processing_class=made,
        callbacks=callbacks,
    )


def halves(text):
    words = text.split(" ")
    return " ".join(words[:3]), " " + " ".join(words[3:])


def watched(**how):
    return MemorizationCallback(MEMBERS, NONMEMBERS, **{"attacks": ["loss", "reference"], **how})
