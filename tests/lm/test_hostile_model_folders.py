"""Model folders and adapters that would hang byheart, fill its memory or run downloaded code are refused in one line."""

import json
import shutil

import peft
import pytest
from transformers import AutoModelForCausalLM

from byheart.core.errors import DataError, ModelError
from byheart.core.types import Texts
from byheart.lm import adapter_patterns, special_tokens
from byheart.lm.attach_adapter import attach_adapter
from byheart.lm.base_models import check_loadable
from byheart.lm.finetuned import load_model, model_files
from byheart.lm.load import load_tokenizer
from byheart.lm.placement import Placement
from byheart.lm.tokens import tokenize

CHAT = json.dumps([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])


@pytest.fixture
def folder(tiny_folder, tmp_path):
    return shutil.copytree(tiny_folder("llama"), tmp_path / "model")


@pytest.fixture(scope="module")
def lora(tiny_folder, tmp_path_factory):
    place = tmp_path_factory.mktemp("lora") / "adapter"
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    peft.get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_folder("llama")), config).save_pretrained(place)
    return place


@pytest.fixture
def adapter(lora, tmp_path):
    return shutil.copytree(lora, tmp_path / "adapter")


def write_settings(file, **settings):
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))


@pytest.mark.parametrize(
    "settings",
    [
        {"num_hidden_layers": 10**6},
        {"vocab_size": 10**10},
        {"intermediate_size": 10**10},
        {"text_config": {"num_hidden_layers": 10**6}},
    ],
)
def test_a_config_that_is_far_larger_than_the_weights_is_refused(folder, settings):
    write_settings(folder / "config.json", **settings)
    with pytest.raises(ModelError, match=r"config\.json has \w+ 10+, more than the weights' (values|tensors)"):
        check_loadable(str(folder))


@pytest.mark.parametrize(
    "settings",
    [
        {"attn_implementation": "owner/kernel"},
        {"_attn_implementation": "owner/kernel@main"},
        {"_attn_implementation": {"": "sdpa", "text_config": "owner/kernel"}},
        {"experts_implementation": "owner/kernel"},
        {"text_config": {"attn_implementation": "owner/kernel"}},
    ],
)
def test_a_config_that_names_code_of_the_hub_is_refused(folder, settings):
    write_settings(folder / "config.json", **settings)
    with pytest.raises(ModelError, match=r"_implementation from the Hub, which runs downloaded code\. Remove"):
        check_loadable(str(folder))


LOOPS = "{% for i in range(SIZE) %}{% for j in range(SIZE) %}{% endfor %}{% endfor %}"
DOUBLED = "{% set n = namespace(x='aaaa') %}{% for i in range(26) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x[:9] }}"


@pytest.mark.parametrize(
    ("template", "limit"),
    [
        (LOOPS.replace("SIZE", "6000"), "MAX_TEMPLATE_SECONDS"),
        (DOUBLED.replace("{{", LOOPS.replace("SIZE", "2000") + "{{"), "MAX_TEMPLATE_BYTES"),
    ],
)
def test_a_chat_template_that_does_not_end_or_fills_the_memory_is_refused(folder, monkeypatch, template, limit):
    monkeypatch.setattr(special_tokens, limit, 0.2 if limit == "MAX_TEMPLATE_SECONDS" else 32 << 20)
    tokenizer = load_tokenizer(str(folder))
    tokenizer.chat_template = template
    texts = Texts(("r",), ("b",), ("",), (CHAT,))
    with pytest.raises(DataError, match=r"chat template takes more than .* Use the template of the model's authors"):
        special_tokens.render_chats(tokenizer, texts)


def test_a_tokenizer_that_gives_up_on_a_text_is_refused(folder):
    content = json.loads((folder / "tokenizer.json").read_text())
    split = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
    content["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, content["pre_tokenizer"]]}
    (folder / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match="cannot tokenize these texts"):
        tokenize(load_tokenizer(str(folder)), Texts(("r",), ("a" * 60 + " b",)), 64)


@pytest.mark.parametrize("field", ["target_modules", "exclude_modules"])
def test_an_adapter_whose_pattern_takes_too_long_is_refused(folder, adapter, monkeypatch, field):
    """Without the check, peft would match this pattern for seconds, and the usual ones of an attacker for years."""
    monkeypatch.setattr(adapter_patterns, "MAX_PATTERN_SECONDS", 0.3)
    write_settings(adapter / "adapter_config.json", **{field: ".*" * 6 + "!"})
    placing = Placement(device="cpu")
    with pytest.raises(ModelError, match=r"a pattern in its config takes more than 0\.3 seconds"):
        attach_adapter(load_model(str(folder), placing), model_files(str(adapter), None, str(folder)), placing)


@pytest.mark.parametrize("pattern", ["q_proj", r".*\.layers\.[01]\..*q_proj", "("])
def test_usual_patterns_take_milliseconds(folder, adapter, pattern):
    names = [name for name, _ in load_model(str(folder), Placement(device="cpu")).module.named_modules()]
    adapter_patterns.check_patterns(adapter, {"target_modules": pattern, "rank_pattern": {pattern: 4}}, names)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"megatron_config": {"a": 1}, "megatron_core": "evil"}, "peft imports a module that the file names"),
        ({"peft_type": "XLORA", "adapters": {"0": "elsewhere"}, "hidden_size": 16}, "X-LoRA takes further adapters"),
    ],
)
def test_an_adapter_that_imports_code_or_reads_other_folders_is_refused(folder, adapter, settings, says):
    write_settings(adapter / "adapter_config.json", **settings)
    with pytest.raises(ModelError, match=says):
        model_files(str(adapter), None, str(folder))
