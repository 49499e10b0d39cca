"""Where the time of a step goes, part by part: what keeps a method from its upper bound.

Hooks put a mark before and after every part, and a part inside another is counted once. On CUDA the marks are
events in the stream, so the device never waits for them; what they add is in the totals, for all alike.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any

import torch
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D

from compare.bench.denoising_loop import DenoisingLoop
from compare.bench.variants import Variant
from compare.models.load import LoadedPipeline
from todo_patch.blocks import find_denoiser, self_attention

HOOKS = "the patch's own hooks"
REST = "everything else"


def breakdown(
    loaded: LoadedPipeline, variants: tuple[Variant, ...], width: int, height: int, batch: int, rounds: int
) -> dict[Variant, dict[str, float]]:
    """Seconds of one UNet call by part: medians of interleaved rounds, each after a warm-up call.

    Parts are self-attention by level (its projections and the attention product), cross-attention,
    feed-forward, convolutions, the patch's own hooks, and everything else (such as norms and residuals; for
    ToMe the merging too). For Baseline there are no hooks.
    """
    pipe = loaded.pipe
    loop = DenoisingLoop(loaded, width, height, batch, steps=1)
    laps: dict[Variant, list[dict[str, float]]] = {variant: [] for variant in variants}
    for _ in range(rounds):
        for variant, of_rounds in laps.items():
            with (
                variant.method.on(pipe, variant.setting(width, height)),
                _watched(find_denoiser(pipe), loaded.device) as watch,
            ):
                loop.step()
                watch.marks.clear()
                loop.step()
            of_rounds.append(watch.seconds())
    return {
        variant: {part: median(seconds[part] for seconds in of_rounds) for part in of_rounds[0]}
        for variant, of_rounds in laps.items()
    }


def breakdown_table(parts: dict[Variant, dict[str, float]], method: Variant) -> str:
    """A Markdown table in milliseconds; the last column is what keeps `method` from its upper bound."""
    bound = parts.get(method.upper_bound)
    names = list(dict.fromkeys(part for seconds in parts.values() for part in seconds))
    names.sort(key=lambda name: (name in (HOOKS, REST), name == REST, name))
    heads = ["part, ms", *map(str, parts)]
    if bound:
        heads.append(f"{method.method.label} less its upper bound")
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]

    def line(name: str, of: Callable[[dict[str, float]], float]) -> str:
        cells = [name, *(f"{1000 * of(seconds):.2f}" for seconds in parts.values())]
        if bound:
            cells.append(f"{1000 * (of(parts[method]) - of(bound)):+.2f}")
        return f"| {' | '.join(cells)} |"

    lines += [line(name, lambda seconds, name=name: seconds.get(name, 0.0)) for name in names]
    lines.append(line("the step", lambda seconds: sum(seconds.values())))
    return "\n".join(lines) + "\n"


@dataclass
class _Watch:
    """A stopwatch for nested parts."""

    device: torch.device
    marks: list[tuple[str, Any]] = field(default_factory=list)
    """The innermost part that runs from here to the next mark, and the time."""
    _open: list[str] = field(default_factory=lambda: [REST])

    def begin(self, part: str) -> None:
        self._open.append(part)
        self._mark()

    def hooks_done(self, part: str) -> None:
        self._open[-1] = part
        self._mark()

    def end(self) -> None:
        self._open.pop()
        self._mark()

    def seconds(self) -> dict[str, float]:
        """By part, without the parts inside it."""
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)
        total: dict[str, float] = defaultdict(float)
        for (part, start), (_, end) in pairwise(self.marks):
            total[part] += start.elapsed_time(end) / 1000 if self.device.type == "cuda" else end - start
        return total

    def _mark(self) -> None:
        if self.device.type == "cuda":
            now = torch.cuda.Event(enable_timing=True)
            now.record()
        else:
            if self.device.type != "cpu":
                torch.accelerator.synchronize(self.device)
            now = time.perf_counter()
        self.marks.append((self._open[-1], now))


@contextmanager
def _watched(unet: torch.nn.Module, device: torch.device) -> Iterator[_Watch]:
    watch = _Watch(device)

    def around(module: torch.nn.Module, part: str, hooked: bool = False) -> None:
        """Time a module. `hooked`: the patch may have a hook on it, which is timed as a part of its own."""
        first = HOOKS if hooked else part
        hooks.enter_context(module.register_forward_pre_hook(lambda *_: watch.begin(first), prepend=True))
        if hooked:
            hooks.enter_context(module.register_forward_pre_hook(lambda *_: watch.hooks_done(part)))
        hooks.enter_context(module.register_forward_hook(lambda *_: watch.end()))

    with ExitStack() as hooks:
        around(unet, REST, hooked=True)
        for site in self_attention(unet):
            level = f"level {site.level} self-attention"
            around(site.attn, f"{level}, product", hooked=True)
            for layer in (site.attn.to_q, site.attn.to_out[0]):
                around(layer, f"{level}, query and output projections")
            for layer in (site.attn.to_k, site.attn.to_v):
                around(layer, f"{level}, key and value projections")
            if site.block.attn2 is not None:
                around(site.block.attn2, "cross-attention")
            around(site.block.ff, "feed-forward")
        for module in unet.modules():
            if isinstance(module, (ResnetBlock2D, Downsample2D, Upsample2D)):
                around(module, "convolutions")
        around(unet.conv_in, "convolutions")
        around(unet.conv_out, "convolutions")
        yield watch
