"""Where a model runs: device, precision and attention backend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from compare.errors import ModelNotLoaded
from compare.models.load_errors import first_line

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def placement(
    device: str | torch.device | None, dtype: torch.dtype | None, attention: str
) -> tuple[torch.device, torch.dtype]:
    """The device and the dtype for a model: by default CUDA, or else the CPU; float32 on a CPU only.

    Raises:
        ModelNotLoaded: it is not a device, or this attention backend does not run on it.
    """
    try:
        device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise ModelNotLoaded(f"{device!r} is not a device; try cpu or cuda.") from error
    if attention != "sdpa" and attention not in (backends := attention_backends(device)):
        there_is = ", ".join(backends)
        raise ModelNotLoaded(f"Attention by {attention!r} does not run on {device}; there is {there_is}.")
    return device, dtype or (torch.float32 if device.type == "cpu" else torch.float16)


def attention_backends(device: str | torch.device) -> tuple[str, ...]:
    """The attention backends that run on this device, "sdpa" first.

    xformers is tried out: it can be installed without an operator for this device or this PyTorch.
    """
    device = torch.device(device)
    if device.type != "cuda" or not torch.cuda.is_available():
        return ("sdpa",)
    try:
        from xformers.ops import memory_efficient_attention

        tokens = torch.zeros(1, 16, 1, 64, dtype=torch.float16, device=device)
        memory_efficient_attention(tokens, tokens, tokens)
    except Exception:
        return ("sdpa",)
    return ("sdpa", "xformers")


@contextmanager
def moving_to(device: torch.device) -> Iterator[None]:
    """Raise `ModelNotLoaded` if the model cannot be put on the device."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ModelNotLoaded(
            f"The model does not fit into the memory of {device}: try a smaller one, or --device cpu."
        ) from error
    except (RuntimeError, AssertionError) as error:  # PyTorch asserts that it was built for the device
        raise ModelNotLoaded(f"There is no {device} here: {first_line(error)}") from error


def device_name(device: torch.device) -> str:
    """The name of the GPU, or else the kind of device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()
