"""ToMe's surgery: the `tomesd` package does the merging; here it gets the right sizes, seed and blocks.

By itself tomesd guesses each block's grid from token counts, merges on latent/1 only (SDXL has no attention
there), forks the global random state once, and leaves attributes behind.
"""

from __future__ import annotations

import functools
from typing import Any

import torch

from .blocks import SelfAttention
from .grid import grid_at
from .methods import ToMe
from .run import Run, before_unet


class ToMePatch:
    """ToMe on one UNet. `remove` leaves no trace of it."""

    def __init__(
        self, unet: torch.nn.Module, blocks: tuple[SelfAttention, ...], method: ToMe, run: Run
    ) -> None:
        self.method = method
        self.run = run
        self._blocks = blocks
        self._args = {
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
        for block in blocks:
            _require_known(block)
        merging = [_merging(type(block.block)) for block in blocks]
        self._handle = unet.register_forward_pre_hook(before_unet, with_kwargs=True)
        for block, merging_class in zip(blocks, merging, strict=True):
            block.block.__class__ = merging_class
            # A size of its own for each block: its grid, which tomesd then takes as "no downsampling".
            block.block._tome_info = {"size": None, "hooks": [], "args": self._args}

    def before_call(self, sample: torch.Tensor, kwargs: dict[str, Any]) -> None:
        """Set the grid of each block, and the seed if a run begins."""
        if kwargs.get("attention_mask") is not None:
            raise ValueError("ToMe cannot merge an attention_mask; use ToDo with pooling='nearest'.")
        self.run.next_call()
        # As tomesd itself does: it has generators for CUDA and for the CPU.
        device = sample.device if sample.device.type == "cuda" else torch.device("cpu")
        generator = self._args["generator"]
        if generator is None or generator.device != device:
            self._args["generator"] = torch.Generator(device).manual_seed(self.method.seed)
        elif self.run.step == 0:
            generator.manual_seed(self.method.seed)
        for block in self._blocks:
            grid = grid_at(*sample.shape[-2:], block.depth)
            require_room(grid, block.level, self.method)
            block.block._tome_info["size"] = grid

    def remove(self) -> None:
        self._handle.remove()
        for block in self._blocks:
            block.block.__class__ = block.block._parent
            del block.block._tome_info


@functools.cache
def _merging(block: type) -> type:
    """tomesd's subclass of a transformer block. One for each class, so that compiled code is found again."""
    try:
        from tomesd.patch import make_diffusers_tome_block
    except ImportError as error:
        raise ImportError("ToMe needs the tomesd package: pip install tomesd==0.1.3") from error
    return make_diffusers_tome_block(block)


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


def _require_known(block: SelfAttention) -> None:
    # tomesd brings its own copy of an older forward, which would silently leave these out.
    b = block.block
    plain = b.norm_type in ("layer_norm", "ada_norm", "ada_norm_zero")
    if not plain or b.pos_embed is not None or hasattr(b, "fuser"):
        raise ValueError(f"{block.name}: tomesd cannot run this kind of transformer block; use ToDo.")
