"""Memory under the limits of control groups, read from files as Linux writes them."""

import psutil
import pytest

from byheart.lm import memory_limit
from byheart.lm.memory_limit import available_ram, control_group_ram

GIB = 1 << 30
HUGE = 9223372036854771712
MOUNTS = """22 1 0:20 / /proc rw,relatime - proc proc rw
30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate
31 22 0:27 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
32 22 0:28 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
"""


def tree(root, membership, **groups):
    """Files of control groups: by folder, the limit, the usage and the bytes of unused cache."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(membership)
    (root / "proc/self/mountinfo").write_text(MOUNTS)
    for folder, (limit, usage, unused) in groups.items():
        path = root / "sys/fs/cgroup" / folder.replace("__", "/")
        path.mkdir(parents=True, exist_ok=True)
        old = folder.startswith("memory")
        (path / ("memory.limit_in_bytes" if old else "memory.max")).write_text(f"{limit}\n")
        (path / ("memory.usage_in_bytes" if old else "memory.current")).write_text(f"{usage}\n")
        (path / "memory.stat").write_text(f"anon 5\n{'total_' * old}inactive_file {unused}\nfile 7\n")
    return root


def test_version_2_subtracts_what_is_used_and_adds_unused_cache(tmp_path):
    root = tree(tmp_path, "0::/job/step\n", job__step=(8 * GIB, 3 * GIB, GIB))
    assert control_group_ram(root) == 6 * GIB


def test_version_1_with_controllers_of_their_own(tmp_path):
    membership = "9:cpu,cpuacct:/\n4:memory:/docker/ab:c\n0::/\n"
    root = tree(tmp_path, membership, **{"memory__docker__ab:c": (4 * GIB, GIB, 0), "memory": (HUGE, 9 * GIB, 0)})
    assert control_group_ram(root) == 3 * GIB


@pytest.mark.parametrize("path", ["/", "/kubepods/pod7/container"])
def test_inside_a_container_the_mount_is_its_own_group(tmp_path, path):
    root = tree(tmp_path, f"0::{path}\n")
    folder = root / "sys/fs/cgroup"
    folder.mkdir(parents=True)
    for name, text in (("max", "2147483648"), ("current", "1073741824"), ("stat", "inactive_file 0")):
        (folder / f"memory.{name}").write_text(text)
    assert control_group_ram(root) == GIB


def test_the_tightest_group_above_counts(tmp_path):
    root = tree(tmp_path, "0::/a/b\n", a__b=("max", GIB, 0), a=(2 * GIB, GIB, 0))
    assert control_group_ram(root) == GIB


def test_a_group_above_its_limit_allows_nothing(tmp_path):
    assert control_group_ram(tree(tmp_path, "0::/a\n", a=(GIB, 2 * GIB, 0))) == 0


@pytest.mark.parametrize("limit", ["max", HUGE, "", "-1"])
def test_no_limit(tmp_path, limit):
    assert control_group_ram(tree(tmp_path, "0::/a\n", a=(limit, GIB, 0))) is None


def test_without_control_groups_there_is_no_limit(tmp_path):
    assert control_group_ram(tmp_path) is None
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("what is this\n0::/gone\n")
    assert control_group_ram(tmp_path) is None
    (tmp_path / "proc/self/mountinfo").write_text("what is this\n")
    assert control_group_ram(tmp_path) is None


def test_mounts_at_other_places(tmp_path):
    for kind, place, name, size in (
        ("cgroup2 cgroup2 rw", "unified", "max", 3 * GIB),
        ("cgroup cgroup rw,cpu,memory", "cpu,memory", "limit_in_bytes", 2 * GIB),
    ):
        root = tree(tmp_path / place, "0::/a\n7:cpu,memory:/a\n")
        (root / "proc/self/mountinfo").write_text(f"5 1 0:3 / /somewhere/{place} rw - {kind}\n")
        folder = root / "somewhere" / place / "a"
        folder.mkdir(parents=True)
        (folder / f"memory.{name}").write_text(str(size))
        (folder / f"memory.{'current' if name == 'max' else 'usage_in_bytes'}").write_text(str(GIB))
        (folder / "memory.stat").write_text("")
        assert control_group_ram(root) == size - GIB


def test_a_group_whose_name_is_no_text(tmp_path):
    root = tree(tmp_path, "", a=(2 * GIB, GIB, 0))
    (root / "proc/self/cgroup").write_bytes(b"0::/\xff\n")
    assert control_group_ram(root) is None


def test_the_machine_and_the_group_both_limit(monkeypatch):
    of_machine = psutil.virtual_memory().available
    monkeypatch.setattr(memory_limit, "control_group_ram", lambda: 5)
    assert available_ram() == 5
    monkeypatch.setattr(memory_limit, "control_group_ram", lambda: None)
    assert available_ram() == pytest.approx(of_machine, rel=0.5)
