"""The error of one UNet call under ToDo: the part that all sampling offsets share, and the part that differs.

``python -m compare.study.grid_error docs/rotating-grid/centre.toml`` draws Baseline's pictures of the first
prompts and repeats the UNet call of some of their steps with each offset. Only the part that differs can
average out over steps: it says what a rotating grid can gain before any picture is made.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compare.models.load import LoadedPipeline, load_pipeline
from compare.request import Request
from compare.study.grid_variants import Choice, Offset, chosen_tokens
from compare.study.sweep import Sweep
from todo_patch import ToDo
from todo_patch.grid import offset_order

STOPS = 5  # steps of a run at which the call is repeated, evenly spread, the first included


@dataclass(frozen=True)
class Call:
    """A UNet call of Baseline's."""

    step: int
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]


@dataclass(frozen=True)
class CallError:
    """Squared errors of a guided prediction under one factor, as fractions of the energy of Baseline's."""

    step: int
    factor: int
    fixed: float
    """All blocks keep the same token: the mean over the offsets."""
    fixed_shared: float
    """Of the mean of these predictions: what is left if the grid rotates with the steps."""
    rotating: float
    """The next block keeps the next token: the mean over the first block's tokens."""
    rotating_shared: float
    """Of the mean of these predictions: what is left if the grid rotates with blocks and steps."""


def record_calls(loaded: LoadedPipeline, request: Request) -> list[Call]:
    """The UNet calls of Baseline's run, at `STOPS` of its steps."""
    calls: list[Call] = []

    def note(_: object, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        calls.append(Call(len(calls), arguments, dict(keywords)))

    with loaded.pipe.unet.register_forward_pre_hook(note, with_kwargs=True):
        loaded.pipe(
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            height=request.height,
            width=request.width,
            num_inference_steps=request.steps,
            guidance_scale=float(request.guidance_scale),
            generator=torch.Generator("cpu").manual_seed(request.seed),
            output_type="latent",
        )
    return [calls[at] for at in sorted({stop * request.steps // STOPS for stop in range(STOPS)})]


def call_error(loaded: LoadedPipeline, call: Call, factor: int, guidance_scale: float) -> CallError:
    """Repeat a call with every offset, in all blocks alike and rotating with the blocks."""
    order = offset_order(factor)
    right = predict(loaded, call, guidance_scale)
    energy = right.square().sum()

    def split(choices: Sequence[Choice]) -> tuple[float, float]:
        errors = torch.stack([predict(loaded, call, guidance_scale, factor, c) - right for c in choices])
        alone = errors.square().flatten(1).sum(1).mean()
        return float(alone / energy), float(errors.mean(0).square().sum() / energy)

    fixed = split([always(offset) for offset in order])
    rotating = split(
        [
            lambda at, start=start: (at.factor, order[(start + at.block) % len(order)])
            for start in range(len(order))
        ]
    )
    return CallError(call.step, factor, *fixed, *rotating)


@torch.no_grad()
def predict(
    loaded: LoadedPipeline,
    call: Call,
    guidance_scale: float,
    factor: int = 1,
    choose: Choice | None = None,
) -> Tensor:
    """The guided prediction, (1, channels, h, w) float64: under ToDo with `choose`, Baseline's without."""
    with nullcontext() if choose is None else chosen_tokens(loaded.pipe, ToDo(factor=factor), choose):
        out = loaded.pipe.unet(*call.arguments, **{**call.keywords, "return_dict": False})[0].double()
    if guidance_scale <= 1:
        return out
    without, given = out.chunk(2)
    return without + guidance_scale * (given - without)


def always(offset: Offset) -> Choice:
    """The same token in all blocks."""
    return lambda at: (at.factor, offset)


def call_errors(
    loaded: LoadedPipeline, requests: Sequence[Request], factors: Sequence[int]
) -> Iterator[CallError]:
    """For each request, step and factor."""
    for request in requests:
        for call in record_calls(loaded, request):
            for factor in factors:
                yield call_error(loaded, call, factor, float(request.guidance_scale))


def markdown(errors: Sequence[CallError]) -> str:
    """Means over the prompts in dB, relative to the energy of Baseline's prediction, by factor and step."""
    lines = [
        "| factor | step | calls | same token in all blocks | mean of its offsets | rotating with the block "
        "| mean of its offsets |",
        "|---|---|---|---|---|---|---|",
    ]
    for factor, step in sorted({(error.factor, error.step) for error in errors}):
        same = [error for error in errors if (error.factor, error.step) == (factor, step)]
        parts = [(e.fixed, e.fixed_shared, e.rotating, e.rotating_shared) for e in same]
        with np.errstate(divide="ignore"):
            cells = [f"{decibels:.1f}" for decibels in 10 * np.log10(np.mean(parts, axis=0))]
        lines.append(f"| {factor} | {step} | {len(same)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, metavar="SWEEP.toml", help="its prompts, sizes, steps and factors")
    parser.add_argument("--prompts", type=int, default=8, help="how many of its prompts, from the first")
    parser.add_argument("--model", help="as for compare run")
    parser.add_argument("--device", help="as for compare run")
    args = parser.parse_args()
    settings = Sweep.load(args.file)
    loaded = load_pipeline(args.model, args.device)
    changes = {"prompts": settings.prompts[: args.prompts], "factors": settings.factors[:1]}
    requests = settings.model_copy(update=changes).requests(loaded)
    print(markdown(list(call_errors(loaded, requests, settings.factors))), end="")


if __name__ == "__main__":
    main()
