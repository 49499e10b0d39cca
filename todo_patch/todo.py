"""ToDo's surgery: hooks that give the kept tokens to each self-attention as if they were a prompt.

    Q = W_q x,  K = W_k D(x),  V = W_v D(x)        (ToDo, arXiv 2402.13573, section 3.2)

x are the tokens of the block and D is the downsampling in `grid.py`. The hooks set D(x) as the
`encoder_hidden_states` of `attn1`. The attention processor that is installed stays and does the rest.

With `merge="all"` the hooks give `attn1` D(x) in the place of x, and each token what comes out for its cell.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch

from .blocks import SelfAttention, latent_of
from .checkpointing import Recall
from .grid import (
    cell_index,
    downsample_average,
    downsample_nearest,
    grid_at,
    offset_order,
    token_index,
    upsample_nearest,
)
from .marking import marked
from .methods import ToDo
from .processors import needs_all_tokens, require_usable
from .run import Run, is_freezing


@dataclass(eq=False)
class Site:
    """What one self-attention block is to do in the UNet call in progress."""

    factor: int
    offsets: tuple[tuple[int, int], ...]  # of the token to keep in its cell: a cycle over steps and blocks
    on: bool = False
    grid: tuple[int, int] = (0, 0)
    # The same as the shape of a tensor, for compiled code: a shape can be dynamic there, and numbers are
    # constants, which would be a graph for each image size.
    layout: torch.Tensor | None = None
    index: torch.Tensor | None = None  # int64 [M], the tokens to keep
    cells: torch.Tensor | None = None  # int64 [N], the cell of each token; None if queries stay whole


class ToDoPatch:
    """ToDo on the blocks of one denoiser. `remove` leaves no trace of it."""

    def __init__(self, blocks: tuple[SelfAttention, ...], method: ToDo, run: Run) -> None:
        self.method = method
        self.run = run
        self.blocks = blocks
        self._require_usable()
        self._recall = Recall(blocks, _use_of, _use)
        self.index_of = functools.lru_cache(maxsize=1024)(token_index)
        self.cells_of = functools.lru_cache(maxsize=64)(cell_index)
        hook = _keep_tokens if method.pooling == "nearest" else _keep_averages
        self._handles: list[Any] = []
        for block in self.blocks:
            factor = method.factors[block.level]
            offsets = offset_order(factor) if method.grid == "rotating" else ((0, 0),)
            attn = block.attn
            attn._todo_site = Site(factor, offsets)
            attn.__class__ = marked(type(attn), ToDoPatch)
            self._handles.append(attn.register_forward_pre_hook(hook, with_kwargs=True))
            if method.merge == "all":
                self._handles.append(attn.register_forward_hook(_copy_back))

    def before_call(self, denoiser: torch.nn.Module, arguments: dict[str, Any]) -> None:
        """Set what every block does in the call that begins."""
        self._recall.before_call(denoiser)
        sample = latent_of(arguments)
        on = self.run.within(self.method.until)
        turn = self.run.computed_steps  # forecast steps visit no tokens
        # Tensors of an export live in it alone.
        index_of, cells_of = (token_index, cell_index) if is_freezing() else (self.index_of, self.cells_of)
        self._require_usable()  # a pipeline may exchange processors at each call
        for number, block in enumerate(self.blocks):
            site = block.attn._todo_site
            site.on = on and not needs_all_tokens(block.attn)
            site.grid = grid_at(*sample.shape[-2:], block.depth)
            if self.method.pooling == "nearest":
                offset = site.offsets[(turn + number) % len(site.offsets)]
                site.index = index_of(site.grid, site.factor, offset, sample.device)
            else:
                site.layout = torch.empty((), device="meta").expand(site.grid)
            if self.method.merge == "all":
                site.cells = cells_of(site.grid, site.factor, sample.device)

    def _require_usable(self) -> None:
        if self.method.merge == "keys-values":  # else every block has the keys of its own tokens
            for block in self.blocks:
                require_usable(block)

    def remove(self) -> None:
        self._recall.remove()
        for handle in self._handles:
            handle.remove()
        for block in self.blocks:
            block.attn.__class__ = type(block.attn).__base__
            del block.attn._todo_site


def _use_of(block: torch.nn.Module) -> dict[str, Any]:
    return dict(vars(block.attn1._todo_site))


def _use(block: torch.nn.Module, used: dict[str, Any]) -> None:
    vars(block.attn1._todo_site).update(used)


# The hooks below run inside compiled code. They read from the module, never from a closure: torch guards on
# what a module holds and not on its hooks. What changes with the step is a tensor: each new Python number
# would be a new graph.


def _keep_tokens(attn: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """D(x) is one token of every cell."""
    site = attn._todo_site
    if not site.on:
        return None
    tokens = args[0]
    if not torch.compiler.is_compiling():  # reading the grid would make a graph for each image size
        _require_grid(tokens, site)
    index = site.index.to(tokens.device)  # no copy, unless offloading has put the sample elsewhere
    if kwargs.get("attention_mask") is not None:
        kwargs["attention_mask"] = kwargs["attention_mask"].index_select(-1, index)
    return _give(site, downsample_nearest(tokens, index), args, kwargs)


def _keep_averages(attn: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """D(x) is the mean of every cell."""
    site = attn._todo_site
    if not site.on:
        return None
    if kwargs.get("attention_mask") is not None:
        raise ValueError("pooling='average' cannot average an attention_mask; use pooling='nearest'.")
    tokens = args[0]
    compiling = torch.compiler.is_compiling()
    if not compiling:
        _require_grid(tokens, site)
    grid = site.layout.shape if compiling else site.grid
    return _give(site, downsample_average(tokens, grid, site.factor), args, kwargs)


def _give(site: Site, kept: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """K = W_k D(x), V = W_v D(x), and Q = W_q x stays whole; or Q = W_q D(x) too."""
    if site.cells is not None:
        return (kept, *args[1:]), kwargs
    kwargs["encoder_hidden_states"] = kept
    return args, kwargs


def _copy_back(attn: torch.nn.Module, args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor | None:
    site = attn._todo_site
    return upsample_nearest(output, site.cells.to(output.device)) if site.on else None


def _require_grid(tokens: torch.Tensor, site: Site) -> None:
    height, width = site.grid
    if tokens.shape[1] != height * width:
        raise RuntimeError(
            f"A self-attention block got {tokens.shape[1]} tokens where the patch expects a grid of "
            f"{height}x{width}. Call the UNet itself (not its forward or its parts), with a sample of "
            "[batch, channels, height, width]."
        )
