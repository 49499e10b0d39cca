"""A folder for temporary files that lives as long as its process, however the process ends."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = "todo-page-"
LOCK = ".lock"


@contextmanager
def scratch_folder(parent: str | Path | None = None) -> Iterator[Path]:
    """A new folder, removed at the end. First removes those of processes that were killed.

    Args:
        parent: where to make it (default: the system's folder for temporary files).
    """
    parent = Path(parent or tempfile.gettempdir())
    parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent)).resolve()
    try:
        # The system frees the lock of a process that dies; a number in a file could be another's by then.
        with FileLock(folder / LOCK, timeout=0):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(parent: Path) -> None:
    """Remove the folders whose processes are gone."""
    for folder in parent.glob(f"{PREFIX}*"):
        if not (folder / LOCK).is_file():  # of one that is just starting, or of somebody else
            continue
        try:
            with FileLock(folder / LOCK, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        except (Timeout, OSError):
            continue
