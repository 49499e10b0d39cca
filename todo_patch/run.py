"""Which UNet call of a run this is. A UNet by itself cannot see where a run begins."""

from __future__ import annotations

import math
import weakref
from typing import Any

import torch


class Run:
    """Counts the UNet calls of a run, and notices the next one.

    Every sampler of diffusers makes a new `timesteps` tensor when a run begins, whatever the run (text or
    image to image, a new one after a stopped one), and keeps that object until the next. Comparing objects
    reads nothing from the device. The scheduler is read from the pipeline at each call, because users
    exchange it. Without a pipeline, only `begin` starts a run.
    """

    def __init__(self, pipe: Any | None) -> None:
        self._pipe = (lambda: None) if pipe is None else weakref.ref(pipe)  # a patch must not keep it alive
        self._scheduler = getattr(pipe, "scheduler", None)  # outlives a pipeline that is made into another
        self._timesteps: Any = object()
        self._announced = False
        self.step = -1  # of the UNet call in progress
        self.total: int | None = None  # UNet calls of this run, if known

    def __deepcopy__(self, memo: dict[int, Any]) -> Run:
        """For the copy of a UNet: it belongs to the copy of the pipeline, if that is being copied too."""
        return Run(memo.get(id(self._pipe())))

    def begin(self, steps: int) -> None:
        """The next call is the first of `steps`."""
        self._announced = True
        self.total = steps

    def next_call(self) -> None:
        """One more UNet call."""
        pipe = self._pipe()
        self._scheduler = getattr(pipe, "scheduler", self._scheduler)
        timesteps = getattr(self._scheduler, "timesteps", None)
        if self._announced:
            self.step = 0
        elif timesteps is not self._timesteps and self._scheduler is not None:
            self.step = 0
            self.total = getattr(pipe, "num_timesteps", None)
        else:
            self.step += 1
        self._announced = False
        self._timesteps = timesteps

    def within(self, until: float) -> bool:
        """Whether the call in progress is among the first `ceil(until * total)`.

        Raises:
            RuntimeError: that needs the length of the run, and it is unknown or passed.
        """
        if until == 1:
            return True
        if self.total is None:
            raise RuntimeError(
                f"until={until} needs the number of UNet calls of the run, which is unknown. Patch the "
                "pipeline that you call, not its UNet or another pipeline; if that does not know the length "
                "of its runs either, call begin_run(model, steps=n) before each."
            )
        if self.step >= self.total:
            raise RuntimeError(
                f"until={until}: this is UNet call {self.step + 1} of a run of {self.total}. Patch the "
                "pipeline that you call, or call begin_run(model, steps=n) before each run."
            )
        return self.step < math.ceil(round(until * self.total, 9))  # 0.1 * 30 is 3.0000000000000004


@torch.compiler.disable
def before_unet(unet: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """The forward pre-hook of a patched UNet.

    However the UNet was compiled, torch calls the hooks of the outermost module from plain Python: here the
    patch may count and branch.
    """
    unet._todo_patch.before_call(args[0] if args else kwargs["sample"], kwargs)
