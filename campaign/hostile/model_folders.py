"""Folders of models and adapters with pickles, code, endless templates and patterns, and configs that lie."""

from __future__ import annotations

import json
import pickle
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from campaign.checks import Check
from campaign.hostile.guard import audit, marker, outside, problem
from campaign.originals import save_tiny_model, write_lines

TEMPLATES = {
    "nested loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}x",
    "doubled text": "{% set n = namespace(x='aaaa') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
    "repeated text": "{{ 'a' * 10 ** 15 }}",
    "endless macro": "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "class": "{{ messages.__class__.__mro__[1].__subclasses__() }}",
    "globals": "{{ cycler.__init__.__globals__.os.popen('touch MARKER').read() }}",
    "format": "{{ '{0.__class__.__init__.__globals__}'.format(raise_exception) }}",
    "include": "{% include 'OUTSIDE/secret.txt' %}",
}
CHATS = ("chats.jsonl", "chats2.jsonl")
PATTERNS = ("(.*.*)*x!", "(([a-z_.0-9])+)+!", "(\\w|\\w|[a-z._])*!", ".*" * 12 + "!")
LIES: dict[str, dict[str, Any]] = {
    "a million layers": {"num_hidden_layers": 10**6},
    "a vocabulary of billions": {"vocab_size": 10**10},
    "wide layers": {"intermediate_size": 10**10},
    "code of the Hub": {"attn_implementation": "owner/kernel"},
    "code of the Hub, private name": {"_attn_implementation": "owner/kernel@main"},
    "experts of the Hub": {"experts_implementation": "owner/kernel"},
}
HEADERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "offsets beyond the file": lambda t: {**t, "data_offsets": [0, 2**62]},
    "negative offsets": lambda t: {**t, "data_offsets": [-8, 8]},
    "a shape of 2**120 values": lambda t: {**t, "shape": [2**60, 2**60]},
    "a shape that overflows to 0": lambda t: {**t, "shape": [2**32, 2**32]},
    "another type": lambda t: {**t, "dtype": "F64"},
}


