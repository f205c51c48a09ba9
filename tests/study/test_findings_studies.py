"""The studies of the findings are plans that the shelves can fill, with equal parameter counts where they say so."""

import json
from pathlib import Path

import pytest
import torch

from byheart.core.registry import choose
from byheart.lm.load import LanguageModel
from byheart.study.study_file import parse_study, read_study

FOLDER = Path(__file__).parents[2] / "studies" / "findings"


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yaml")), ids=lambda f: f.stem)
def test_every_name_and_setting_exists(file):
    study = read_study(file)
    assert study.cells
    assert study.metrics


def test_placements_train_equally_many_parameters():
    """Shapes of SmolLM2-135M on the meta device: no weights are needed to count."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, tie_word_embeddings=True,
    )  # fmt: skip
    counts = []
    for method in {
        json.dumps(c.method.settings): c.method for c in read_study(FOLDER / "placement.yaml").cells
    }.values():
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
            tuned = choose("methods", "lora", method.explicit_settings)(LanguageModel(model, None, "shapes"))
        counts.append(sum(p.numel() for p in tuned.module.parameters() if p.requires_grad))
    assert counts == [6105600, 6082560, 6105600]


def test_a_study_of_drift_and_capacity_runs_from_settings_only(tiny_folder, tmp_path):
    import byheart
    from byheart.figures.drift import drift as figure
    from byheart.tables.drift import drift as table

    content = {
        "name": "moved",
        "models": str(tiny_folder("llama")),
        "datasets": [{"records": {"count": 60}}],
        "data": {"train": 12, "members": 10, "nonmembers": 12, "validation": 6, "max_tokens": 60},
        "methods": ["full", "head", "lora", "prefix", "prompt", "p_tuning"],
        "training": {"epochs": 1, "batch_size": 4},
        "attacks": ["loss"],
        "observations": [{"activations_base": {"texts": 16, "positions": 2}}],
        "metrics": [
            "auc",
            "perplexity",
            "capacity",
            "drift",
            *({"drift": {"measure": m}} for m in ("attention", "virtual", "next_token")),
        ],
    }
    parse_study(content)
    results = byheart.run(content, store=tmp_path / "store")
    assert not results.failed, results.failed
    rows = list(results.rows)
    drifts = [r for r in rows if r.metric == "drift"]
    assert all(r.value == 0 for r in drifts if r.epoch == 0 and not r.initialized), "the base model does not drift"
    initialized = {r.method for r in drifts if r.initialized and r.value > 0}
    assert initialized == {"prefix", "prompt", "p_tuning"}
    hidden = {m: max(r.value for r in drifts if r.method == m and r.epoch == 1 and not r.metric_settings.startswith("m"))
              for m in content["methods"]}  # fmt: skip
    assert hidden.pop("head") == 0
    assert min(hidden.values()) > 0
    kl = {r.method for r in drifts if "next_token" in r.metric_settings and r.epoch == 1 and r.value > 0}
    assert kl == set(content["methods"])
    virtual = {r.method for r in drifts if "virtual" in r.metric_settings and r.epoch == 1 and r.value > 0}
    assert virtual == {"prefix", "prompt", "p_tuning"}
    kept = [r for r in rows if r.metric == "capacity"]
    assert {r.metric_settings for r in kept} == {"saving=total", "saving=beyond"}
    assert all(r.value == 0 for r in kept if r.epoch == 0 and not r.initialized)
    assert any(r.value > 0 for r in kept if r.epoch == 1)
    recipes = [json.loads(f.read_text())["recipe"] for f in (tmp_path / "store" / "evidence").glob("*/recipe.json")]
    names = [recipe["observation"]["name"] for recipe in recipes]
    assert names.count("activations_base") == 1, "once for all methods"
    assert len(table(rows).rows) == 6 * 4 * 3
    assert len(table(rows, epoch=0).rows) == 3 * 4 * 3
    assert figure(rows).data["drift"]
