"""What belongs to the process: the signals that end it, its open files and its temporary folder."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from types import FrameType

from filelock import FileLock, Timeout

PREFIX = "todo-page-"
LOCK = ".lock"


SIGNALS = (signal.SIGTERM, signal.SIGINT)


def end_on_signal() -> None:
    """Let SIGTERM and Ctrl-C end the process at once, as long as it has nothing to finish.

    To be called first: process 1, which this is in a container, gets no signal that it does not handle.
    """
    for number in SIGNALS:
        signal.signal(number, lambda number, frame: os._exit(128 + number))


def wait_for_shutdown_signal(end_after: float) -> None:
    """Wait on the main thread for SIGTERM or Ctrl-C. A second signal ends the process on the spot.

    Args:
        end_after: seconds after the first signal at which the process ends, whatever it is doing then.
    """
    received = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if received.is_set():
            os._exit(128 + number)
        received.set()
        end = threading.Timer(end_after, os._exit, [128 + number])
        end.daemon = True
        end.start()

    for number in SIGNALS:
        signal.signal(number, handle)
    while not received.wait(0.2):  # a wait without a timeout keeps the handler from running on Windows
        pass
    gc.freeze()  # without it Python looks at every object once more before it ends, which takes seconds


def raise_open_files_limit() -> None:
    """Let this process open as many files, and so connections, as the system allows; often it is 1024."""
    try:
        import resource
    except ImportError:  # on Windows, which has no such limit
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextmanager
def temporary_folder(parent: str | Path | None = None) -> Iterator[Path]:
    """A new folder, removed at the end of the block. First removes the folders of processes that were killed.

    Args:
        parent: where to make it (default: the system's folder for temporary files).
    """
    parent = Path(parent or gettempdir())
    parent.mkdir(parents=True, exist_ok=True)
    for abandoned in parent.glob(f"{PREFIX}*/{LOCK}"):
        with suppress(Timeout, OSError), FileLock(abandoned, timeout=0):
            shutil.rmtree(abandoned.parent, ignore_errors=True)
    with TemporaryDirectory(prefix=PREFIX, dir=parent, ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        # The system frees the lock of a process that dies; a process id in a file could be another's by then.
        with FileLock(folder / LOCK, timeout=0):
            yield folder
