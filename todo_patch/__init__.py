"""Attention with fewer tokens for Stable Diffusion UNets: ToDo, its rotating grid, and ToMe.

    from todo_patch import ToDo, apply_patch, remove_patch

    apply_patch(pipe, ToDo(factor=2))
    pipe("a red fox")
    remove_patch(pipe)

This folder works alone: copy it next to a script. It needs torch and diffusers, and tomesd for `ToMe` only.

ToDo: "ToDo: Token Downsampling for Efficient Generation of High-Resolution Images", Smith et al., 2024,
arXiv 2402.13573. ToMe: "Token Merging for Fast Stable Diffusion", Bolya and Hoffman, 2023, arXiv 2303.17604.
"""

import diffusers
from packaging.specifiers import SpecifierSet  # diffusers itself needs this package

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

SUPPORTED_DIFFUSERS = ">=0.36,<0.43"

if not SpecifierSet(SUPPORTED_DIFFUSERS).contains(diffusers.__version__, prereleases=True):
    raise ImportError(
        f"todo_patch supports diffusers {SUPPORTED_DIFFUSERS}, and found {diffusers.__version__}. "
        f"Install a supported one: pip install 'diffusers{SUPPORTED_DIFFUSERS}'."
    )
