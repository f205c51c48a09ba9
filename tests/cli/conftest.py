"""A tiny study, its store, and the command line in this process."""

import json
import os
import shutil
import sys

import pytest

from byheart.cli.main import main
from testing.command_line import THEIRS, content


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """The external module `theirs`, importable in this process and its subprocesses."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "theirs.py").write_text(THEIRS)
    monkeypatch.syspath_prepend(tmp_path / "lib")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"), prepend=os.pathsep)
    yield
    sys.modules.pop("theirs", None)


@pytest.fixture
def typed(monkeypatch, capfdbinary):
    """A function from arguments to exit code, output and errors, in this process."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["byheart", *map(str, words)])
        capfdbinary.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfdbinary.readouterr()
        return ended.value.code, out.decode("utf-8", "surrogateescape"), err.decode()

    return run


@pytest.fixture
def refused(typed):
    """A function from arguments to the one-line error; fails for a traceback, a second line, or another exit code."""

    def run(*words, code=2):
        ended, out, err = typed(*words)
        assert ended == code, err
        assert "Traceback" not in err
        assert not out
        assert err.count("\n") == 1, err
        assert err.startswith("byheart: ")
        return err.strip()

    return run


@pytest.fixture
def failed(typed):
    """A function from arguments to the line that reports the failed cell."""

    def run(*words):
        code, _, err = typed(*words)
        assert code == 1, err
        assert "Traceback" not in err
        lines = [line for line in err.splitlines() if line.startswith("failed")]
        assert len(lines) == 1, err
        assert err.rstrip().endswith(lines[0]), "nothing follows"
        return lines[0]

    return run


@pytest.fixture
def study(tiny_folder, tmp_path):
    """A function from changes to the path of a tiny study's file."""

    def write(**changes):
        place = tmp_path / "tiny.yaml"
        place.write_text(json.dumps({**content(tiny_folder("llama")), **changes}))
        return place

    return write


@pytest.fixture(scope="session")
def finished(tiny_folder, tmp_path_factory):
    """The store of a finished study; tests copy it before they change it."""
    import byheart

    store = tmp_path_factory.mktemp("finished") / "store"
    assert not byheart.run(content(tiny_folder("llama")), store=store).failed
    return store


@pytest.fixture
def store(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "store")
