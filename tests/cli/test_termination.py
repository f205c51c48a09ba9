"""SIGTERM removes what a command has half written, and leaves the process as it was."""

import os
import signal
import threading
import time

import pytest

from byheart.cli.termination import interrupted_by_sigterm
from byheart.core.new_folder import new_folder


def write_half(folder):
    with new_folder(folder, example="model") as draft:
        (draft / "weights").write_text("half")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)  # the handler runs in this call at the latest


def test_a_half_written_folder_is_removed(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with interrupted_by_sigterm() as received:
        with pytest.raises(KeyboardInterrupt):
            write_half(tmp_path / "model")
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # a second one ends the process
    assert received == [signal.SIGTERM]
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_ignored_sigterm_stays_ignored():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with interrupted_by_sigterm() as received:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.05)
        assert received == []
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_thread_has_no_handler():
    received = []

    def enter():
        with interrupted_by_sigterm() as found:
            received.append(found)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert received == [[]]
