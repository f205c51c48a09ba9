"""studies/findings/gpu.sh: runs each study at its size, packs complete ones, and ends in time."""

import os
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "studies" / "findings" / "gpu.sh"
STUDIES = ["replication_webnlg", "replication_wikitext"]


def ended(tmp_path, body, **environment):
    """The script with this command in place of byheart, and the commands that it gave."""
    stub, log = tmp_path / "byheart", tmp_path / "log"
    stub.write_text(f'#!/bin/bash\necho "$*" >> {log}\n{body}\n')
    stub.chmod(0o755)
    done = subprocess.run(
        [SCRIPT, tmp_path / "store", "--set", "a=b"],
        env={**os.environ, "BYHEART": str(stub), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done, log.read_text().splitlines()


def test_each_study_runs_at_its_size_and_is_packed(tmp_path):
    done, commands = ended(tmp_path, "", TEXTS="7")
    assert done.returncode == 0
    sizes = "--set data.train=7 --set data.members=7 --set data.nonmembers=7 --set a=b"
    store = tmp_path / "store"
    assert commands == [
        line
        for study in STUDIES
        for line in (
            f"run studies/findings/{study}.yaml --store {store} {sizes}",
            f"pack --store {store} --study {study} -o {store}-{study}.tar.xz",
        )
    ]
    assert all((SCRIPT.parent / f"{study}.yaml").exists() for study in STUDIES)


def test_the_script_ends_in_time_and_passes_errors_on(tmp_path):
    done, commands = ended(tmp_path, "exec sleep 30", LIMIT="1")
    assert (done.returncode, done.stdout) == (0, "time is over: run the same command again\n")
    assert len(commands) == 1
    assert ended(tmp_path, "exit 2")[0].returncode == 2
