"""ToDo with the sampling modes of its authors' code, to compare ours with (docs/decisions/sampling-modes.md).

Theirs is `torch.nn.functional.interpolate` on the tokens in front of the key and value projections.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DiffusionPipeline

from compare.errors import InvalidRequest
from compare.methods import TODO, Method
from compare.request import Request
from todo_patch.blocks import find_denoiser, self_attention
from todo_patch.grid import grid_at


def interpolate(tokens: torch.Tensor, grid: tuple[int, int], factor: int, mode: str) -> torch.Tensor:
    """[B, height * width, C] -> [B, M, C], with as many tokens as ToDo keeps of the grid."""
    size = [-(-side // factor) for side in grid]
    image = tokens.unflatten(1, grid).movedim(-1, 1)
    return F.interpolate(image, size, mode=mode).flatten(2).transpose(1, 2)


@contextmanager
def interpolated(pipe: DiffusionPipeline, request: Request, mode: str) -> Iterator[None]:
    """Keys and values of interpolated tokens, for the length of a `with` block."""
    latent = request.height // pipe.vae_scale_factor, request.width // pipe.vae_scale_factor
    method = TODO.patch(request)
    handles = []
    for site in self_attention(find_denoiser(pipe)):
        if not method.patches(site.level):
            continue
        sample = partial(
            interpolate, grid=grid_at(*latent, site.depth), factor=method.factors[site.level], mode=mode
        )

        def before(projection: Any, args: tuple[torch.Tensor], sample: Any = sample) -> torch.Tensor:
            return sample(args[0])

        handles += [p.register_forward_pre_hook(before) for p in (site.attn.to_k, site.attn.to_v)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def require_whole_runs(pipe: DiffusionPipeline, request: Request) -> None:
    """Raises `InvalidRequest` if methods are to be on for a part of the run."""
    if request.until < 1:
        raise InvalidRequest(
            f"Until must be 1 for variants that change every step (sampling modes, todo-coarse-early, "
            f"todo-fine-early), not {request.until:g}."
        )


def _method(mode: str, description: str, colour: str) -> Method:
    return Method(
        id=f"todo-{mode}",
        label=f"ToDo, {mode}",
        description=description,
        colour=colour,
        patch=TODO.patch,  # as many tokens, so as many FLOPs
        enable=partial(interpolated, mode=mode),
        check=require_whole_runs,
    )


SAMPLING_MODES = (
    _method("nearest-exact", "the token nearest to the centre of its cell", "#393b79"),
    _method("bilinear", "the mean of the tokens around the centre of its cell", "#637939"),
    _method("bicubic", "cubic weights of the tokens around the centre of its cell", "#843c39"),
)
