"""Where training runs and in which precision: the same code on a GPU and on a CPU."""

from __future__ import annotations

import torch


def pick_device() -> torch.device:
    """CUDA when there is one, otherwise the CPU. TF32 is allowed: weights stay float32."""
    torch.set_float32_matmul_precision("high")
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 for the matrix products and convolutions of training."""
    return torch.autocast(device.type, dtype=torch.bfloat16)
