"""`byheart model`: a cell's model after any observed epoch is the one that the study attacked, and loads elsewhere."""

import json
import shutil
import tarfile

import numpy as np
import pytest
from huggingface_hub import ModelCard

import byheart
from byheart.core.errors import CellError, SettingError, StoreError
from byheart.store.archive import pack
from byheart.store.rows import study_rows
from byheart.store.store import Store
from byheart.study.export_model import export_model
from byheart.study.run_task import stored_study
from testing.made_up import SENTENCES
from testing.stores import lora_study

METHODS = ("full", "head", "lora", "prompt")


@pytest.fixture(scope="module")
def store(tiny_folder, tmp_path_factory):
    """A study of four methods, which was observed after half an epoch, one and two."""
    content = lora_study(
        tiny_folder("llama"), methods=list(METHODS), training={"epochs": 2, "batch_size": 4, "observe": [0.5, 1]}
    )
    folder = tmp_path_factory.mktemp("exported") / "store"
    assert not byheart.run(content, store=folder).failed
    return Store.open(folder)


def exported(store, folder, *where, epoch=None):
    return export_model(store, folder, where=where, epoch=epoch, tell=lambda _: None)


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("epoch", [0.5, 1, None])
@pytest.mark.parametrize("method", METHODS)
def test_the_folder_has_the_model_that_the_study_attacked(store, tmp_path, method, epoch):
    before = contents(store.root)
    found = exported(store, tmp_path / "model", f"method={method}", epoch=epoch)
    assert found.compared_texts == 16
    assert found.difference < 1e-5
    assert found.epoch == (epoch or 2)
    assert found.is_trained_again == (epoch is not None)
    assert bool(found.adapter_base) == (method in {"lora", "prompt"})
    assert {p.stat().st_mode & 0o777 for p in found.folder.iterdir()} == {found.folder.stat().st_mode & 0o666}
    assert contents(store.root) == before, "the store is only read"


@pytest.mark.parametrize("method", METHODS)
def test_other_libraries_load_the_folder(store, tmp_path, method):
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = exported(store, tmp_path / "model", f"method={method}", epoch=1).folder
    kind = AutoPeftModelForCausalLM if method in {"lora", "prompt"} else AutoModelForCausalLM
    module, tokenizer = kind.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    text = "the old sailor wrote twice"
    stats = byheart.token_stats(module, tokenizer, [text])
    base = byheart.token_stats(
        *(c.from_pretrained(base_of(store)) for c in (AutoModelForCausalLM, AutoTokenizer)), [text]
    )
    assert np.abs(stats.logp - base.logp).max() > 1e-4, "it is not the base model"


def test_the_model_card_states_the_training_and_the_leakage_of_that_epoch(store, tmp_path):
    """Also instead of the empty card that peft writes."""
    folder = exported(store, tmp_path / "model", "method=lora", epoch=0.5).folder
    metadata, card = ModelCard.load(folder / "README.md").data, (folder / "README.md").read_text()
    assert metadata.library_name == "peft"
    assert "# LoRA of" in card
    assert " after 0.5 epochs\n" in card
    assert "More Information Needed" not in card
    (row,) = (r for r in study_rows(store) if (r.method, r.epoch, r.attack, r.metric) == ("lora", 0.5, "loss", "auc"))
    (line,) = (line for line in card.splitlines() if "| Loss " in line)
    assert f" {row.value:.3f} " in line
    assert "records, 12 texts" in card
    assert "count=60" not in card, "no setting of the data, such as a path"


def test_the_card_of_a_complete_model_names_its_library(store, tmp_path):
    folder = exported(store, tmp_path / "model", "method=head").folder
    assert ModelCard.load(folder / "README.md").data.library_name == "transformers"


def base_of(store):
    return stored_study(store, "tiny").cells[0].base


