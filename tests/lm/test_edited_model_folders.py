"""Model folders with other indexes, safetensors headers, tokenizers and chat templates are refused in one line, before any weights are read."""

import json
import shutil
import struct

import pytest

from byheart.core.errors import DataError, ModelError
from byheart.core.types import Texts
from byheart.lm.adapter_files import check_adapter_weights, vocabulary_rows
from byheart.lm.base_models import check_loadable
from byheart.lm.load import load_tokenizer
from byheart.lm.model_folder import model_folder, safetensors_header
from byheart.lm.special_tokens import render_chats


@pytest.fixture
def folder(tiny_folder, tmp_path):
    return shutil.copytree(tiny_folder("llama"), tmp_path / "model")


def write_header(file, header, data=b""):
    written = json.dumps(header).encode() if not isinstance(header, bytes) else header
    file.write_bytes(struct.pack("<Q", len(written)) + written + data)


TENSOR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    "header",
    [
        {"a": "F32"},
        {"a": {**TENSOR, "dtype": True}},
        {"a": {**TENSOR, "shape": "abc"}},
        {"a": {**TENSOR, "shape": [-1]}},
        {"a": {**TENSOR, "data_offsets": [4]}},
        {"a": {**TENSOR, "data_offsets": ["0", "4"]}},
        {"a": {n: v for n, v in TENSOR.items() if n != "shape"}},
        {"a": {n: v for n, v in TENSOR.items() if n != "dtype"}},
        [TENSOR],
        b"[" * 5000,
        b"\xff",
    ],
)
def test_headers_that_are_no_tensors_are_refused(folder, header):
    write_header(folder / "model.safetensors", header, bytes(4))
    shutil.copy(folder / "model.safetensors", folder / "adapter_model.safetensors")
    with pytest.raises(ModelError, match=r"model\.safetensors: is not a safetensors file"):
        check_loadable(str(folder))
    with pytest.raises(ModelError, match=r"adapter_model\.safetensors: is not a safetensors file"):
        check_adapter_weights(folder)


def test_a_stored_embedding_without_rows_has_no_vocabulary(tmp_path):
    write_header(tmp_path / "adapter_model.safetensors", {"embed_tokens.weight": {**TENSOR, "shape": []}}, bytes(4))
    assert vocabulary_rows(tmp_path) is None
    assert safetensors_header(tmp_path / "adapter_model.safetensors")["embed_tokens.weight"].shape == ()


@pytest.mark.parametrize(
    "weight_map", [{"a": 1}, {"a": ["model.safetensors"]}, [1], "a", {"a": "../x"}, {"a": "/etc/passwd"}]
)
def test_indexes_that_name_no_files_of_the_folder_are_refused(folder, weight_map):
    (folder / "model.safetensors").unlink()  # beside it, transformers reads no index
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(ModelError, match=r"model\.safetensors\.index\.json: "):
        model_folder(folder)


def change_tokenizer(folder, change):
    content = json.loads((folder / "tokenizer.json").read_text())
    change(content)
    (folder / "tokenizer.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t["model"]["merges"].append(["never", "seen"]),  # tokenizers raises a plain Exception
        lambda t: t["model"].update(type="Nothing"),
        lambda t: t["model"].update(vocab={"a": -1}),
        lambda t: t.update(model={"type": "WordLevel", "vocab": {"x": 0}, "unk_token": "<none>"}),
    ],
)
def test_tokenizers_that_cannot_be_read_are_refused(folder, change):
    change_tokenizer(folder, change)
    with pytest.raises(ModelError, match="the tokenizer cannot be read"):
        load_tokenizer(str(folder))


CHAT = json.dumps([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])


@pytest.mark.parametrize(
    "template",
    [
        "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
        "{{ 1 / 0 }}",
        "{{ messages.a.b.c }}",
        "{% for %}",
        "{{ raise_exception('no') }}",
    ],
)
def test_chat_templates_that_fail_are_refused(folder, template):
    tokenizer = load_tokenizer(str(folder))
    tokenizer.chat_template = template
    texts = Texts(("r",), ("b",), ("",), (CHAT,))
    with pytest.raises(DataError, match="chat template rejects this chat") as refused:
        render_chats(tokenizer, texts)
    assert len(str(refused.value)) < 600
