"""Writes docs/formats.md: data formats from the parsers, adapter types from docs/formats.json, and facts that tests assert.

docs/formats.json has the outcome of an audit of each adapter type of the installed peft, of tiny models of many architectures, and of
kinds of servers; `make formats` writes it.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from byheart.core.chat_messages import ROLES, SHAREGPT_ROLES
from byheart.data.formats import DECOMPRESSORS, READERS
from byheart.data.records import parse_record

DOCS = Path(__file__).parent
PAGE, OUTCOMES = DOCS / "formats.md", DOCS / "formats.json"
_CHAT = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
EXAMPLES: dict[str, dict[str, object]] = {
    "text": {"text": "Hello"},
    "prompt and completion": {"prompt": "Hi", "completion": "Hello"},
    "prompt and response": {"prompt": "Hi", "response": "Hello"},
    "question and answer": {"question": "Hi?", "answer": "Hello"},
    "messages (OpenAI, TRL)": {"messages": _CHAT},
    "conversations (ShareGPT)": {
        "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
    },
    "Alpaca": {"instruction": "Greet", "input": "Ann", "output": "Hello"},
    "Dolly": {"instruction": "Greet", "context": "Ann", "response": "Hello"},
    "preference pair": {"prompt": "Hi", "chosen": "Hello", "rejected": "Go away"},
}
"""A record of each shape, which the page's generation parses."""
FIELDS = (
    ("`id`", "name of the record in reports; otherwise its line or row"),
    ("`group`", "records of one group (a user, a document) are never split; `12.0` equals `12`, and null is no group"),
    (
        "`tools`",
        "passed to the chat template with the messages, as are OpenAI's former `functions`; a JSON string is parsed",
    ),
    ("`system` beside a chat", "the first message of the chat, if the chat has no system message"),
    ("`system` or `history` of an Alpaca record", "refused: Alpaca's prompt does not contain them"),
    (
        "`weight`, `train`, `training` or `loss` of a message",
        "an assistant message of weight 0, or with another of them false, is context and is not scored",
    ),
    (
        "a message of `function_call` or `tool_call`",
        "an assistant message with `tool_calls`, which is not scored; its content is JSON with `name` and `arguments`",
    ),
    ("`content` as a list of parts", "text parts are joined; an image or another part is refused with its type"),
)
READ_BY = (
    ("studies", "a file or a folder; settings of [`files`](shelves/datasets.md#files) name the fields"),
    (
        "`byheart audit`",
        "a file, a folder or `hub:OWNER/NAME:SPLIT`; `--fields prompt=question,completion=answer`, `--response`",
    ),
    (
        "`byheart check`",
        "a study, or two files; `--group` names the field of groups, `--fields` others, as in `byheart audit`",
    ),
    (
        "`byheart.audit`, `MemorizationCallback`",
        "strings, pairs, chats, records, a data set, a frame, an Arrow table, or columns, in memory",
    ),
)
FOLDERS = (
    (
        "complete weights (safetensors, also sharded)",
        "works; `model.safetensors` before an index, and only files that the index lists",
    ),
    ("an adapter, also beside `config.json` (axolotl)", "works; the base is the recorded one, or `--base`"),
    (
        "complete weights and an adapter",
        "refused with the choices: `--adapter none`, or `--model BASE --adapter FOLDER`",
    ),
    ("`checkpoint-N` or named adapters in subfolders", "refused with their names; choose one with `--adapter NAME`"),
    (
        "an adapter, and named adapters in subfolders (peft)",
        "works: the adapter of the folder itself, with a warning; `--adapter NAME` chooses another, `default` always this one",
    ),
    (
        "complete weights, and named adapters in subfolders",
        "works without the adapters; `--adapter NAME` is refused with the choices",
    ),
    ("`consolidated.safetensors` without `model.safetensors`", "refused; the message names the file"),
    ("an adapter of mlx-lm or of another library than peft", "refused: no `peft_type`"),
    ("pickles (`pytorch_model.bin`, `adapter_model.bin`)", "refused: never loaded. Save the weights as safetensors"),
    (
        "GGUF (`.gguf` file)",
        "works, dequantized; with `--exported-from WEIGHTS`, a warning states how far its log-probabilities are from the weights'",
    ),
    (
        "GPTQ, AWQ, compressed-tensors and other quantized weights",
        "loaded by transformers with the method's package (tested: fp8, compressed-tensors); refused with a missing package's name",
    ),
    ("`--quantize 8` or `4`", "works with bitsandbytes; [larger models](tutorials/audit.md#larger-models)"),
    ("a vocabulary that was resized before training", "works; a warning states how many tokens were added"),
    ("a base that tokenizes the texts differently", "works without the base; a warning states the reason"),
    ("classifiers, reward models, embedding models", "refused with the task of the class"),
    ("masked and bidirectional models", "refused: logits depend on later tokens"),
    ("encoder-decoder models", "refused: not causal"),
)
MEMORY = (
    ("merged adapters, or one of two", "works without the base; adapters stay merged"),
    ("`PeftMixedModel`", "refused: merge, then pass `base=`"),
    ("`DatasetDict`", "refused with the names of its splits"),
    ("FSDP1, tensor parallelism, DeepSpeed ZeRO-3", "refused: save the complete model"),
    (
        "a forward pass that unsloth, Liger or other code replaced",
        "works if trunk and output head give the model's own logits, checked before scoring; otherwise refused with the library's name",
    ),
    (
        "a training with packed, flattened or padding-free batches (TRL, transformers)",
        "works: the callback reads the texts one by one, with the numbers of a plain loop",
    ),
)
ARCHITECTURE_NOTES = (
    ("longrope (Phi-3)", "works; texts beyond the original context have batches of their own"),
    ("dynamic NTK scaling", "works up to the original context; longer texts are refused with `max_tokens`"),
    ("models with remote code", "refused: byheart never runs code of a model's repository"),
)