def test_damaged_weights_are_refused(store, tmp_path):
    copy = tmp_path / "store"
    shutil.copytree(store.root, copy)
    weights = next((copy / "training").glob("*/adapter/adapter_model.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(StoreError, match=r"adapter_model.safetensors has another checksum"):
        exported(Store.open(copy), tmp_path / "model", f"cell={weights.parent.parent.name}")
    assert not (tmp_path / "model").exists()


def test_a_retrained_model_with_other_numbers_is_refused(store, tmp_path, monkeypatch):
    from byheart.study import export_model as module

    original = module.training_epochs

    def with_another_rate(context, model, tuned, pairs, **settings):
        return original(context, model, tuned._replace(learning_rate=0.5), pairs, **settings)

    monkeypatch.setattr(module, "training_epochs", with_another_rate)
    with pytest.raises(CellError, match=r"differs from the one that the study attacked, by .* nats per token"):
        exported(store, tmp_path / "model", "method=lora", epoch=1)
    assert not list(tmp_path.iterdir())


def test_requests_that_select_no_single_model_are_refused(store, tmp_path):
    with pytest.raises(SettingError, match=r"selects 4 models\. Select one: --where cell=\w+ \(full · records"):
        exported(store, tmp_path / "model")
    with pytest.raises(SettingError, match=r"--epoch 1\.5: .* after epochs 0\.5, 1, 2\. Choose one of them"):
        exported(store, tmp_path / "model", "method=lora", epoch=1.5)
    with pytest.raises(StoreError, match="already exists"):
        exported(store, store.root, "method=lora")
    with pytest.raises(StoreError, match="inside the store"):
        exported(store, store.root / "training" / "mine", "method=lora")
    with pytest.raises(SettingError, match="Write --epoch instead"):
        exported(store, tmp_path / "model", "method=lora", "epoch=1")
    link = tmp_path / "link"
    link.symlink_to("nowhere")
    with pytest.raises(StoreError, match="already exists"):
        exported(store, link, "method=lora")
    link.unlink()
    assert not list(tmp_path.iterdir())


def test_a_packed_study_stays_as_it_is(store, tmp_path):
    with tarfile.open(pack(store, "tiny", tmp_path / "tiny.tar.xz")) as packed:
        packed.extractall(tmp_path / "unpacked", filter="data")
    unpacked = Store.open(tmp_path / "unpacked")
    before = contents(unpacked.root)
    with pytest.raises(StoreError, match="a packed study, which has no weights"):
        exported(unpacked, tmp_path / "model", "method=lora")
    assert contents(unpacked.root) == before


def test_data_that_changed_since_the_run_are_named(tiny_folder, tmp_path):
    texts = tmp_path / "texts.jsonl"
    texts.write_text("".join(json.dumps({"text": f"{s} {i}"}) + "\n" for i in range(3) for s in SENTENCES))
    changes = {"datasets": [{"files": {"path": str(texts)}}], "methods": ["lora"], "training": {"epochs": 1}}
    data = {"train": 6, "members": 6, "nonmembers": 6, "validation": 4, "max_tokens": 20}
    assert not byheart.run(lora_study(tiny_folder("llama"), **changes, data=data), store=tmp_path / "store").failed
    texts.write_text(texts.read_text().replace("the", "a"))
    with pytest.raises(
        StoreError, match=r"the data, the base model or byheart changed since study 'tiny' ran\. Restore them"
    ):
        exported(Store.open(tmp_path / "store"), tmp_path / "model")


def test_the_command_prints_what_it_wrote(store, tmp_path, typed):
    words = (
        "--store",
        store.root,
        "--study",
        "tiny",
        "--where",
        "method=lora",
        "--epoch",
        "1",
        "-o",
        tmp_path / "mine",
    )
    code, out, err = typed("model", *map(str, words))
    assert code == 0
    assert "adapter of lora · records" in out
    assert f"after epoch 1, trained again: {tmp_path / 'mine'}" in out
    assert "equals the attacked model: log-probabilities of 16 audited texts differ by at most" in out
    assert "trained again until epoch 1" in err
    assert json.loads((tmp_path / "mine" / "adapter_config.json").read_text())["peft_type"] == "LORA"
