"""ToMe's surgery: the `tomesd` package does the merging; here it gets the right sizes, seed and blocks.

By itself tomesd guesses each block's grid from token counts, merges on latent/1 only (SDXL has no attention
there), forks the global random state once, and leaves attributes behind.

With `merge="all"` a block is of tomesd's class, which merges before `attn1` and unmerges after it. With
`merge="keys-values"` hooks call the same function of tomesd on the same tokens (the block's input), and give
the merged ones to `attn1` as if they were a prompt.
"""

from __future__ import annotations

import functools
from typing import Any

import torch

from ..blocks import SelfAttention, latent_of
from ..methods import ToMe
from ..run import Run
from .checkpointing import Recall
from .marking import known_as, marked
from .processors import needs_all_tokens, require_usable, stores_its_map


class ToMePatch:
    """ToMe on the blocks of one denoiser. `remove` leaves no trace of it."""

    def __init__(self, blocks: tuple[SelfAttention, ...], method: ToMe, run: Run) -> None:
        self.method = method
        self.run = run
        self.blocks = blocks
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
        _tomesd()  # before anything is changed
        self._require_usable()
        self._recall = Recall(blocks, _use_of, _use)
        self._of_step: torch.Tensor | None = None  # the generator's state when the step began
        self._handles: list[Any] = []
        for site in blocks:
            block = site.block
            # A size of its own for each block: its grid, which tomesd then takes as "no downsampling".
            block._tome_info = {"size": None, "hooks": [], "args": self._args}
            if method.merge == "all":
                block.__class__ = _merging(block.__class__)
                continue
            block.__class__ = marked(block.__class__, ToMePatch)
            site.attn.__class__ = marked(site.attn.__class__, ToMePatch)
            site.attn._tome_merge = None
            self._handles += [
                block.register_forward_pre_hook(_match, with_kwargs=True),
                site.attn.register_forward_pre_hook(_merge_keys, with_kwargs=True),
            ]

    def before_call(self, denoiser: torch.nn.Module, arguments: dict[str, Any]) -> None:
        """Set the grid of each block, and the seed if a run begins."""
        sample = latent_of(arguments)
        if arguments.get("attention_mask") is not None:
            raise ValueError("ToMe cannot merge an attention_mask; use ToDo with pooling='nearest'.")
        # As tomesd itself does: it has generators for CUDA and for the CPU.
        device = sample.device if sample.device.type == "cuda" else torch.device("cpu")
        generator = self._args["generator"]
        if generator is None or generator.device != device:
            generator = torch.Generator(device).manual_seed(self.method.seed)
            self._args["generator"] = self._idle["generator"] = generator
            self._of_step = None
        if self.run.call > 0 and self._of_step is not None:
            generator.set_state(self._of_step)  # all calls of a step merge into the same tokens
        else:
            if self.run.step == 0:
                generator.manual_seed(self.method.seed)
            self._of_step = generator.get_state()
        self._recall.before_call(denoiser)
        self._require_usable()  # a pipeline may exchange processors at each call
        on = self.run.within(self.method.until)
        needs_all = stores_its_map if self.method.merge == "all" else needs_all_tokens
        for block in self.blocks:
            grid = block.grid(*sample.shape[-2:])
            require_room(grid, block.level, self.method)
            info = block.block._tome_info
            info["size"] = grid
            info["args"] = self._args if on and not needs_all(block.attn) else self._idle

    def _require_usable(self) -> None:
        for block in self.blocks:
            (require_known if self.method.merge == "all" else require_usable)(block)

    def remove(self) -> None:
        self._recall.remove()
        for handle in self._handles:
            handle.remove()
        for site in self.blocks:
            site.block.__class__ = type(site.block).__base__
            del site.block._tome_info
            if self.method.merge == "keys-values":
                site.attn.__class__ = type(site.attn).__base__
                del site.attn._tome_merge


def require_known(site: SelfAttention) -> None:
    """Raise ValueError if tomesd's own copy of an older forward would silently leave out a part."""
    block = site.block
    plain = block.norm_type in ("layer_norm", "ada_norm", "ada_norm_zero")
    if not plain or block.pos_embed is not None or hasattr(block, "fuser"):
        raise ValueError(
            f"{site.name}: tomesd cannot run this kind of transformer block; use merge='keys-values' or ToDo."
        )


def _use_of(block: torch.nn.Module) -> tuple[dict[str, Any], torch.Tensor]:
    info = block._tome_info
    return dict(info), info["args"]["generator"].get_state()


def _use(block: torch.nn.Module, used: tuple[dict[str, Any], torch.Tensor]) -> None:
    info, state = used
    block._tome_info.update(info)
    info["args"]["generator"].set_state(state)


def _tomesd() -> Any:
    try:
        import tomesd
    except ImportError as error:
        raise ImportError("ToMe needs the tomesd package: pip install tomesd==0.1.3") from error
    return tomesd


@functools.cache
def _merging(block: type) -> type:
    """tomesd's subclass of a transformer block. One for each class, so that compiled code is found again."""
    return known_as(block, _tomesd().patch.make_diffusers_tome_block(block))


# tomesd draws from a generator, which torch cannot compile: graphs end here, as in tomesd's own class.


@torch.compiler.disable
def _match(block: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Find the tokens that are to be merged, by the similarity of the block's inputs."""
    tokens = args[0] if args else kwargs["hidden_states"]
    merge, *_ = _tomesd().patch.compute_merge(tokens, block._tome_info)
    block.attn1._tome_merge = None if merge is _tomesd().merge.do_nothing else merge


@torch.compiler.disable
def _merge_keys(attn: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """K = W_k M(x), V = W_v M(x), with M(x) the merged tokens; Q = W_q x stays whole."""
    merge, attn._tome_merge = attn._tome_merge, None  # nothing of a call outlives it
    if merge is None:
        return None
    kwargs["encoder_hidden_states"] = merge(args[0])
    return args, kwargs


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