class Pickled:
    """Runs a command when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        """Write the marker."""
        return Path.write_text, (self.place, "ran")  # pyright: ignore[reportReturnType] - a call, for the unpickler


def checks(originals: Path) -> list[Check]:
    """Return the checks; a model, an adapter and texts are written into the folder."""
    made = _originals(originals)

    def tried(
        name: str, change: Callable[[Path, Path, random.Random], None], *, of: str = "model", **more: Any
    ) -> Check:
        def attempt(folder: Path, chance: random.Random) -> str:
            place = Path(shutil.copytree(made / of, folder / "in" / of))
            change(place, folder, chance)
            base = ["--base", made / "model"] if of == "adapter" else []
            texts = [made / name for name in more.get("texts", ("m.jsonl", "n.jsonl"))]
            return problem(
                folder,
                lambda: audit(place, *texts, *base),
                more.get("expected", ("refused",)),
                named=more.get("named", str(place)),
            )

        return Check(name, attempt, more.get("cases", 1))

    return [
        tried("pickled weights", lambda p, f, _c: _pickle(p, f, "pytorch_model.bin", "model.safetensors")),
        tried("pickle beside safetensors", lambda p, f, _c: _pickle(p, f, "pytorch_model.bin"), expected=("done",)),
        tried(
            "pickled adapter",
            lambda p, f, _c: _pickle(p, f, "adapter_model.bin", "adapter_model.safetensors"),
            of="adapter",
        ),
        tried("pickled training arguments", lambda p, f, _c: _pickle(p, f, "training_args.bin"), expected=("done",)),
        *(tried(f"remote code: {n}", c, expected=("refused", "done")) for n, c in _remote_code().items()),
        *(
            tried(
                f"template: {n}",
                lambda p, f, _c, t=t: _template(p, f, t),
                texts=CHATS,
                named="chat template",
                expected=("refused", "done"),
            )
            for n, t in TEMPLATES.items()
        ),
        *(
            tried(
                f"adapter pattern {n}",
                lambda p, _f, _c, t=t: _config(p, "adapter_config.json", {"target_modules": t}),
                of="adapter",
            )
            for n, t in enumerate(PATTERNS)
        ),
        tried("adapter imports a module", _megatron, of="adapter"),
        tried("adapter of other folders", _other_adapters, of="adapter"),
        tried("tokenizer pattern", _tokenizer_pattern, texts=("as.jsonl", "as2.jsonl")),
        *(tried(f"config: {n}", lambda p, _f, _c, s=s: _config(p, "config.json", s)) for n, s in LIES.items()),
        *(tried(f"header: {n}", lambda p, _f, c, e=e: _header(p, c, e), cases=4) for n, e in HEADERS.items()),
        tried("header longer than the file", lambda p, _f, c: _header_length(p, 2**63 + c.randrange(2**40)), cases=4),
        tried("index of another folder", _index),
    ]


def _originals(folder: Path) -> Path:
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    save_tiny_model(folder / "model")
    torch.manual_seed(1)
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    peft.get_peft_model(AutoModelForCausalLM.from_pretrained(folder / "model"), config).save_pretrained(
        folder / "adapter"
    )
    write_lines(folder / "m.jsonl", 6)
    write_lines(folder / "n.jsonl", 6, 900)
    for name, length in (("as.jsonl", 300), ("as2.jsonl", 400)):
        texts = ("a" * n + " b" for n in range(length, length + 6))
        (folder / name).write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    for name, first in zip(CHATS, (0, 50), strict=True):
        turns = [[("user", f"Room {n}?"), ("assistant", f"Letter {n}.")] for n in range(first, first + 6)]
        lines = [json.dumps({"messages": [{"role": r, "content": c} for r, c in turn]}) + "\n" for turn in turns]
        (folder / name).write_text("".join(lines))
    return folder


def _pickle(place: Path, folder: Path, name: str, removed: str = "") -> None:
    (place / name).write_bytes(pickle.dumps(Pickled(marker(folder))))
    if removed:
        (place / removed).unlink()


def _config(place: Path, file: str, settings: dict[str, Any]) -> None:
    content = json.loads((place / file).read_text())
    (place / file).write_text(json.dumps({**content, **settings}))


def _code(place: Path, folder: Path) -> None:
    text = f"open({str(marker(folder))!r}, 'w').write('ran')\n"
    for name in (
        "evil.py",
        "modeling_evil.py",
        "configuration_evil.py",
        "tokenization_evil.py",
        "custom_generate/generate.py",
    ):
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(f"{text}class Evil:\n    pass\n")


def _remote_code() -> dict[str, Callable[[Path, Path, random.Random], None]]:
    """Return changes that make transformers offer to run code of the folder."""

    def changed(file: str, settings: dict[str, Any]) -> Callable[[Path, Path, random.Random], None]:
        def change(place: Path, folder: Path, _: random.Random) -> None:
            _code(place, folder)
            _config(place, file, settings)

        return change

    model = {"AutoConfig": "configuration_evil.Evil", "AutoModelForCausalLM": "modeling_evil.Evil"}
    return {
        "known type": changed("config.json", {"auto_map": model}),
        "new type": changed("config.json", {"auto_map": model, "model_type": "evil", "architectures": ["Evil"]}),
        "trusted by itself": changed(
            "config.json", {"auto_map": model, "model_type": "evil", "trust_remote_code": True}
        ),
        "tokenizer": changed(
            "tokenizer_config.json",
            {
                "auto_map": {"AutoTokenizer": ["tokenization_evil.Evil", None]},
                "tokenizer_class": "Evil",
                "trust_remote_code": True,
            },
        ),
        "generation": changed("generation_config.json", {"custom_generate": ".", "trust_remote_code": True}),
    }


def _template(place: Path, folder: Path, template: str) -> None:
    text = template.replace("MARKER", str(marker(folder))).replace("OUTSIDE", str(outside(folder)))
    (place / "chat_template.jinja").write_text(text)


def _megatron(place: Path, folder: Path, _: random.Random) -> None:
    _code(place, folder)
    _config(place, "adapter_config.json", {"megatron_config": {"a": 1}, "megatron_core": "evil"})


def _other_adapters(place: Path, folder: Path, _: random.Random) -> None:
    shutil.copytree(place, outside(folder) / "adapter")
    adapters = {"0": str(outside(folder) / "adapter")}
    _config(place, "adapter_config.json", {"peft_type": "XLORA", "adapters": adapters, "hidden_size": 16})


def _tokenizer_pattern(place: Path, _: Path, __: random.Random) -> None:
    content = json.loads((place / "tokenizer.json").read_text())
    split = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
    content["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, content["pre_tokenizer"]]}
    (place / "tokenizer.json").write_text(json.dumps(content))


def _header(place: Path, chance: random.Random, change: Callable[[dict[str, Any]], Any]) -> None:
    file = place / "model.safetensors"
    content = file.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    name = chance.choice([n for n in header if n != "__metadata__"])
    written = json.dumps({**header, name: change(header[name])}).encode()
    file.write_bytes(struct.pack("<Q", len(written)) + written + content[8 + length :])


def _header_length(place: Path, length: int) -> None:
    file = place / "model.safetensors"
    file.write_bytes(struct.pack("<Q", length) + file.read_bytes()[8:])


def _index(place: Path, folder: Path, _: random.Random) -> None:
    shutil.move(place / "model.safetensors", outside(folder) / "model.safetensors")
    names = {"lm_head.weight": "../outside/model.safetensors"}
    (place / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
