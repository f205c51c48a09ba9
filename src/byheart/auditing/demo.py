"""A first audit: fine-tune a LoRA on synthetic records with plain peft and PyTorch, and audit it from its files.

The records are independent of one another, so training is the only difference between members and non-members.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byheart.auditing.audit import Audit
from byheart.auditing.from_files import AuditRequest, audit_files
from byheart.auditing.save import check_output_folder
from byheart.auditing.settings import AuditSettings
from byheart.datasets.records import records
from byheart.lm.load import load
from byheart.lm.placement import Placement

if TYPE_CHECKING:
    import torch

PARTS = ("member", "nonmember", "validation")
MODEL, REPORT = "lora", "audit"
"""Folders that the demonstration writes: the adapter, and the audit."""
BATCH = 8
LEARNING_RATE = 1e-3
FPR = 0.1


def demo_audit(
    folder: Path, *, base: str, texts: int, epochs: int, command: str, on_status: Callable[[str], None]
) -> Audit:
    """Write records, train an adapter, audit it, and save everything into a new folder; return the audit.

    Raises `StoreError` if the folder exists, `ModelError` if the base model is not available. An error or an interruption
    removes the folder.
    """
    check_output_folder(folder)
    try:
        return _train_and_audit(folder, base=base, texts=texts, epochs=epochs, command=command, on_status=on_status)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)  # the next try starts with a new folder
        raise


def _train_and_audit(
    folder: Path, *, base: str, texts: int, epochs: int, command: str, on_status: Callable[[str], None]
) -> Audit:
    paths = _write_records(folder, texts)
    on_status(f"training a LoRA on {texts} records")
    _train_adapter(paths["member"], folder / MODEL, base, epochs, on_status)
    request = AuditRequest(
        sources={part: str(path) for part, path in paths.items()},
        settings=AuditSettings(fpr=FPR),
        output=folder / REPORT,
    )
    placement = _float32()
    model = str(folder / MODEL)
    audit = audit_files(request, model, adapter=None, base=base, placement=placement, on_status=on_status)
    audit.save(folder / REPORT, command=command)
    return audit


def _float32() -> Placement:
    import torch

    return Placement(dtype=torch.float32, device="auto", spread=False, bits=None)


def _write_records(folder: Path, count: int) -> dict[str, Path]:
    """Write `count` members, as many non-members, and a fourth of that for validation as JSONL files."""
    folder.mkdir(parents=True, exist_ok=True)
    bounds = (0, count, 2 * count, 2 * count + max(1, count // 4))
    written = records(count=bounds[-1]).texts
    paths: dict[str, Path] = {}
    for part, start, stop in zip(PARTS, bounds, bounds[1:], strict=False):
        paths[part] = folder / f"{part}s.jsonl" if part != "validation" else folder / "validation.jsonl"
        lines = (json.dumps({"id": written.ids[i], "text": written.scored[i]}) + "\n" for i in range(start, stop))
        paths[part].write_text("".join(lines), encoding="utf-8")
    return paths


def _train_adapter(members: Path, folder: Path, base: str, epochs: int, on_status: Callable[[str], None]) -> None:
    """Fine-tune a LoRA of rank 16 on all linear layers, as `examples/finetune.py` does, and save it with its tokenizer."""
    import torch
    from peft import LoraConfig, TaskType, get_peft_model

    lines = members.read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    opened = load(base)
    tokenizer: Any = opened.tokenizer
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    torch.manual_seed(0)
    config = LoraConfig(task_type=TaskType.CAUSAL_LM, r=16, lora_alpha=32, target_modules="all-linear")
    module: Any = get_peft_model(opened.module, config)
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=LEARNING_RATE)
    module.train()
    for epoch in range(epochs):
        total = 0.0
        order = torch.randperm(len(texts)).tolist()
        for start in range(0, len(order), BATCH):
            batch = tokenizer([texts[i] for i in order[start : start + BATCH]], return_tensors="pt", padding=True)
            labels = batch.input_ids.masked_fill(batch.attention_mask == 0, -100)
            loss: torch.Tensor = module(
                input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=labels
            ).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            total += loss.item() * len(batch.input_ids)
        on_status(f"epoch {epoch + 1} of {epochs}: training loss {total / len(texts):.3f} nats per token")
    module.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
