"""ToDo's surgery: hooks that give the kept tokens to each self-attention as if they were a prompt.

    Q = W_q x,  K = W_k D(x),  V = W_v D(x)        (ToDo, arXiv 2402.13573, section 3.2)

x are the tokens of the block and D is the downsampling in `grid.py`. The hooks set D(x) as the
`encoder_hidden_states` of `attn1`. The attention processor that is installed stays and does the rest.

Joint attention has a prompt there, with keys and values of its own: D(x) is then given to the projections of
the image's keys and values, in the place of x. With `merge="all"` the hooks give `attn1` D(x) in the place of
x, and each token what comes out for its cell.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch

from ..blocks import SelfAttention, latent_of
from ..grid import (
    cell_index,
    downsample_average,
    downsample_nearest,
    offset_order,
    token_index,
    upsample_nearest,
)
from ..methods import ToDo
from ..run import Run, is_freezing
from .checkpointing import Recall
from .marking import marked
from .processors import needs_all_tokens, require_usable


@dataclass(eq=False)
class Site:
    """What one self-attention block is to do in the UNet call in progress."""

    factor: int
    replaces: bool  # D(x) is given in the place of x
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
        self._hooked: list[torch.nn.Module] = []
        for block in self.blocks:
            factor = method.factors[block.level]
            offsets = offset_order(factor) if method.grid == "rotating" else ((0, 0),)
            site = Site(factor, block.is_joint or method.merge == "all", offsets)
            for module in _takes_tokens(block):
                module._todo_site = site
                module.__class__ = marked(module.__class__, ToDoPatch)
                self._handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))
                self._hooked.append(module)
            if method.merge == "all":
                self._handles.append(block.attn.register_forward_hook(_copy_back))

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
            site = _site(block)
            site.on = on and not needs_all_tokens(block.attn)
            site.grid = block.grid(*sample.shape[-2:])
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
        for module in self._hooked:
            module.__class__ = type(module).__base__
            del module._todo_site


def _takes_tokens(block: SelfAttention) -> tuple[torch.nn.Module, ...]:
    return (block.attn.to_k, block.attn.to_v) if block.is_joint else (block.attn,)


def _site(block: SelfAttention) -> Site:
    for module in _takes_tokens(block):
        if "_todo_site" not in vars(module):
            raise RuntimeError(
                f"The key and value projections of {block.name} were exchanged after it had been patched, as "
                "loading or unloading a LoRA does. Say apply_patch again."
            )
    return module._todo_site


def _sites_of(block: torch.nn.Module) -> list[Site]:
    return [vars(module)["_todo_site"] for module in block.modules() if "_todo_site" in vars(module)]


def _use_of(block: torch.nn.Module) -> list[dict[str, Any]]:
    return [dict(vars(site)) for site in _sites_of(block)]


def _use(block: torch.nn.Module, used: list[dict[str, Any]]) -> None:
    for site, use in zip(_sites_of(block), used, strict=True):
        vars(site).update(use)


# The hooks below run inside compiled code. They read from the module, never from a closure: torch guards on
# what a module holds and not on its hooks. What changes with the step is a tensor: each new Python number
# would be a new graph.


def _keep_tokens(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """D(x) is one token of every cell."""
    site = module._todo_site
    if not site.on:
        return None
    tokens = args[0]
    if not torch.compiler.is_compiling():  # reading the grid would make a graph for each image size
        _require_grid(tokens, site)
    index = site.index.to(tokens.device)  # no copy, unless offloading has put the sample elsewhere
    if kwargs.get("attention_mask") is not None:
        kwargs["attention_mask"] = kwargs["attention_mask"].index_select(-1, index)
    return _give(site, downsample_nearest(tokens, index), args, kwargs)


def _keep_averages(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """D(x) is the mean of every cell."""
    site = module._todo_site
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
    if site.replaces:
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
            f"{height}x{width}. Call the model itself (not its forward or its parts), with a latent of "
            "[batch, channels, height, width]."
        )
