"""The temporary folder and the end of a process."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest

from server.process import temporary_folder
from tests.helpers.server import PROJECT

HOLDING = """
import sys
from server.process import temporary_folder
from tests.helpers.server import PROJECT
with temporary_folder(sys.argv[1]) as folder:
    (folder / "todo-1.png").touch()
    print(folder, flush=True)
    input()
"""
WAITING = """
import signal, sys, threading, time
from server.process import wait_for_shutdown_signal
def say_when_ready():
    while signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        time.sleep(0.01)
    print("ready", flush=True)
threading.Thread(target=say_when_ready).start()
wait_for_shutdown_signal(float(sys.argv[1]))
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
    with started(WAITING, "60") as process:
        process.stdout.readline()
        process.terminate()
        assert process.stdout.readline() == "ending\n"
        process.terminate()
        assert process.wait(60) == 128 + 15


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGTERM")
def test_a_process_that_does_not_come_to_its_end_is_ended() -> None:
    with started(WAITING, "0.5") as process:
        process.stdout.readline()
        process.terminate()
        assert process.wait(60) == 128 + 15


IN_A_CONTAINER = ("unshare", "--fork", "--kill-child", "--pid", "--mount-proc")
MAY_UNSHARE = (
    sys.platform == "linux" and subprocess.run([*IN_A_CONTAINER, "true"], check=False).returncode == 0
)
STARTING = "import runpy, sys; print('starting', flush=True); runpy.run_path('app.py', run_name='__main__')"


@pytest.mark.skipif(not MAY_UNSHARE, reason="may not make what a container is made of")
def test_process_1_of_a_container_ends_while_it_starts() -> None:
    with (
        ExitStack() as ended,
        subprocess.Popen(
            [*IN_A_CONTAINER, sys.executable, "-c", STARTING], cwd=PROJECT, stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        ended.callback(process.kill)
        process.stdout.readline()
        (server,) = psutil.Process(process.pid).children()
        for _ in range(100):  # the first may come before the first line of app.py
            if process.poll() is not None:
                break
            server.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
        assert process.wait(1) == 128 + 15
