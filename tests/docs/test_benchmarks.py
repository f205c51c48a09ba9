"""The page of benchmarks equals the measurements, and ratios are paired."""

import json
from functools import partial

import pytest
import torch

from benchmarks import devices, heads, page, pairs, profiles, shapes, subjects, training
from benchmarks.__main__ import PIECES, RESULTS, main
from byheart.core.types import Texts
from byheart.lm import load


def test_the_page_is_generated_from_the_results():
    results = json.loads(RESULTS.read_text())
    assert set(results) == set(PIECES)
    assert page.PAGE.read_text() == page.text(results), "docs/benchmarks.md is old: write make bench"


def test_ratios_are_computed_from_pairs_and_not_medians():
    found = pairs.ratio({"ours": [1.0, 2.0, 10.0], "theirs": [3.0, 2.0, 15.0]}, "theirs", "ours")
    assert found == pytest.approx((1.5, 1.0, 3.0))
    assert str(found) == "1.50 [1.00, 3.00]"


def test_the_order_of_sides_is_reversed_in_odd_rounds():
    order = []
    found = pairs.timed({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=2)
    assert "".join(order) == "ab" + "ab" + "ba"
    assert [len(times) for times in found.values()] == [2, 2]


@pytest.fixture
def tiny_subject(tiny_folder, sentences, monkeypatch):
    """Benchmarks of a tiny model on a few sentences; this list records calls that keep freed memory."""
    reported = []
    monkeypatch.setattr(subjects, "default_base", lambda: str(tiny_folder("llama")))
    monkeypatch.setattr(
        subjects, "texts", lambda n: Texts(tuple(map(str, range(min(n, 4)))), tuple(sentences[: min(n, 4)]))
    )
    monkeypatch.setattr(load, "keep_freed_memory", lambda: reported.append("kept"))
    return reported


def test_a_study_on_one_device_twice_has_equal_numbers(tiny_folder, monkeypatch):
    monkeypatch.setattr(devices, "default_base", lambda: str(tiny_folder("llama")))
    monkeypatch.setattr(devices, "METHODS", ("lora", "prompt"))
    found = devices.measured()
    assert found["rows"] == 2 * (9 * 2 + 2 * 2)
    assert found["lora"] == found["prompt"] == {"auc": 0.0, "perplexity": 0.0, "train_perplexity": 0.0}


@pytest.mark.usefixtures("tiny_subject")
def test_shapes_are_measured_by_a_small_one_on_a_cpu():
    found = shapes.measured()["small"]
    assert found["parameters"] > 50_000
    assert min(found["scoring, tokens/s"], found["LoRA training, tokens/s"]) > 0
    assert found["ours over forward"].median > 0


def test_device_pieces_are_written_to_a_file_of_their_own(tmp_path):
    with pytest.raises(SystemExit, match="no piece 'devices'"):
        main(["devices"])
    with pytest.raises(SystemExit, match=r"no piece 'x'; pieces: .*shapes"):
        main(["x"], tmp_path / "gpu.json")


def test_both_ways_of_loading_give_one_model(tiny_subject):
    ours, plain = subjects.model(), subjects.plain_model()
    assert all(torch.equal(a, b) for a, b in zip(ours.module.parameters(), plain.module.parameters(), strict=True))
    assert ours.module.dtype == plain.module.dtype
    assert (ours.module.training, ours.module.config.use_cache) == (
        plain.module.training,
        plain.module.config.use_cache,
    )
    assert ours.tokenizer("The old queen")["input_ids"] == plain.tokenizer("The old queen")["input_ids"]


@pytest.mark.parametrize(
    ("side", "kept"),
    [
        (partial(training._side, "ours"), ["kept"]),
        (partial(training._side, "best"), []),
        (partial(training._side, "kept"), ["kept"]),
        (partial(training._side, "default"), []),
        (partial(heads._side, "ours"), ["kept"]),
        (partial(heads._side, "Trainer"), []),
    ],
)
def test_only_byhearts_side_keeps_freed_memory(tiny_subject, monkeypatch, side, kept):
    monkeypatch.setattr(training, "METHODS", ("head", "prompt"))
    monkeypatch.setattr(heads, "EPOCHS", 2)
    assert side()
    assert tiny_subject == kept


def test_each_side_runs_in_its_own_process_in_turns(tmp_path, monkeypatch):
    (tmp_path / "sides.py").write_text(
        "import json, os, sys\nprint('loading')\nprint(json.dumps({'of': sys.argv[1], 'in': os.getpid()}))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = list(pairs.told("sides", ("a", "b"), rounds=2))
    assert [side for side, _ in found] == ["a", "b", "b", "a"]
    assert [one["of"] for _, one in found] == ["a", "b", "b", "a"]
    assert len({one["in"] for _, one in found}) == 4


def test_shares_of_a_profile_refer_to_all_torch_operations(tiny_subject):
    found = profiles.measured()
    assert len(found) == 3
    for shares in found.values():
        assert sum(shares.values()) == pytest.approx(1)
        assert min(shares.values()) >= 0
        assert {"matrix products", "attention", "softmax and statistics"} <= {
            k for k, share in shares.items() if share > 0.001
        }


def test_operations_per_token_depend_on_the_trained_part(tiny_subject):
    base = subjects.model()
    head = base.module.get_output_embeddings().weight.numel()
    trunk = sum(p.numel() for layer in base.module.model.layers for p in layer.parameters() if p.dim() > 1)
    assert training._weights(base, "full") == 3 * (trunk + head)
    assert training._weights(base, "lora") == training._weights(base, "prefix") == 2 * (trunk + head)
    assert training._weights(base, "head") == 2 * head + trunk / training.EPOCHS
