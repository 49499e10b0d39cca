"""The temporary folder and the end of a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from server.process import temporary_folder

HOLDING = """
import sys
from server.process import temporary_folder
with temporary_folder(sys.argv[1]) as folder:
    (folder / "todo-1.png").touch()
    print(folder, flush=True)
    input()
"""
WAITING = """
import signal, threading, time
from server.process import wait_for_shutdown_signal
def say_when_ready():
    while signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        time.sleep(0.01)
    print("ready", flush=True)
threading.Thread(target=say_when_ready).start()
wait_for_shutdown_signal()
print("ending", flush=True)
input()
"""


def started(code: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_a_start_removes_the_folders_of_killed_processes_and_no_others(tmp_path: Path) -> None:
    with started(HOLDING, str(tmp_path)) as killed, started(HOLDING, str(tmp_path)) as living:
        left, in_use = (Path(process.stdout.readline().strip()) for process in (killed, living))
        killed.kill()
        killed.wait()
        assert (left / "todo-1.png").exists()
        with temporary_folder(tmp_path) as own:
            assert set(tmp_path.iterdir()) == {in_use, own}
        living.communicate("\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGTERM")
def test_the_first_signal_is_waited_for_and_the_second_ends_the_process() -> None:
    with started(WAITING) as process:
        process.stdout.readline()
        process.terminate()
        assert process.stdout.readline() == "ending\n"
        process.terminate()
        assert process.wait(60) == 128 + 15