def page() -> str:
    """Return the page."""
    outcomes = json.loads(OUTCOMES.read_text(encoding="utf-8"))
    return "\n".join(
        [
            "# Formats\n",
            "What byheart reads. *Refused* is one line that states the problem and the fix; nothing is loaded wrongly in silence.",
            "This page is generated: the records below are parsed when it is written. `make formats` audits adapters, architectures",
            "and servers.\n",
            "## Data\n",
            f"Files: {_quoted(READERS)}; all except Parquet also with {_quoted(DECOMPRESSORS)}.\n",
            *table(("read by", "how"), READ_BY),
            "`texts.jsonl:label=1` reads the records whose field `label` is 1, also of a folder or of a split on the Hub. A string on a",
            "line of JSONL or in a JSON array is a text. A `.json` file may contain JSON lines, as `Dataset.to_json` writes them.",
            "See [files of other tools](other_tools.md#files-of-other-tools).\n",
            *table(("record", "example", "scored"), map(_example, EXAMPLES)),
            "Of a preference pair, `--response rejected` or `both` chooses the other side, or both as one group. The prompt",
            "may also be the common first messages of both sides (TRL), `conversations` (LLaMA-Factory) or `instruction`.",
            "`--response pair`, and the data set [`preferences`](shelves/datasets.md#preferences) of studies, keep both sides of a pair",
            "for [attacks on pairs](faq.md#my-model-is-trained-on-preferences-dpo).\n",
            *table(("field", "effect"), FIELDS),
            *table(("role in the data", "role in the chat template"), _roles()),
            "## Adapters\n",
            f"Audited with peft {outcomes['peft']}: the numbers equal a plain loop over the model within 1e-4 nats, also those of the base",
            "model, and a model in memory is bit-equal afterwards. Otherwise the reason is stated.\n",
            *table(("adapter", "peft type", "tested on", "files", "in memory"), _adapters(outcomes["adapters"])),
            "## Model folders\n",
            *table(("folder", "outcome"), FOLDERS),
            "## Models in memory\n",
            *table(("model or texts", "outcome"), MEMORY),
            "## Architectures\n",
            f"Tiny random models, audited with transformers {outcomes['transformers']}: complete weights with their base model, and",
            "a LoRA on the linear layers, from files and in memory. *Works*: every number equals a plain loop over the model within",
            "1e-4 nats. Of a model that also reads images or sound, the text is scored.\n",
            *table(("architecture", "files", "in memory", "LoRA"), _architectures(outcomes["architectures"])),
            *table(("models", "outcome"), ARCHITECTURE_NOTES),
            "## Methods on architectures\n",
            "One training step of each method on the same tiny models, as a study. *Works*: the stored weights, loaded by transformers and",
            "peft, give the study's scores within 1e-4 nats in a plain loop. LoRA adapts the weights of experts, too",
            "(`target_parameters`). TYPE is the model's type or class.\n",
            *_studies(outcomes["studies"]),
            "## Servers\n",
            "Audited behind a stand-in that answers as these servers do. Log-probabilities equal those of the weights within 2e-4 nats.\n",
            *table(("server", "outcome"), ((name, _cell(line)) for name, line in outcomes["servers"].items())),
            "See [a model behind an endpoint](tutorials/audit.md#a-model-behind-an-endpoint).",
            "",
        ]
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table, and an empty line."""
    lines = [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]
    return [*lines, ""]


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _example(shape: str) -> tuple[str, str, str]:
    record = EXAMPLES[shape]
    parsed = parse_record(shape, record)
    scored = parsed.text or "; ".join(str(m["content"]) for m in parsed.messages if m["role"] == "assistant")
    return shape, f"`{json.dumps(record)}`", f"`{scored}`"


def _roles() -> Iterator[tuple[str, str]]:
    names: dict[str, list[str]] = {}
    for name, role in {**SHAREGPT_ROLES, **ROLES}.items():
        names.setdefault(role, []).append(f"`{name}`")
    yield from ((", ".join(aliases), f"`{role}`") for role, aliases in names.items())


def _adapters(adapters: dict[str, dict[str, object]]) -> Iterator[tuple[str, ...]]:
    for name, kind in adapters.items():
        outcomes: dict[str, dict[str, str]] = kind["outcomes"]  # type: ignore[assignment]
        by_outcome: dict[str, list[str]] = {}
        for architecture, outcome in outcomes.items():
            by_outcome.setdefault(json.dumps(outcome), []).append(architecture)
        for key, architectures in by_outcome.items():
            outcome = json.loads(key)
            library = f"the library: {outcome['library']}" if "library" in outcome else "-"
            cells = [_cell(outcome.get(how, library)) for how in ("files", "memory")]
            yield name, f"`{kind['type']}`", ", ".join(architectures), *cells


def _architectures(outcomes: dict[str, dict[str, str]]) -> Iterator[tuple[str, ...]]:
    for name, by_way in outcomes.items():
        yield name, *(_cell(by_way.get(way, "-")) for way in ("files", "memory", "lora"))


def _studies(outcomes: dict[str, dict[str, str]]) -> list[str]:
    """Return the table of architectures and methods, and the table of the reasons for its numbers."""
    methods = list(next(iter(outcomes.values())))
    reasons: dict[str, int] = {}
    rows: list[tuple[str, ...]] = []
    for name, by_method in outcomes.items():
        cells: list[str] = []
        for line in by_method.values():
            reason = re.sub(r"model '[^']*': (is a )?\w+", r"model NAME: \1TYPE", line)
            number = 0 if line == "works" else reasons.setdefault(reason, len(reasons) + 1)
            cells.append(f"refused ({number})" if number else "works")
        rows.append((name, *cells))
    header = ("architecture", *(f"`{m}`" for m in methods))
    return [*table(header, rows), *table(("", "reason"), ((f"({n})", _cell(reason)) for reason, n in reasons.items()))]


def _cell(outcome: str) -> str:
    text = outcome.replace("adapter FOLDER/adapter: ", "").replace("requires the base model, but ", "")
    return text.replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[")
