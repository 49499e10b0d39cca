"""Where in a run a UNet call is. The UNet itself cannot tell: it is called, and called again."""

from __future__ import annotations

import threading
import weakref
from typing import Any

import torch

from .methods import Forecast, first_steps


class Run:
    """Follows the UNet calls of a run: its steps, the calls of each step, and the beginning of the next run.

    A step is one entry of the scheduler's `timesteps`, and may take several calls (guidance branches one by
    one, tiles, panorama views). Samplers hand the UNet a view of that tensor, and a view knows its place in
    it: reading that place needs neither the scheduler nor a read from the device. A run begins with another
    `timesteps` tensor, or further to its front. With timesteps of any other kind every call counts as a step,
    and only `begin` starts a run.
    """

    def __init__(self, pipe: Any | None, forecast: Forecast | None = None) -> None:
        self._pipe = (lambda: None) if pipe is None else weakref.ref(pipe)  # a patch must not keep it alive
        self._forecast = forecast
        self._timestep: torch.Tensor | None = None  # the last one of a schedule, whose storage it keeps alive
        self._first = 0  # place in the schedule at which the run began
        self._announced = False
        self._by_announcement = False  # whether this run was announced
        self._in_progress = threading.Lock()
        self._thread = 0  # of the call in progress
        self.step = -1  # of the UNet call in progress, from 0
        self.call = 0  # of the UNet call in progress among those of its step, from 0
        self.total: int | None = None  # steps of this run, if known

    def __deepcopy__(self, memo: dict[int, Any]) -> Run:
        """For the copy of a UNet: it belongs to the copy of the pipeline, if that is being copied too."""
        return Run(memo.get(id(self.pipe)), self._forecast)

    @property
    def pipe(self) -> Any | None:
        """The pipeline that was patched, if it was one and is still there."""
        return self._pipe()

    def begin(self, steps: int) -> None:
        """The next call is the first of a run of `steps` steps."""
        self._announced = self._by_announcement = True
        self.total = steps

    def next_call(self, timestep: Any) -> None:
        """One more UNet call, at a timestep as the UNet was given it.

        Raises:
            RuntimeError: another thread is in the middle of a call. Blocks have one state, that of one call.
        """
        thread = threading.get_ident()
        if not self._in_progress.acquire(blocking=False) and self._thread != thread:
            raise RuntimeError(
                "Two threads call one patched model at the same time. Give each thread a copy of it "
                "(copy.deepcopy), or let one wait for the other."
            )
        self._thread = thread
        place = self._place(timestep)
        last, self._timestep = self._timestep, timestep if place is not None else None
        if self._announced:
            self._announced = False
            self.step, self.call, self._first = 0, 0, place or 0
        elif place is None:
            self.step, self.call = self.step + 1, 0
        elif last is None or not _same_schedule(last, timestep) or place < last.storage_offset():
            self.step, self.call, self._first = 0, 0, place
            self._by_announcement = False
            self.total = self._length(timestep)
        elif place == last.storage_offset():
            self.call += 1
        else:
            self.step, self.call = place - self._first, 0

    def end_call(self) -> None:
        """The call of this thread has ended, with a result or an error."""
        if self._thread == threading.get_ident() and self._in_progress.locked():
            self._in_progress.release()

    def _place(self, timestep: Any) -> int | None:
        """The place of a timestep in the tensor that it is a view of; None if it is no entry of a list."""
        if not isinstance(timestep, torch.Tensor):
            return None
        if timestep.numel() > 1 and any(timestep.stride()):  # only `t.expand(batch)` is still one entry
            return None
        only_step = self._is_the_pipelines(timestep) or (timestep._is_view() and not self._by_announcement)
        if _entries(timestep) == 1 and not only_step:
            return None  # a number of the user's own
        return timestep.storage_offset()

    def _is_the_pipelines(self, timestep: torch.Tensor) -> bool:
        timesteps = getattr(getattr(self.pipe, "scheduler", None), "timesteps", None)
        return isinstance(timesteps, torch.Tensor) and _same_schedule(timesteps, timestep)

    def _length(self, timestep: torch.Tensor) -> int:
        """Steps from this timestep on. A pipeline may end before its schedule does (`denoising_end`), but not
        after it: then another one, with the same scheduler, is running."""
        left = _entries(timestep) - self._first
        return (
            min(left, getattr(self.pipe, "num_timesteps", left)) if self._is_the_pipelines(timestep) else left
        )

    def within(self, until: float) -> bool:
        """Whether the call in progress is in the first `ceil(until * total)` steps.

        Raises:
            RuntimeError: that needs the length of the run, and it is unknown or passed.
        """
        return until == 1 or self.step < first_steps(until, self._known_total(f"until={until}"))

    @property
    def forecasts(self) -> tuple[int, ...]:
        """The steps of this run whose calls are forecast, from 0.

        Raises:
            RuntimeError: that needs the length of the run, and it is unknown or passed.
            ValueError: the run is too short for so many.
        """
        forecast = self._forecast
        return () if forecast is None else forecast.steps(self._known_total(str(forecast)))

    @property
    def computed_steps(self) -> int:
        """How many steps of this run, before the one in progress, were not forecast."""
        return self.step - sum(step < self.step for step in self.forecasts)

    def _known_total(self, setting: str) -> int:
        if self.total is None:
            raise RuntimeError(
                f"{setting} needs the number of steps of the run, and these timesteps are not from a "
                "scheduler's list. Say begin_run(model, steps=n) before each run."
            )
        if self.step >= self.total:
            raise RuntimeError(
                f"{setting}: this is step {self.step + 1} of a run of {self.total}. Say begin_run(model, "
                "steps=n) before each run."
            )
        return self.total


def _entries(timestep: torch.Tensor) -> int:
    return timestep.untyped_storage().nbytes() // timestep.element_size()


def _same_schedule(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


def is_freezing() -> bool:
    """Whether the call in progress is being traced or exported."""
    return torch.jit.is_tracing() or torch.compiler.is_exporting()
