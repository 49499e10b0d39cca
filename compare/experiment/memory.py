"""Out of memory: recognise it, and free what did not fit."""

from __future__ import annotations

import ctypes
import traceback
from contextlib import suppress

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device, or the machine, had no memory left."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)  # what a CPU says
    )


def free_memory_of(error: BaseException, device: torch.device) -> None:
    """Free what did not fit: the frames of the error still hold the tensors that were too much."""
    traceback.clear_frames(error.__traceback__)
    if device.type != "cpu":
        torch.accelerator.empty_cache()


def return_free_memory() -> None:
    """Give the system the main memory that is free, of which glibc would keep more after every run."""
    with suppress(AttributeError, OSError, TypeError):  # another C library, or Windows
        ctypes.CDLL(None).malloc_trim(0)
