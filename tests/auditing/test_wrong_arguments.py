"""Arguments of the Python functions that are of another type are refused in one line, as the command line refuses them."""

import numpy as np
import pytest
import torch

import byheart
from byheart.auditing.settings import AuditSettings
from byheart.core.errors import DataError, RequestError, SettingError, UnknownNameError

MEMBERS, NONMEMBERS = (["The queen wrote.", "A sailor sang."], ["One pilot fell.", "Her nurse slept."])


@pytest.mark.parametrize(
    "wrong",
    [
        {"end_token": "no"},
        {"attacks": 5},
        {"attacks": [object()]},
        {"attacks": [{"loss": 3}]},
        {"pass_below": 5},
        {"pass_below": object()},
        {"fpr": "low"},
        {"max_texts": True},
        {"max_tokens": "all"},
        {"precision": torch.float32},
    ],
)
def test_settings_of_an_audit(wrong):
    with pytest.raises(RequestError) as refused:
        AuditSettings(**wrong)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    "wrong",
    [
        {"every": np.zeros(3)},
        {"every": True},
        {"every": 0},
        {"stop_above": "high"},
        {"stop_above": [0.9]},
        {"preflight": ["warn"]},
        {"output": 5},
        {"plot": b"x.svg"},
        {"max_texts": True},
        {"canaries": 3},
    ],
)
def test_arguments_of_the_callback(wrong):
    with pytest.raises(RequestError):
        byheart.MemorizationCallback(MEMBERS, NONMEMBERS, **wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_tokens": 0},
        {"max_tokens": "a"},
        {"max_tokens": True},
        {"token_budget": -1},
        {"precision": "float32"},
        {"precision": torch.int64},
    ],
)
def test_settings_of_token_stats(wrong):
    with pytest.raises(SettingError):
        byheart.token_stats(torch.nn.Linear(1, 1), object(), MEMBERS, **wrong)


@pytest.mark.parametrize("texts", ["one", 5, [1], ["\ud800"], None])
def test_texts_of_token_stats(texts, tiny):
    model = tiny("llama")
    with pytest.raises(DataError):
        byheart.token_stats(model.module, model.tokenizer, texts)


@pytest.mark.parametrize("study", [5, None, [1], object()])
def test_a_study_of_another_type(study, tmp_path):
    with pytest.raises(RequestError, match=r"study: .* is not a mapping"):
        byheart.run(study, store=tmp_path / "store")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    "wrong", [{"seed": np.zeros(3)}, {"seed": "a" * 5000}, {"kinds": "a" * 5000}, {"count": 10**12}]
)
def test_settings_of_planting(wrong):
    with pytest.raises(SettingError) as refused:
        byheart.plant(MEMBERS * 20, **{"count": 12, **wrong})
    assert len(str(refused.value)) < 500


def test_a_long_unknown_name_is_cut():
    with pytest.raises(UnknownNameError) as refused:
        AuditSettings(attacks="a" * 5000)
    assert len(str(refused.value)) < 1000


def test_a_role_with_control_characters_is_escaped():
    with pytest.raises(DataError, match=r"its roles: '\\x00'") as refused:
        byheart.plant([{"messages": [{"role": "\x00", "content": "a"}]}] * 20, count=12)
    assert str(refused.value).isprintable()
