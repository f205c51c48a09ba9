"""Every adapter type of the installed peft: a config for each, and the steps that programs take after it is attached."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import peft
import torch
from peft import get_peft_model
from transformers import AutoModelForCausalLM

ARCHITECTURES = ("llama", "gpt2", "gemma", "mixtral")
EXPERTS = tempfile.TemporaryDirectory(prefix="xlora-")
"""The adapters of X-LoRA, removed when the process ends."""
INVOCATION = 299
"""A token of every text."""
LINEAR = {
    "gpt2": {"attention": ["c_attn"], "square": ["attn.c_proj"], "all": ["c_attn", "c_fc"], "down": ["mlp.c_proj"],
             "embedding": "wte", "head": "lm_head", "norm": ["ln_1"], "biased": ["c_attn"]},
}  # fmt: skip
LLAMA = {"attention": ["q_proj", "v_proj"], "square": ["q_proj", "o_proj"], "all": ["q_proj", "gate_proj"],
         "down": ["down_proj"], "embedding": "embed_tokens", "head": "lm_head", "norm": ["input_layernorm"],
         "biased": ["q_proj"]}  # fmt: skip


def names(architecture):
    """Names of an architecture's modules by their job."""
    return SimpleNamespace(**LINEAR.get(architecture, LLAMA))


def plain(model, _names):
    return model


@dataclass(frozen=True)
class Kind:
    """One way to adapt a model: its group of the page, its config for an architecture's names, and steps after the perturbation.

    `part` is the subfolder of the saved adapter, None if nothing is audited from files. `runs` is whether the library computes
    logits from texts alone.
    """

    group: str
    config: Callable
    after: Callable = plain
    part: str | None = ""
    architectures: tuple[str, ...] = ("llama",)
    wrapped: bool = True
    runs: bool = True


def of(cls, /, where="attention", group="", architectures=("llama",), *, runs=True, **settings):
    """A kind with a config of this class on the modules with this job."""

    def config(n):
        targets = {} if where is None else {"target_modules": getattr(n, where)}
        own = {k: v(n) if callable(v) else v for k, v in settings.items()}
        return getattr(peft, cls)(**targets | own | {"task_type": "CAUSAL_LM"})

    return Kind(group, config, architectures=architectures, runs=runs)


def lora(after=plain, part="", architectures=("llama",), *, wrapped=True, **settings):
    kind = of("LoraConfig", group="LORA", r=4, **settings)
    return Kind("LORA", kind.config, after, part, architectures, wrapped)


def second(model, n):
    """Add another LoRA of another rank, and give it numbers."""
    model.add_adapter("second", peft.LoraConfig(r=4, target_modules=n.attention, task_type="CAUSAL_LM"))
    perturb(model, "second")
    return model


def other_active(model, n):
    second(model, n).set_adapter("second")
    return model


def both_active(model, n):
    second(model, n).base_model.set_adapter(["default", "second"])
    return model


def weighted(kind, model, n):
    second(model, n).add_weighted_adapter(
        ["default", "second"], [0.7, 0.3], "mixed", combination_type=kind, density=0.5
    )
    model.set_adapter("mixed")
    return model


def weighted_and_other(model, n):
    weighted("linear", model, n).base_model.set_adapter(["mixed", "second"])
    return model


def merged(model, n):
    model.merge_adapter()
    return model


def one_merged(model, n):
    second(model, n).merge_adapter(["default"])
    return model


def unloaded(model, n):
    return model.merge_and_unload()


def disabled(model, n):
    model.base_model.disable_adapter_layers()
    return model


def initialized(name, model, n):
    """Record an initialization that needs data or a GPU: its effect on the base is not computed here."""
    model.peft_config["default"].init_lora_weights = name
    return model


def mixture(n):
    """Return an X-LoRA config with two saved adapters as its experts."""
    folder = Path(EXPERTS.name)
    return peft.XLoraConfig(
        adapters={"0": str(folder / "0"), "1": str(folder / "1")}, hidden_size=32, xlora_size=8, task_type="CAUSAL_LM"
    )


def save_experts(config, n, base):
    for path in config.adapters.values():
        torch.manual_seed(int(path[-1]))
        lora_config = peft.LoraConfig(r=4, target_modules=n.attention, task_type="CAUSAL_LM", init_lora_weights=False)
        get_peft_model(AutoModelForCausalLM.from_pretrained(base), lora_config).save_pretrained(path)


