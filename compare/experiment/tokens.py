"""Which tokens a method keeps: noted while it runs, after each step, in the first and the last block that it
changes on the finest grid.

What is noted is a reference to what the method has made anyway, and it is read when the clock has stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from inspect import getclosurevars
from typing import Any

import numpy as np
import tomesd
import torch
from diffusers import DiffusionPipeline
from PIL import Image

from todo_patch.blocks import SelfAttention, find_denoiser
from todo_patch.grid import cell_index
from todo_patch.hooks.todo import ToDoPatch
from todo_patch.hooks.tome import ToMePatch

Unmerge = Callable[[torch.Tensor], torch.Tensor]
"""Of tomesd: from the tokens that are left to all, each with what stands for it."""


class TokenNotes:
    """Notes of a run of the method that is on a pipeline, in a `with` block."""

    def __init__(self, pipe: DiffusionPipeline) -> None:
        patch = vars(find_denoiser(pipe)).get("_todo_patch")  # None if the method is not of todo_patch
        parts = patch.parts if patch else ()
        self._run = patch.run if patch else None
        self._part = next((part for part in parts if isinstance(part, (ToDoPatch, ToMePatch))), None)
        self._blocks = _first_and_last(self._part.blocks if self._part else ())
        self._unmerges: dict[int, Unmerge] = {}
        self._notes: list[tuple[torch.Tensor | Unmerge | None, ...]] = []
        self._compute_merge: Callable[..., Any] | None = None

    def __enter__(self) -> TokenNotes:
        if isinstance(self._part, ToMePatch):
            self._compute_merge = tomesd.patch.compute_merge
            tomesd.patch.compute_merge = self._noting
        return self

    def __exit__(self, *_: object) -> None:
        if self._compute_merge is not None:
            tomesd.patch.compute_merge = self._compute_merge

    def _noting(self, tokens: torch.Tensor, info: dict[str, Any]) -> tuple[Callable[..., Any], ...]:
        functions = self._compute_merge(tokens, info)
        if any(info is block.block._tome_info for block in self._blocks):
            self._unmerges[id(info)] = functions[3]
        return functions

    def step_done(self) -> None:
        """A step has ended. Reads nothing from the device."""
        is_idle = self._run is not None and self._run.step in self._run.forecasts
        self._notes.append(tuple(None if is_idle else self._note(block) for block in self._blocks))
        self._unmerges.clear()

    def _note(self, block: SelfAttention) -> torch.Tensor | Unmerge | None:
        if isinstance(self._part, ToDoPatch):
            site = block.attn._todo_site
            return site.index if site.on else None
        return self._unmerges.get(id(block.block._tome_info))

    def picture(self) -> Image.Image | None:
        """What was noted, as in `Result.token_record`. Ask while the method is still on the pipeline."""
        if not any(note is not None for notes in self._notes for note in notes):
            return None
        grids = [self._read(number, block) for number, block in enumerate(self._blocks)]
        high, low = np.divmod(np.concatenate(grids).reshape(-1, grids[0].shape[-1]), 256)
        picture = Image.fromarray(np.stack([high, low, np.zeros_like(low)], axis=-1).astype(np.uint8))
        picture.info["blocks"] = str(len(self._blocks))
        picture.info["steps"] = str(len(self._notes))
        return picture

    def _read(self, number: int, block: SelfAttention) -> np.ndarray:
        """[steps, rows, columns]"""
        if isinstance(self._part, ToDoPatch):
            grid, factor = block.attn._todo_site.grid, block.attn._todo_site.factor
        else:
            grid, factor = block.block._tome_info["size"], 1
        steps = [_stands_for(notes[number], grid, factor) for notes in self._notes]
        return np.stack([step.numpy().reshape(grid) for step in steps])


def _first_and_last(blocks: tuple[SelfAttention, ...]) -> tuple[SelfAttention, ...]:
    finest = min((block.level for block in blocks), default=0)
    here = [block for block in blocks if block.level == finest and not block.is_joint]
    return tuple(dict.fromkeys((here[0], here[-1]))) if here else ()


def _stands_for(note: torch.Tensor | Unmerge | None, grid: tuple[int, int], factor: int) -> torch.Tensor:
    """For each token the flat index of the one that stands for it, int64 [N]."""
    themselves = torch.arange(grid[0] * grid[1])
    if isinstance(note, torch.Tensor):
        return note.cpu()[cell_index(grid, factor, torch.device("cpu"))]
    if note is None:
        return themselves
    with suppress(KeyError):  # do_nothing, which has merged nothing, has no such variables
        merged = getclosurevars(note).nonlocals
        destinations = merged["b_idx"][0, :, 0].cpu()
        alone = merged["unm_idx"].shape[1]
        left = torch.arange(alone + len(destinations), device=merged["b_idx"].device, dtype=torch.float32)
        group = note(left[None, :, None].expand(merged["B"], -1, 1))[-1, :, 0].long().cpu()
        return torch.where(group < alone, themselves, destinations[(group - alone).clamp(min=0)])
    return themselves
