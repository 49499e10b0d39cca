"""Attention with fewer tokens for Stable Diffusion UNets: ToDo, its rotating grid, and ToMe.

    from todo_patch import ToDo, apply_patch, remove_patch

    apply_patch(pipe, ToDo(factor=2))
    pipe("a red fox")
    remove_patch(pipe)

This folder works alone: copy it next to a script. It needs torch and diffusers, and tomesd for `ToMe` only.

ToDo: "ToDo: Token Downsampling for Efficient Generation of High-Resolution Images", Smith et al., 2024.
ToMe: "Token Merging for Fast Stable Diffusion", Bolya and Hoffman, 2023.
"""

import re

import diffusers

from .methods import NothingToPatch, ToDo, ToMe
from .patch import apply_patch, begin_run, patched, remove_patch
from .plan import BlockPlan, Plan, plan

__all__ = [
    "BlockPlan",
    "NothingToPatch",
    "Plan",
    "ToDo",
    "ToMe",
    "apply_patch",
    "begin_run",
    "patched",
    "plan",
    "remove_patch",
]

SUPPORTED_DIFFUSERS = ("0.36", "0.43")  # from the first, up to but without the second


def _require_supported(version: str) -> None:
    first, beyond = SUPPORTED_DIFFUSERS

    def release(text: str) -> tuple[int, ...]:
        return tuple(int(number) for number in re.findall(r"\d+", text)[:2])

    if not release(first) <= release(version) < release(beyond):
        raise ImportError(
            f"todo_patch supports diffusers >={first},<{beyond}, and found {version}. "
            f"Install a supported one: pip install 'diffusers>={first},<{beyond}'."
        )


_require_supported(diffusers.__version__)
