"""A process keeps freed memory if the C library allows it."""

import platform
import subprocess
import sys

import pytest

from byheart.lm import allocator

SCRIPT = """
import resource, sys
from byheart.lm.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
import numpy as np
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(20_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="requires glibc")
def test_a_large_array_is_paged_in_once():
    def faults(word):
        made = subprocess.run([sys.executable, "-c", SCRIPT, word], check=True, capture_output=True, text=True)
        return int(made.stdout)

    assert faults("kept") < faults("returned") / 5


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="requires glibc")
@pytest.mark.parametrize(("available", "released"), [(10**15, False), (1, True), (None, False)])
def test_free_memory_is_released_if_less_is_available_than_this_process_takes(monkeypatch, available, released):
    calls = []
    monkeypatch.setattr(allocator, "available_ram", lambda: available)
    monkeypatch.setattr(allocator, "release_free_memory", lambda: calls.append("released"))
    allocator.release_scarce_memory()
    assert bool(calls) == released
