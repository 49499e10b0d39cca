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
    return torch.device("cpu")


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 for the matrix products and convolutions of training."""
    return torch.autocast(device.type, dtype=torch.bfloat16)


def tune_for_crops(device: torch.device) -> None:
    """Settings of this process for training on crops, which on a CPU takes much longer without them."""
    if device.type != "cpu":
        return
    # On grids as small as those of a crop, the fused attention's backward pass costs more than plain matrix
    # products do. For whole pictures it is the other way round.
    torch.backends.cuda.enable_flash_sdp(False)  # for the CPU too, despite its name
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
    if platform.libc_ver()[0] == "glibc":
        # Keep freed memory: each step would give it back and have the kernel clear it again.
        libc = ctypes.CDLL(ctypes.util.find_library("c"))
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
