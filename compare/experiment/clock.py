"""The clock of the denoising loop: what is inside it, and what is not.

diffusers opens `pipe.progress_bar(total=...)` right before the first denoising step and closes it right after
the last. `timed_loop` stands in its place, and so starts and stops with exactly the loop: text encoding, the
starting noise and the schedule come before it, decoding after it, for every class of pipeline.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from diffusers import DiffusionPipeline


class LoopClock:
    """A stopwatch for one denoising loop. The device is synchronised whenever it starts, pauses or stops."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.peak_memory: int | None = None
        """Most bytes allocated on the accelerator during the loop; None on a CPU."""
        self.ended: float | None = None
        """When the loop ended, by `time.perf_counter()`."""
        self._counted = 0.0
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        """Counted so far. Reading it does not wait for the device."""
        running = 0.0 if self._since is None else time.perf_counter() - self._since
        return self._counted + running

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what happens inside."""
        self._stop()
        try:
            yield
        finally:
            self._start()

    # The three methods that a pipeline calls on its progress bar.
    def __enter__(self) -> LoopClock:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        self._start()
        return self

    def update(self, n: int = 1) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        self._stop()
        self.ended = time.perf_counter()
        if self.device.type == "cuda":
            self.peak_memory = torch.cuda.max_memory_allocated(self.device)

    def _start(self) -> None:
        self._synchronise()
        self._since = time.perf_counter()

    def _stop(self) -> None:
        self._synchronise()
        if self._since is not None:
            self._counted += time.perf_counter() - self._since
        self._since = None

    def _synchronise(self) -> None:
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)


@contextmanager
def timed_loop(pipe: DiffusionPipeline, device: torch.device) -> Iterator[LoopClock]:
    """Time the denoising loop of the pipeline call made inside; its own progress bar stays away."""
    clock = LoopClock(device)
    pipe.progress_bar = lambda *_, **__: clock
    try:
        yield clock
    finally:
        del pipe.progress_bar
