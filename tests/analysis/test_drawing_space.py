"""Where the system limits the address space, drawing is refused in one line; its library would end the process."""

import resource

import pytest

from byheart.analysis import drawing_space
from byheart.analysis.chart import Figure
from byheart.analysis.drawing_space import NEEDED_GIB, check_drawing_space
from byheart.auditing.save import check_output_folder
from byheart.core.errors import SettingError


def limited(monkeypatch, limit):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, resource.RLIM_INFINITY))


@pytest.mark.parametrize("limit", [resource.RLIM_INFINITY, NEEDED_GIB * 2**30])
def test_enough_address_space_is_accepted(monkeypatch, limit):
    limited(monkeypatch, limit)
    check_drawing_space()


def test_too_little_address_space_is_refused_before_an_audit_and_before_a_picture(monkeypatch, tmp_path):
    limited(monkeypatch, 16 * 2**30)
    figure = Figure("title", None)
    for refused in (check_drawing_space, lambda: check_output_folder(tmp_path / "new"), lambda: figure.picture("svg")):
        with pytest.raises(SettingError, match=r"figures: this process may use 16\.0 GiB .*ulimit -v unlimited"):
            refused()


def test_a_system_without_such_limits_is_accepted(monkeypatch):
    monkeypatch.setattr(drawing_space.importlib, "import_module", lambda _: (_ for _ in ()).throw(ImportError))
    check_drawing_space()
