"""What a method would do to a model at an image size, without running the model."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from . import grid as grids
from .blocks import SelfAttention, find_denoiser, require_methods, self_attention
from .flops import attention_flops, denoiser_flops, key_value_flops
from .hooks import tome
from .methods import Forecast, ToDo, ToMe, first_steps, in_turn, is_int


@dataclass(frozen=True)
class BlockPlan:
    """One self-attention block: tokens and FLOPs of its `attn1` for a batch of one, before and after."""

    name: str
    level: int
    grid: tuple[int, int]
    tokens: int
    query_tokens: int
    kv_tokens: int
    flops_before: int
    flops_after: int

    @property
    def patched(self) -> bool:
        """Whether it works with fewer tokens."""
        return self.query_tokens < self.tokens or self.kv_tokens < self.tokens


@dataclass(frozen=True)
class Plan:
    """What methods would do: every self-attention block in the order they run, and the denoiser's FLOPs.
    `print(plan)` shows it as a few lines.

    FLOPs are of `calls_before` calls without the methods and of `calls_after` calls with them, for a batch of
    one: of one call each, with the method on, or of a whole run. A product of n x m and m x k counts 2nmk.
    `ceiling` is the speed-up in FLOPs if all that a method of this kind could remove at the patched levels
    were free. It bounds FLOPs, not seconds: if attention runs slower than matrix products, a clock can show
    more. If it is near 1, a `Forecast` saves more.
    """

    blocks: tuple[BlockPlan, ...]
    total_before: int
    total_after: int
    ceiling: float
    notes: tuple[str, ...] = ()
    calls_before: int = 1
    calls_after: int = 1

    @property
    def patched(self) -> int:
        """The number of blocks with fewer tokens."""
        return sum(block.patched for block in self.blocks)

    @property
    def speedup(self) -> float:
        """In FLOPs."""
        return self.total_before / self.total_after

    def __str__(self) -> str:
        alike = Counter((b.level, b.grid, b.tokens, b.query_tokens, b.kv_tokens) for b in self.blocks)
        levels = [
            f"level {level}, {count} blocks on {grid[0]}x{grid[1]} tokens: "
            + ("unchanged" if tokens == queries == keys else f"{queries} queries, {keys} keys and values")
            for (level, grid, tokens, queries, keys), count in sorted(alike.items())
        ]
        calls = f"{self.calls_after} of {self.calls_before} calls" if self.calls_before > 1 else "one call"
        totals = (
            f"{calls}: {self.total_after:.3g} FLOPs instead of {self.total_before:.3g}, "
            f"{self.speedup:.2f}x, at most {self.ceiling:.2f}x"
        )
        return "\n".join([*levels, totals, *self.notes])


def plan(
    model: Any,
    method: ToDo | ToMe | Forecast | tuple[ToDo | ToMe | Forecast, ...],
    height: int,
    width: int,
    vae_scale_factor: int = 8,
    steps: int | None = None,
) -> Plan:
    """What `method` would do to `model` for an image of `height` x `width` pixels.

    The model's weights are neither run nor read; it may be on the meta device. FLOPs are those of its
    configuration, without LoRA or IP-Adapter.

    Args:
        model: a pipeline, or its denoiser (a UNet or a transformer).
        method: a method, or a tuple of those that `apply_patch` would be given.
        height: of the image, in pixels.
        width: of the image, in pixels.
        vae_scale_factor: image pixels per latent pixel; a pipeline's own counts, if it is a pipeline.
        steps: of a run, to plan the whole run instead of one call. A `Forecast` needs it.

    Raises:
        NothingToPatch: as `apply_patch`.
        TypeError: as `apply_patch`.
        ValueError: the size is not one that VAE and denoiser can make, a grid is too small for the method,
            `steps` is not allowed or missing, or the run is too short for the `Forecast`.
    """
    denoiser = find_denoiser(model)
    methods = method if isinstance(method, tuple) else (method,)
    require_methods(denoiser, methods)
    sites = self_attention(denoiser)
    scale = getattr(model, "vae_scale_factor", vae_scale_factor)
    side = scale * max((site.patch_size for site in sites), default=1)  # of the smallest image
    for name, value in (("height", height), ("width", width)):
        if not is_int(value) or value < side or value % side:
            raise ValueError(f"{name}={value!r} is not allowed; it must be a multiple of {side} pixels.")
    attention = next((m for m in methods if not isinstance(m, Forecast)), ToDo(factor=1))
    forecast = next((m for m in methods if isinstance(m, Forecast)), Forecast(share=0))
    if steps is None and not forecast.asks_for_nothing:
        raise ValueError(f"A plan with {forecast} is one of a whole run: say steps=..., its number of steps.")
    if steps is not None and (not is_int(steps) or steps < 1):
        raise ValueError(f"steps={steps!r} is not allowed; it must be an int of at least 1.")

    latent = height // scale, width // scale
    turns = in_turn(attention)
    blocks = {turn: tuple(_plan_block(site, turn, site.grid(*latent)) for site in sites) for turn in turns}
    shown = next((turn for turn in turns if not turn.asks_for_nothing), attention)

    run = steps or 1
    forecasts = forecast.steps(run)
    made = [step for step in range(run) if step not in forecasts]
    on = [shown] if steps is None else [_turn_at(step, run, turns) for step in made]
    call = denoiser_flops(denoiser, *latent)
    saved = sum(b.flops_before - b.flops_after for turn in on if turn for b in blocks[turn])
    removable = sum(_removable(sites, turn, blocks[turn]) for turn in on if turn)
    notes = _notes(attention, steps) if attention in methods else ()
    if forecasts:
        notes += (f"Forecast: steps {', '.join(str(step + 1) for step in forecasts)} of {run}.",)
    elif not forecast.asks_for_nothing:
        notes += (f"{forecast} forecasts none of {run} steps.",)
    return Plan(
        blocks[shown],
        total_before=run * call,
        total_after=len(made) * call - saved,
        ceiling=run * call / (len(made) * call - removable),
        notes=notes,
        calls_before=run,
        calls_after=len(made),
    )


def _turn_at(step: int, run: int, turns: tuple[ToDo | ToMe, ...]) -> ToDo | ToMe | None:
    return next((turn for turn in turns if step < first_steps(turn.until, run)), None)


def _removable(sites: tuple[SelfAttention, ...], method: ToDo | ToMe, blocks: tuple[BlockPlan, ...]) -> int:
    """FLOPs of all that a method of this kind could remove, at the levels that it patches."""
    part = attention_flops if method.merge == "all" else key_value_flops
    return sum(part(s.attn, b.tokens, b.tokens) for s, b in zip(sites, blocks, strict=True) if b.patched)


def _plan_block(site: SelfAttention, method: ToDo | ToMe, grid: tuple[int, int]) -> BlockPlan:
    tokens = grid[0] * grid[1]
    keys = tokens
    matching = 0
    if method.patches(site.level):
        if isinstance(method, ToDo):
            keys = grids.kept_tokens(grid, method.factors[site.level])
        else:
            if method.merge == "all":
                tome.require_known(site)
            tome.require_room(grid, site.level, method)
            keys, sources, destinations = tome.kept_tokens(grid, method)
            if keys < tokens:  # tomesd does not look for pairs if none is to be merged
                matching = 2 * sources * destinations * site.attn.query_dim
    queries = keys if method.merge == "all" else tokens
    return BlockPlan(
        site.name,
        site.level,
        grid,
        tokens,
        queries,
        keys,
        attention_flops(site.attn, tokens, tokens),
        attention_flops(site.attn, queries, keys) + matching,
    )


def _notes(method: ToDo | ToMe, steps: int | None) -> tuple[str, ...]:
    turns = in_turn(method)
    if all(turn.asks_for_nothing for turn in turns):
        return ("This setting asks for nothing: the model stays the baseline.",)
    notes = []
    if any(isinstance(turn, ToMe) for turn in turns):
        notes.append(
            "tomesd chooses its destinations at random for even batches only; an odd batch (such as one "
            "image without guidance) takes the top-left token of each cell, whatever the seed."
        )
    if method.until < 1:
        then = "" if method.then is None else f", then {method.then}"
        counted = "one call with it on" if steps is None else "the whole run"
        notes.append(f"On for the first {method.until:.0%} of the steps{then}; the totals are of {counted}.")
    return tuple(notes)
