"""Time of byheart without the model: an attack on a finished study of 10,000 texts, and the command line."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

TEXTS = 10_000
WORDS = 500
ATTACKS = [
    "zlib_ratio",
    "min_k",
    "min_k_plus_plus",
    "min_k_plus_plus_calibrated",
    "reference",
    "surp",
    "wbc",
    "error_zone",
]


def measured() -> dict[str, object]:
    """Return seconds: of a new attack's run, one by one and all, of `--help`, and of `rows`."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        base = _small_model(place / "base")
        _write_texts(place / "texts.jsonl")
        study = {
            "name": "large",
            "models": [str(base)],
            "datasets": [{"files": {"path": str(place / "texts.jsonl")}}],
            "data": {
                "train": TEXTS // 2,
                "members": TEXTS // 2,
                "nonmembers": TEXTS // 2,
                "validation": 10,
                "max_tokens": 64,
                "near_duplicate": 1.0,
            },
            "methods": ["head"],
            "training": {"epochs": 1, "batch_size": 256},
            "attacks": ["loss", "reference"],
            "metrics": ["auc"],
        }
        _run(place, study)
        found: dict[str, object] = {"texts": TEXTS, "nothing left to do": _run(place, study)}
        for attack in ATTACKS:
            if attack not in study["attacks"]:
                study["attacks"] = [*study["attacks"], attack]
                found[f"with {attack} added"] = _run(place, study)
        found["--help"] = min(_typed("--help") for _ in range(5))
        found["rows"] = min(_typed("rows", "--store", str(place / "store"), "--format", "csv") for _ in range(5))
        return found


def _run(place: Path, study: dict[str, object]) -> float:
    (place / "study.yaml").write_text(json.dumps(study))
    return _typed("run", str(place / "study.yaml"), "--store", str(place / "store"))


def _typed(*words: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "byheart", *words], check=True, capture_output=True)
    return time.perf_counter() - started


def _small_model(folder: Path) -> Path:
    """Write a GPT-2 of two small layers: the measured time does not depend on the model."""
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(WORDS)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="w1").save_pretrained(folder)
    GPT2LMHeadModel(GPT2Config(vocab_size=WORDS, n_positions=64, n_embd=32, n_layer=2, n_head=2)).save_pretrained(
        folder
    )
    return folder


def _write_texts(path: Path) -> None:
    import random

    chance = random.Random(0)
    with path.open("w") as file:
        for _ in range(TEXTS + 10):
            text = " ".join(f"w{chance.randrange(WORDS)}" for _ in range(chance.randint(30, 60)))
            file.write(json.dumps({"text": text}) + "\n")
