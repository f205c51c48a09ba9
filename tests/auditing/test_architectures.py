"""Architectures and servers of docs/formats.md: the audit has the plain loop's numbers, or refuses in one line."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from byheart.core.config import Machine
from byheart.core.errors import ModelError
from byheart.study.estimate import check_device_and_bases
from testing import adapters, architectures, server_kinds
from testing.architecture_kinds import CONFIGS
from testing.pairs import some_of

IN_EVERY_RUN = ("Llama", "Mixtral", "Qwen3", "Gemma 3, text", "GPT-2", "BLOOM", "Mamba", "Llava", "T5", "BERT")
OF_SECONDS = ("vLLM, a model whose tokenizer adds BOS", "one number for every token", "chat only")
"""Kinds of servers that generate many texts."""


@pytest.mark.parametrize("name", some_of(CONFIGS, IN_EVERY_RUN))
@pytest.mark.filterwarnings("ignore")
def test_an_architecture_has_the_numbers_of_a_plain_loop_or_is_refused(name, tmp_path):
    found = architectures.without_folder(architectures.outcome(name, tmp_path), tmp_path)
    assert found == adapters.committed()["architectures"][name], "docs/formats.json is old: write make formats"


@pytest.mark.parametrize("name", some_of(server_kinds.KINDS, [n for n in server_kinds.KINDS if n not in OF_SECONDS]))
@pytest.mark.usefixtures("short_waits")
def test_a_server_has_the_numbers_of_the_weights_or_is_refused(name, folders):
    kind = server_kinds.KINDS[name]
    found = server_kinds.outcome(kind, folders(kind.architecture))
    assert found == adapters.committed()["servers"][name], "docs/formats.json is old: write make formats"


def test_committed_outcomes_are_those_of_the_tables():
    committed = adapters.committed()
    assert list(committed["architectures"]) == list(CONFIGS)
    assert list(committed["servers"]) == list(server_kinds.KINDS)


def test_a_study_trains_no_model_of_images_and_says_so(tmp_path):
    for name in ("Llava", "Llama"):
        architectures.save_model(name, tmp_path / name, seed=1)
        cell = SimpleNamespace(cell=SimpleNamespace(base=str(tmp_path / name)), has_chats=False)
        refused = pytest.raises(ModelError, match="llava also reads images or sound, and studies train models of texts")
        with refused if name == "Llava" else nullcontext():
            check_device_and_bases(Machine(), [cell], [1.0])
