"""Ctrl-C and SIGTERM as something to wait for."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Told(threading.Event):
    """Set by the first signal."""

    def wait_for_it(self) -> None:
        """Wait on the main thread, which alone can be signalled."""
        while not self.wait(0.2):  # a wait without end would not let the handler run everywhere
            pass


@contextmanager
def told_to_end() -> Iterator[Told]:
    """Handle the signals for the length of a `with` block. A second one ends the process on the spot."""
    told = Told()

    def tell(number: int, frame: FrameType | None) -> None:
        if told.is_set():
            os._exit(128 + number)
        told.set()

    before = {number: signal.signal(number, tell) for number in SIGNALS}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
