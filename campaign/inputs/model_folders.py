"""Folders of models and adapters with edited configs, tokenizers, indexes and safetensors headers; read by an audit."""

from __future__ import annotations

import json
import random
import shutil
import struct
from pathlib import Path
from typing import Any

from campaign.edits import edited, edited_bytes
from campaign.originals import save_tiny_model, write_lines
from campaign.outcomes import Outcome, typed
from campaign.surfaces import Case, Surface

WORDS = (
    *(
        "gpt2",
        "llama",
        "bert",
        "gemma",
        "mixtral",
        "mamba",
        "LlamaForCausalLM",
        "BertForMaskedLM",
        "float16",
        "bfloat16",
        "int8",
        "auto",
    ),
    *(
        "LORA",
        "PREFIX_TUNING",
        "PROMPT_TUNING",
        "IA3",
        "CAUSAL_LM",
        "SEQ_CLS",
        "q_proj",
        "all-linear",
        "linear",
        "dynamic",
        "yarn",
    ),
    *(
        "F32",
        "F16",
        "BF16",
        "I64",
        "BOOL",
        "model.safetensors",
        "BPE",
        "Unigram",
        "WordPiece",
        "ByteLevel",
        "Sequence",
        "Replace",
    ),
    *(
        "{{ messages }}",
        "{% for m in messages %}{{ m.content }}{% endfor %}",
        "{% while %}",
        "{{ raise_exception('no') }}",
        "(a+)+$",
    ),
)


def surface() -> Surface:
    """Return the surface."""
    return Surface("model folders", prepare, attempt)


def prepare(folder: Path) -> dict[str, Path]:
    """Return folders of a model, a sharded model and an adapter, and files of texts."""
    import peft
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = save_tiny_model(folder / "model")
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}</s>{% endfor %}"
    tokenizer.save_pretrained(model)
    loaded = AutoModelForCausalLM.from_pretrained(model)
    loaded.save_pretrained(folder / "sharded", max_shard_size="5KB")
    tokenizer.save_pretrained(folder / "sharded")
    torch.manual_seed(1)
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    peft.get_peft_model(loaded, config).save_pretrained(folder / "adapter")
    chats = folder / "chats.jsonl"
    lines = (folder / "m.jsonl", folder / "n.jsonl")
    write_lines(lines[0], 6)
    write_lines(lines[1], 6, 900)
    chats.write_text(
        "".join(
            json.dumps(
                {
                    "messages": [
                        {"role": "user", "content": f"Room {n}?"},
                        {"role": "assistant", "content": f"Letter {n}."},
                    ]
                }
            )
            + "\n"
            for n in range(6)
        )
    )
    return {name: folder / name for name in ("model", "sharded", "adapter", "m.jsonl", "n.jsonl", "chats.jsonl")}


def attempt(prepared: Any, case: Case, folder: Path) -> Outcome | None:
    """Copy a folder, edit one of its files, and audit it."""
    chance = random.Random(case.choice)
    kind = chance.choice(("model", "model", "sharded", "adapter", "adapter"))
    place = Path(shutil.copytree(prepared[kind], folder / kind))
    files = sorted(p for p in place.iterdir() if p.suffix in {".json", ".safetensors", ".jinja"})
    edit(chance.choice(files), case, chance)
    members = prepared["chats.jsonl" if chance.random() < 0.2 and kind != "adapter" else "m.jsonl"]
    words = [
        "audit",
        "--model",
        str(place),
        "--members",
        str(members),
        "--nonmembers",
        str(prepared["n.jsonl"]),
        "--device",
        "cpu",
    ]
    base = ["--base", str(prepared["model"])] if kind == "adapter" and chance.random() < 0.6 else []
    return typed([*words, *base, "--attacks", "loss", "--max-tokens", "16"])


def edit(file: Path, case: Case, chance: random.Random) -> None:
    """Edit a file of a model: JSON values, the header of safetensors, or bytes."""
    content = file.read_bytes()
    style = chance.random()
    if style < 0.03:
        file.unlink()
    elif file.suffix == ".json" and style < 0.8:
        file.write_text(json.dumps(edited(json.loads(content), case.edits, WORDS)))
    elif file.suffix == ".safetensors" and style < 0.8:
        length = struct.unpack("<Q", content[:8])[0]
        header = json.dumps(edited(json.loads(content[8 : 8 + length]), case.edits, WORDS)).encode(
            "utf-8", "surrogatepass"
        )
        file.write_bytes(struct.pack("<Q", len(header)) + header + content[8 + length :])
    else:
        file.write_bytes(edited_bytes(content, case.edits))
