"""Attention with fewer tokens for Stable Diffusion UNets: ToDo, its rotating grid, and ToMe.

    from todo_patch import ToDo, apply_patch, remove_patch

    apply_patch(pipe, ToDo(factor=2))
    pipe("a red fox")
    remove_patch(pipe)

Install it, or copy this folder next to a script. It needs torch and diffusers, and tomesd for `ToMe` only.

ToDo: "ToDo: Token Downsampling for Efficient Generation of High-Resolution Images", Smith et al., 2024,
arXiv 2402.13573. ToMe: "Token Merging for Fast Stable Diffusion", Bolya and Hoffman, 2023, arXiv 2303.17604.
"""

__version__ = "1.0.0"

from . import supported  # noqa: F401  first: it refuses a diffusers that the others cannot import
from .methods import Forecast, NothingToPatch, ToDo, ToMe
from .patch import apply_patch, begin_run, patched, remove_patch
from .plan import BlockPlan, Plan, plan

__all__ = [
    "BlockPlan",
    "Forecast",
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
