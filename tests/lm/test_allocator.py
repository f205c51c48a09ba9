"""A process keeps freed memory if the C library allows it."""

import platform
import subprocess
import sys

import pytest

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
