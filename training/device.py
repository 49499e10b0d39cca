"""Where training runs and in which precision: the same code on a GPU and on a CPU."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import platform

import torch

# From glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def pick_device() -> torch.device:
    """CUDA when there is one, otherwise the CPU. TF32 is allowed: weights stay float32."""
    torch.set_float32_matmul_precision("high")
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))  # torchrun gives each its own
    _speed_up_cpu()
    return torch.device("cpu")


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 for the matrix products and convolutions of training."""
    return torch.autocast(device.type, dtype=torch.bfloat16)


def _speed_up_cpu() -> None:
    # On grids as small as those of a crop, attention as plain matrix products learns 1.3 times the crops a
    # second that the fused kernel does, whose backward pass is slow.
    torch.backends.cuda.enable_flash_sdp(False)  # for the CPU too, despite its name
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
    if platform.libc_ver()[0] == "glibc":
        # Keep freed memory: each step would give it back and have the kernel clear it again.
        libc = ctypes.CDLL(ctypes.util.find_library("c"))
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
