"""ToMe's surgery: the `tomesd` package does the merging; here it gets the right sizes, seed and blocks.

By itself tomesd guesses each block's grid from token counts, merges on latent/1 only (SDXL has no attention
there), forks the global random state once, and leaves attributes behind.
"""

from __future__ import annotations

import copy
import functools
from contextlib import suppress
from typing import Any

import torch
from diffusers.hooks._helpers import TransformerBlockRegistry

from .blocks import SelfAttention
from .checkpointing import Recall
from .grid import grid_at
from .methods import ToMe
from .processors import stores_its_map
from .run import Run, follow


class ToMePatch:
    """ToMe on one UNet. `remove` leaves no trace of it."""

    def __init__(
        self, unet: torch.nn.Module, blocks: tuple[SelfAttention, ...], method: ToMe, run: Run
    ) -> None:
        self.method = method
        self.run = run
        self._blocks = blocks
        self._args: dict[str, Any] = {
            "ratio": method.ratio,
            "max_downsample": 1,
            "sx": method.stride,
            "sy": method.stride,
            "use_rand": True,
            "generator": None,
            "merge_attn": True,
            "merge_crossattn": False,
            "merge_mlp": False,
        }
        self._idle = {**self._args, "max_downsample": 0}  # merges nothing
        for block in blocks:
            b = block.block
            plain = b.norm_type in ("layer_norm", "ada_norm", "ada_norm_zero")
            # tomesd brings its own copy of an older forward, which would silently leave these out.
            if not plain or b.pos_embed is not None or hasattr(b, "fuser"):
                raise ValueError(f"{block.name}: tomesd cannot run this kind of transformer block; use ToDo.")
        self._recall = Recall(blocks, _use_of, _use)
        self._of_step: torch.Tensor | None = None  # the generator's state when the step began
        merging = [_merging(block.block.__class__) for block in blocks]
        self._handles = follow(unet)
        for block, merging_class in zip(blocks, merging, strict=True):
            block.block.__class__ = merging_class
            # A size of its own for each block: its grid, which tomesd then takes as "no downsampling".
            block.block._tome_info = {"size": None, "hooks": [], "args": self._args}

    def before_call(self, unet: torch.nn.Module, sample: torch.Tensor, kwargs: dict[str, Any]) -> None:
        """Set the grid of each block, and the seed if a run begins."""
        if kwargs.get("attention_mask") is not None:
            raise ValueError("ToMe cannot merge an attention_mask; use ToDo with pooling='nearest'.")
        # As tomesd itself does: it has generators for CUDA and for the CPU.
        device = sample.device if sample.device.type == "cuda" else torch.device("cpu")
        generator = self._args["generator"]
        if generator is None or generator.device != device:
            generator = self._args["generator"] = torch.Generator(device).manual_seed(self.method.seed)
            self._of_step = None
        if self.run.call > 0 and self._of_step is not None:
            generator.set_state(self._of_step)  # all calls of a step merge into the same tokens
        else:
            if self.run.step == 0:
                generator.manual_seed(self.method.seed)
            self._of_step = generator.get_state()
        self._recall.before_call(unet)
        height, width = sample.shape[-2:]
        for block in self._blocks:
            grid = grid_at(height, width, block.depth)
            require_room(grid, block.level, self.method)
            info = block.block._tome_info
            info["size"] = grid
            info["args"] = self._idle if stores_its_map(block.attn) else self._args

    def remove(self) -> None:
        self._recall.remove()
        for handle in self._handles:
            handle.remove()
        for block in self._blocks:
            block.block.__class__ = block.block._parent
            del block.block._tome_info


def _use_of(block: torch.nn.Module) -> tuple[tuple[int, int], torch.Tensor]:
    info = block._tome_info
    return info["size"], info["args"]["generator"].get_state()


def _use(block: torch.nn.Module, used: tuple[tuple[int, int], torch.Tensor]) -> None:
    info = block._tome_info
    info["size"], state = used
    info["args"]["generator"].set_state(state)


@functools.cache
def _merging(block: type) -> type:
    """tomesd's subclass of a transformer block. One for each class, so that compiled code is found again."""
    try:
        from tomesd.patch import make_diffusers_tome_block
    except ImportError as error:
        raise ImportError("ToMe needs the tomesd package: pip install tomesd==0.1.3") from error
    merging = make_diffusers_tome_block(block)
    # Others know a transformer block by the name of its class (`compile_repeated_blocks`), or by the class
    # itself (diffusers' hooks for SkipLayerGuidance and AutoGuidance).
    merging.__name__, merging.__qualname__ = block.__name__, block.__qualname__
    with suppress(ValueError):  # not a block that diffusers knows
        TransformerBlockRegistry.register(merging, copy.copy(TransformerBlockRegistry.get(block)))
    return merging


def kept_tokens(grid: tuple[int, int], method: ToMe) -> tuple[int, int, int]:
    """Tokens that tomesd keeps of a grid, and the numbers of sources and destinations that it compares."""
    height, width = grid
    tokens = height * width
    destinations = (height // method.stride) * (width // method.stride)
    merged = min(int(tokens * method.ratio), tokens - destinations)
    return tokens - merged, tokens - destinations, destinations


def require_room(grid: tuple[int, int], level: int, method: ToMe) -> None:
    """Raise ValueError if a grid has no whole cell of `stride` x `stride`."""
    if min(grid) < method.stride:
        raise ValueError(
            f"ToMe with stride={method.stride} needs grids of at least {method.stride}x{method.stride} "
            f"tokens, and level {level} has {grid[0]}x{grid[1]} at this image size. Use a larger image, "
            "a smaller stride or fewer levels."
        )
