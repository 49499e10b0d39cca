"""What a patch leaves on a model."""

from __future__ import annotations

import torch


def traces_of_a_patch(pipe: object) -> list[str]:
    """Everything that a patch, or an experiment, may leave on a pipeline."""
    traces = [name for name in vars(pipe) if name == "progress_bar" or "todo" in name]
    traces += [f"unet.{name}" for name in ("forward", "_diffusers_hook") if name in vars(pipe.unet)]
    for name, module in pipe.unet.named_modules():
        traces += [f"{name}: hook" for _ in (*module._forward_hooks, *module._forward_pre_hooks)]
        traces += [f"{name}.{key}" for key in vars(module) if "todo" in key or "tome" in key]
    return traces


def is_patched(unet: torch.nn.Module) -> bool:
    return any("todo" in key or "tome" in key for module in unet.modules() for key in vars(module))
