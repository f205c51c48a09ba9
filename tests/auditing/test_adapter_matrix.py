"""Every adapter type of the installed peft on tiny models: the audit has the plain loop's numbers, or refuses in one line.

`testing.adapters.outcome` asserts both, and that an audited object is bit-equal afterwards.
"""

import pytest
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

from testing import adapters

PAIRS = [(name, architecture) for name, kind in adapters.KINDS.items() for architecture in kind.architectures]
IN_EVERY_RUN = {
    (name, kind.architectures[i % len(kind.architectures)]) for i, (name, kind) in enumerate(adapters.KINDS.items())
}
"""Each kind of adapter on one architecture."""


@pytest.mark.parametrize(
    ("name", "architecture"),
    [pytest.param(*p, id=" - ".join(p), marks=() if p in IN_EVERY_RUN else pytest.mark.slow) for p in PAIRS],
)
@pytest.mark.filterwarnings("ignore")
def test_an_adapter_has_the_numbers_of_a_plain_loop_or_is_refused(name, architecture, tiny_folder, tmp_path):
    found = adapters.outcome(adapters.KINDS[name], architecture, str(tiny_folder(architecture)), tmp_path)
    committed = adapters.committed()["adapters"][name]["outcomes"][architecture]
    assert adapters.without_paths(found, tmp_path) == committed, "docs/formats.json is old: write make formats"


def test_every_type_of_peft_is_in_the_table():
    assert {t.value for t in PEFT_TYPE_TO_CONFIG_MAPPING} == {kind.group for kind in adapters.KINDS.values()}


def test_committed_outcomes_are_those_of_the_table():
    committed = adapters.committed()["adapters"]
    assert {n: set(k["outcomes"]) for n, k in committed.items()} == {
        n: set(k.architectures) for n, k in adapters.KINDS.items()
    }