def perturb(model, adapter=""):
    """Move every weight that training would move, and leave the base as it is."""
    torch.manual_seed(5)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if (weight.requires_grad or adapter) and weight.is_floating_point() and adapter in name:
                weight.add_(0.2 * torch.randn_like(weight))
    return model


ALL = ARCHITECTURES
KINDS: dict[str, Kind] = {
    "LoRA": lora(where="attention", architectures=ALL),
    "LoRA on every layer": lora(where="all", architectures=ALL),
    "LoRA on expert weights (target_parameters)": lora(
        where=None, architectures=("mixtral",), target_parameters=["mlp.experts.gate_up_proj"]
    ),
    "LoRA on the output head": lora(target_modules=lambda n: [*n.attention, n.head]),
    "LoRA on the embedding": lora(target_modules=lambda n: [*n.attention, n.embedding], architectures=("llama", "gpt2")),
    "DoRA": lora(use_dora=True, architectures=ALL),
    "rsLoRA": lora(use_rslora=True),
    "rank_pattern and alpha_pattern": lora(
        rank_pattern=lambda n: {n.attention[0]: 2}, alpha_pattern=lambda n: {n.attention[0]: 9}
    ),
    "lora_bias": lora(lora_bias=True),
    "bias: all": lora(bias="all", where="biased", architectures=("gpt2",)),
    "bias: lora_only": lora(bias="lora_only", where="biased", architectures=("gpt2",)),
    "modules_to_save: output head": lora(modules_to_save=lambda n: [n.head]),
    "modules_to_save: embedding": lora(modules_to_save=lambda n: [n.embedding]),
    "modules_to_save: layer norms": lora(modules_to_save=lambda n: n.norm),
    "trainable_token_indices": lora(trainable_token_indices=[40, 41, 42]),
    "layer_replication": lora(layer_replication=[[0, 2], [1, 2]]),
    "PiSSA": lora(init_lora_weights="pissa"),
    "OLoRA": lora(init_lora_weights="olora"),
    "LoftQ": lora(partial(initialized, "loftq")),
    "CorDA": lora(partial(initialized, "corda")),
    "LoRA-GA": lora(partial(initialized, "lora_ga")),
    "EVA": lora(init_lora_weights="eva", eva_config=lambda _: peft.EvaConfig()),
    "MiCA, orthogonal initialization": lora(init_lora_weights="orthogonal"),
    "Gaussian initialization": lora(init_lora_weights="gaussian"),
    "QALoRA": lora(use_qalora=True, qalora_group_size=8),
    "aLoRA": lora(alora_invocation_tokens=[INVOCATION]),
    "aLoRA, not invoked in the texts": lora(alora_invocation_tokens=[3]),
    "several adapters, one active": lora(other_active, "second"),
    "several adapters active at once": lora(both_active, None),
    "weighted combination: linear": lora(partial(weighted, "linear"), "mixed"),
    "weighted combination: cat": lora(partial(weighted, "cat"), "mixed"),
    "weighted combination: svd": lora(partial(weighted, "svd"), "mixed"),
    "weighted combination: ties": lora(partial(weighted, "ties"), "mixed"),
    "weighted combination: dare_linear": lora(partial(weighted, "dare_linear"), "mixed"),
    "weighted combination: magnitude_prune_svd": lora(partial(weighted, "magnitude_prune_svd"), "mixed"),
    "weighted combination, active with another": lora(weighted_and_other, None),
    "merged in place (merge_adapter)": lora(merged, None),
    "one of two adapters merged": lora(one_merged, None),
    "merged and unloaded": lora(unloaded, None),
    "disabled": lora(disabled, None),
    "injected into the model (add_adapter of transformers)": lora(part=None, wrapped=False),
    "AdaLoRA": of("AdaLoraConfig", init_r=4, target_r=2, total_step=10, group="ADALORA", architectures=("llama", "gpt2")),
    "AdaMSS": of("AdamssConfig", r=8, num_subspaces=2, group="ADAMSS"),
    "Adaption prompt (LLaMA-Adapter)": of(
        "AdaptionPromptConfig", where=None, adapter_len=4, adapter_layers=2, group="ADAPTION_PROMPT",
        architectures=("llama", "gpt2"),
    ),
    "BEFT": of("BeftConfig", group="BEFT"),
    "BOFT": of("BOFTConfig", group="BOFT"),
    "C3A": of("C3AConfig", where="square", block_size=8, group="C3A"),
    "Cartridge": of("CartridgeConfig", where=None, num_virtual_tokens=4, group="CARTRIDGE"),
    "CPT": of(
        "CPTConfig", where=None, cpt_token_ids=[20, 21, 22, 23], cpt_mask=[1] * 4, cpt_tokens_type_mask=[1, 2, 3, 4],
        group="CPT", architectures=("llama", "gpt2"),
    ),
    "DEFT": of("DeftConfig", r=4, group="DEFT"),
    "DeLoRA": of("DeloraConfig", r=4, group="DELORA"),
    "FourierFT": of("FourierFTConfig", n_frequency=50, group="FOURIERFT"),
    "FRoD": of("FrodConfig", group="FROD", progressbar=False, sparse_rate=0.1),
    "GLoRA": of("GloraConfig", r=4, group="GLORA"),
    "GraLoRA": of("GraloraConfig", r=4, alpha=8, group="GRALORA"),
    "HiRA": of("HiraConfig", r=4, group="HIRA"),
    "HRA": of("HRAConfig", r=4, group="HRA"),
    "IA3": of(
        "IA3Config", target_modules=lambda n: [*n.attention, *n.down], feedforward_modules=lambda n: n.down, group="IA3",
        architectures=("llama", "gpt2", "gemma"),
    ),
    "Lily": of("LilyConfig", r=4, group="LILY"),
    "LN tuning": of("LNTuningConfig", where="norm", group="LN_TUNING", architectures=("llama", "gpt2")),
    "LoHa": of("LoHaConfig", r=4, group="LOHA"),
    "LoKr": of("LoKrConfig", r=4, group="LOKR"),
    "MiSS (Bone)": of("MissConfig", r=4, group="MISS"),
    "MiSS, init_weights: bat": of("MissConfig", r=4, init_weights="bat", group="MISS"),
    "OFT": of("OFTConfig", oft_block_size=8, group="OFT"),
    "SHiRA": of("ShiraConfig", r=4, random_seed=0, group="SHIRA"),
    "Prompt tuning": of("PromptTuningConfig", where=None, num_virtual_tokens=4, group="PROMPT_TUNING", architectures=ALL),
    "Multitask prompt tuning": of(
        "MultitaskPromptTuningConfig", where=None, num_virtual_tokens=4, num_tasks=2, group="MULTITASK_PROMPT_TUNING",
        runs=False,
    ),
    "OSF": of("OSFConfig", effective_rank=8, group="OSF"),
    "P-tuning": of(
        "PromptEncoderConfig", where=None, num_virtual_tokens=4, encoder_hidden_size=16, group="P_TUNING", architectures=ALL
    ),
    "PEANuT": of("PeanutConfig", r=4, group="PEANUT"),
    "Poly": of("PolyConfig", r=4, n_tasks=2, n_skills=2, group="POLY", runs=False),
    "Prefix tuning": of("PrefixTuningConfig", where=None, num_virtual_tokens=4, group="PREFIX_TUNING", architectures=ALL),
    "Prefix tuning, prefix_projection": of(
        "PrefixTuningConfig", where=None, num_virtual_tokens=4, prefix_projection=True, encoder_hidden_size=16,
        group="PREFIX_TUNING",
    ),
    "PSOFT": of("PsoftConfig", r=4, group="PSOFT"),
    "PVeRA": of("PveraConfig", r=8, group="PVERA"),
    "PVeRA, sample_at_inference": of("PveraConfig", r=8, sample_at_inference=True, group="PVERA"),
    "RandLoRA": of("RandLoraConfig", r=4, group="RANDLORA"),
    "RoAd": of("RoadConfig", group_size=8, group="ROAD"),
    "Shadow": of("ShadowConfig", where=None, r=4, group="SHADOW"),
    "SuperTuning": of("SupertuningConfig", sparsity=0.9, group="SUPERTUNING"),
    "TinyLoRA": of("TinyLoraConfig", u=8, group="TINYLORA"),
    "Trainable tokens": of("TrainableTokensConfig", where=None, token_indices=[40, 41, 42], group="TRAINABLE_TOKENS",
                           architectures=("llama", "gpt2")),
    "UniLoRA": of("UniLoraConfig", theta_d_length=32, group="UNILORA"),
    "VB-LoRA": of("VBLoRAConfig", vector_length=8, num_vectors=16, group="VBLORA"),
    "VeRA": of("VeraConfig", r=8, where="square", group="VERA"),
    "WaveFT": of("WaveFTConfig", n_frequency=50, group="WAVEFT"),
    "X-LoRA": Kind("XLORA", mixture),
}  # fmt: skip
