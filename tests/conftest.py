"""Tiny models and finished studies of them, a browser, and the command line in this process.

Shape checks are on for every test. What needs torch is imported by the fixture that needs it: tests of numbers load none.
"""

import copy
import functools
import gc
import json
import os
import shutil
import zlib
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may contact a hub
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny tensors: threads that wait for each other cost more than they save

import hypothesis
import pytest

from testing.shape_checks import checking_shapes, without_shape_checks

with checking_shapes("byheart"):
    import byheart.core.types  # noqa: F401 - imported here so that the hook sees them
    from byheart.core import ragged, registry  # noqa: F401 - the same
    from byheart.data import blind_baselines  # noqa: F401 - the same
    from byheart.stats import power, roc_auc  # noqa: F401 - the same

    for _shelf in ("attacks", "metrics"):
        for _name in registry.entry_names(_shelf):
            registry.load_function(_shelf, _name)

from testing import stores
from testing.long_tests import LONG_TESTS
from testing.made_up import ARCHITECTURES, SENTENCES

hypothesis.settings.register_profile("byheart", deadline=None)  # tests do not fail on a busy machine
hypothesis.settings.load_profile("byheart")


def pytest_configure():
    """Put the folders of tests in memory: they have tens of thousands of small files, which take milliseconds each on disk."""
    memory = Path("/dev/shm")  # noqa: S108 - pytest makes its own folder there
    if memory.is_dir() and shutil.disk_usage(memory).free > 6 * 2**30:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))


LONG_FILES = (
    "integration/test_end_to_end.py",
    "auditing/test_exported_weights.py",
    "study/test_interrupted.py",
    "study/test_learning_rate_search.py",
    "auditing/test_callback_processes.py",
    "study/test_sharded.py",
    "docs/test_simulations.py",
    "lm/test_processes.py",
    "attacks/test_self_prompted.py",
    "browser/test_real_audit_page.py",
)
"""Files with a minute in few tests, the longest first. `--dist loadfile` starts files in this order; a long one at the end
would leave the other process without work."""


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out the slow tests
def pytest_collection_modifyitems(items):
    """Mark long tests, and tests of further pairs of architecture and method, as slow; move long files to the front, whole files together."""
    ranks = {name: rank for rank, name in enumerate(LONG_FILES)}
    for item in items:
        if item.name in LONG_TESTS.get(_file(item), ()) or _is_further_pair(item):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: ranks.get(_file(item), len(ranks)))


def _file(item):
    return "/".join(item.path.parts[-2:])


def _is_further_pair(item):
    """Whether a test of all methods on all architectures has another case for this method.

    Each test keeps one architecture for each method; which one differs between tests, so that all tests together have every pair.
    """
    params = item.callspec.params if hasattr(item, "callspec") else {}
    if not {"architecture", "method"} <= params.keys():
        return False
    shift = zlib.crc32(item.originalname.encode())
    methods = [None, *registry.entry_names("methods")]
    return (methods.index(params["method"]) + shift) % len(ARCHITECTURES) != ARCHITECTURES.index(params["architecture"])


def pytest_collection_finish():
    """Exempt what the imports made from garbage collection: a full collection otherwise visits a million lasting objects."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def forked_outcomes(request, shared_folder):
    """Why each test that is marked `forks` failed, by its id. All of a run's are run once, in one process without threads."""
    from testing import processes

    def run(folder):
        ids = [item.nodeid for item in request.session.items if item.get_closest_marker("forks")]
        words = [*ids, "-m", "forks", "--basetemp", folder / "inner"]
        process = processes.started(
            Path(__file__).parent / "testing" / "run_tests.py", words, folder, BYHEART_TEST_FORKS="1"
        )
        processes.ended(process, folder, within=300)

    return json.loads((shared_folder("forks", run) / "out").read_text())


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Read the outcome of a test that is marked `forks`: in this process, its child could wait for a lock of another thread."""
    if pyfuncitem.get_closest_marker("forks") is None or "BYHEART_TEST_FORKS" in os.environ:
        return None
    reason = pyfuncitem._request.getfixturevalue("forked_outcomes")[pyfuncitem.nodeid]
    assert not reason, reason
    return True


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory):
    """A function that fills a named folder once per test run; the first process that requests it does."""
    return stores.sharing(tmp_path_factory)


@pytest.fixture(scope="session")
def tiny_folder(shared_folder):
    """A function from an architecture's name to a folder that holds a tiny random model of it."""

    def made(folder, name):
        from testing.tiny_models import save_tiny_model

        save_tiny_model(name, folder)

    return lambda name: shared_folder(name, lambda folder: made(folder, name))


@pytest.fixture(scope="session")
def lora_store(shared_folder, tiny_folder):
    """A finished study of LoRA and head on a tiny llama. It is read only: tests that write to it take a copy."""
    return stores.finished(shared_folder, "lora", stores.lora_study(tiny_folder("llama")))


@pytest.fixture(scope="session")
def shadow_store(shared_folder, tiny_folder):
    """A finished study of every attack, with four shadow models. It is read only."""
    return stores.finished(shared_folder, "shadow", stores.shadow_study(tiny_folder("llama")))


@pytest.fixture(scope="session")
def attribute_store(shared_folder, tiny_folder):
    """A finished study of a model that memorized its members' private attributes. It is read only."""
    lines = shared_folder("attribute_lines", stores.write_attribute_lines) / "codes.jsonl"
    return stores.finished(shared_folder, "attribute", stores.attribute_study(tiny_folder("llama"), lines))


@pytest.fixture(scope="session")
def real_folder(shared_folder):
    """The store of a small study of a pre-trained model, and the printed output. It is read only."""
    return shared_folder("real", stores.type_quickstart)


@pytest.fixture
def many_calls():
    """Skip shape checks in a test that calls a function thousands of times; other tests of the function check them."""
    with without_shape_checks():
        yield


@pytest.fixture(params=ARCHITECTURES)
def architecture(request):
    return request.param


@pytest.fixture(scope="session")
def _loaded(tiny_folder):
    """A function from an architecture's name to a tiny model that all tests of a process share: `tiny` copies it."""
    from byheart.lm.load import load

    return functools.cache(lambda name: load(str(tiny_folder(name))))


@pytest.fixture
def tiny(_loaded):
    """A function from an architecture's name to a tiny model as it was loaded; a copy takes a fifth of the time of loading."""
    return lambda name: copy.deepcopy(_loaded(name))


@pytest.fixture
def sentences():
    return list(SENTENCES)


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium, one for all tests: playwright starts only once in a process."""
    from testing import browser_page

    with browser_page.started() as one:
        yield one


@pytest.fixture
def opened(browser):
    """A function that opens a page and waits for it; afterwards it checks for errors and requests to other hosts."""
    from testing import browser_page

    with browser_page.opening(browser) as opened:
        yield opened


@pytest.fixture
def typed(monkeypatch, capsys):
    """A function from what is typed after `byheart` to exit code, output and errors, in this process."""
    from testing.command_line import run_command

    return lambda *words: run_command(monkeypatch, capsys, *words)


@pytest.fixture
def typed_audit(monkeypatch, capsys):
    """The same for what is typed after `byheart audit`."""
    from testing.command_line import run_command

    return lambda *words: run_command(monkeypatch, capsys, "audit", *words)
