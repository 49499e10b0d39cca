"""Does a forecast make a better picture for the same number of UNet calls? Runs against a very long one.

``python -m compare.study.truth docs/what-to-use/truth.toml --device cpu --out FOLDER`` draws each prompt with
many steps, the truth, and then with few UNet calls: plainly, and in more steps of which a share is forecast.
Rows go to ``FOLDER/rows.jsonl``, medians to ``table.md``, the curve to ``curve.png``. It can be
stopped and started again.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Hashable, Iterator, Sequence
from contextlib import nullcontext, suppress
from itertools import product
from pathlib import Path
from statistics import mean, median_low

import torch
from diffusers import DiffusionPipeline
from matplotlib.figure import Figure
from PIL import Image
from pydantic import BaseModel, ValidationError

from compare.errors import InvalidRequest, ModelNotLoaded
from compare.experiment.device import environment
from compare.experiment.fidelity import score
from compare.models.load import LoadedPipeline, load_pipeline, with_scheduler
from compare.models.weights_hash import fingerprint
from compare.statistics import mean_interval
from compare.study.row_folder import RowFolder
from todo_patch import Forecast, patched

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DASHES = ("-", "--", ":", "-.")


class Plan(BaseModel, frozen=True, extra="forbid", strict=True):
    """What the TOML file holds."""

    prompts: list[str]
    seed: int = 0
    size: int
    """px a side."""
    guidance_scale: float
    truth_scheduler: str
    truth_steps: int
    schedulers: list[str]
    calls: list[int]
    """UNet calls of a picture (with guidance each is a batch of two)."""
    shares: list[float]
    """Of the steps that are forecast; 0 is the plain run, which the others are compared with."""

    @classmethod
    def load(cls, file: Path) -> Plan:
        """Raises `InvalidRequest` if the file cannot be read, or is no such plan."""
        try:
            return cls.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError) as error:
            raise InvalidRequest(f"{file} is no plan: {error}") from error


class Setup(BaseModel, frozen=True):
    """What all rows of a folder share."""

    model: str
    weights: str
    dtype: str
    torch: str
    diffusers: str
    truth_scheduler: str
    truth_steps: int


class Row(BaseModel, frozen=True):
    """One picture against the truth."""

    prompt: str
    seed: int
    size: int
    guidance_scale: float
    scheduler: str
    share: float
    """Of the steps that are forecast."""
    calls: int
    """Of the UNet."""
    steps: int
    psnr: float
    """In dB, to the truth of the same prompt and noise."""
    ssim: float

    @property
    def key(self) -> Hashable:
        return (
            self.prompt, self.seed, self.size, self.guidance_scale, self.scheduler, self.share, self.calls,
        )  # fmt: skip


def steps_for(calls: int, share: float) -> int:
    """The fewest steps of which `calls` are computed and the rest, `share` of them, forecast.

    Raises:
        InvalidRequest: there is no such number.
    """
    if share == 0:
        return calls
    forecast = Forecast(share=share)
    for steps in range(calls, math.ceil(calls / (1 - share)) + 2):
        with suppress(ValueError):  # too few steps for that share
            if steps - len(forecast.steps(steps)) == calls:
                return steps
    raise InvalidRequest(f"No run with a share of {share:g} forecast makes {calls} calls of the UNet.")


def draw(pipe: DiffusionPipeline, plan: Plan, prompt: str, steps: int, share: float) -> Image.Image:
    """One picture from the plan's noise."""
    with patched(pipe, Forecast(share=share)) if share else nullcontext():
        return pipe(
            prompt=prompt,
            height=plan.size,
            width=plan.size,
            num_inference_steps=steps,
            guidance_scale=plan.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(plan.seed),
        ).images[0]


def rows(loaded: LoadedPipeline, plan: Plan, folder: RowFolder[Row]) -> Iterator[Row]:
    """Draw what the folder does not hold yet, prompt by prompt, and yield each new row once it is written."""
    runs = [
        (scheduler, share, calls, steps_for(calls, share))
        for scheduler, calls, share in product(plan.schedulers, plan.calls, plan.shares)
    ]
    for prompt in plan.prompts:
        asked = {
            (prompt, plan.seed, plan.size, plan.guidance_scale, scheduler, share, calls): steps
            for scheduler, share, calls, steps in runs
        }
        missing = {key: steps for key, steps in asked.items() if not folder.holds([key])}
        if not missing:
            continue
        with_scheduler(loaded, plan.truth_scheduler)
        truth = draw(loaded.pipe, plan, prompt, plan.truth_steps, 0)
        for key, steps in missing.items():
            *_, scheduler, share, calls = key
            with_scheduler(loaded, scheduler)
            scores = score(draw(loaded.pipe, plan, prompt, steps, share), truth)
            row = Row(
                prompt=prompt,
                seed=plan.seed,
                size=plan.size,
                guidance_scale=plan.guidance_scale,
                scheduler=scheduler,
                share=share,
                calls=calls,
                steps=steps,
                psnr=math.inf if scores.psnr is None else scores.psnr,
                ssim=scores.ssim,
            )
            folder.append([row])
            yield row


def _of(found: Sequence[Row], scheduler: str, share: float, calls: int) -> dict[str, Row]:
    """By prompt."""
    return {
        row.prompt: row for row in found if (row.scheduler, row.share, row.calls) == (scheduler, share, calls)
    }


def _values(found: Sequence[Row], field: str) -> list:
    return list(dict.fromkeys(getattr(row, field) for row in found))


def markdown(found: Sequence[Row]) -> str:
    """A table: medians of the PSNR to the truth (of an even number the lower of the two in the middle), and
    what forecasts add to a plain run with as many calls of the UNet, pair by pair, as a mean with its 95 %
    bootstrap interval."""
    shares = sorted(_values(found, "share"))
    heads = [f"{share:.0%} forecast, dB | gain over plain" for share in shares if share]
    lines = [
        f"| {' | '.join(['solver', 'UNet calls', 'pairs', 'plain, dB', *heads])} |",
        "|---|---|---|---|" + "---|---|" * len(heads),
    ]
    for scheduler, calls in product(_values(found, "scheduler"), sorted(_values(found, "calls"))):
        plain = _of(found, scheduler, 0.0, calls)
        if not plain:
            continue
        cells = [scheduler, str(calls), str(len(plain)), f"{median_low(r.psnr for r in plain.values()):.1f}"]
        for share in filter(None, shares):
            others = _of(found, scheduler, share, calls)
            gains = [others[prompt].psnr - row.psnr for prompt, row in plain.items() if prompt in others]
            if not gains:
                cells += ["–", "–"]
                continue
            low, high = mean_interval(gains)
            steps = next(iter(others.values())).steps
            cells += [
                f"{median_low(r.psnr for r in others.values()):.1f} ({steps} steps)",
                f"{mean(gains):+.1f} ({low:+.1f} to {high:+.1f})",
            ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def plot(found: Sequence[Row], file: Path) -> None:
    """Median PSNR to the truth over UNet calls: a panel per solver, a line per share."""
    solvers, shares = _values(found, "scheduler"), sorted(_values(found, "share"))
    figure = Figure(figsize=(4.2 * len(solvers), 3.6), dpi=110, layout="constrained")
    for axes, scheduler in zip(figure.subplots(1, len(solvers), squeeze=False)[0], solvers, strict=True):
        for share, dash in zip(shares, DASHES, strict=False):
            points = [
                (calls, median_low(row.psnr for row in of.values()))
                for calls in sorted(_values(found, "calls"))
                if (of := _of(found, scheduler, share, calls))
            ]
            axes.plot(
                *zip(*points, strict=True), dash, marker=".", label=f"{share:.0%} of the steps forecast"
            )
        axes.set(title=scheduler, xlabel="UNet calls", ylabel="PSNR to the truth, dB")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plan", type=Path, metavar="FILE", help="a TOML file")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--model", help="as in compare run (default: by device)")
    parser.add_argument("--device", help="cpu, cuda, … (default: cuda if there is one)")
    args = parser.parse_args()
    try:
        plan = Plan.load(args.plan)
        loaded = load_pipeline(args.model, args.device)
        loaded.pipe.set_progress_bar_config(disable=True)
        packages = environment(loaded.device).packages
        setup = Setup(
            model=loaded.info.source,
            weights=fingerprint(loaded.pipe),
            dtype=loaded.info.dtype,
            torch=packages["torch"],
            diffusers=packages["diffusers"],
            truth_scheduler=plan.truth_scheduler,
            truth_steps=plan.truth_steps,
        )
        with RowFolder(args.out, setup, Row) as folder:
            for row in rows(loaded, plan, folder):
                print(
                    f"{row.prompt!r}, {row.scheduler}, {row.calls} of {row.steps} steps: {row.psnr:.1f} dB",
                    flush=True,
                )
            (args.out / "table.md").write_text(markdown(folder.rows), encoding="utf-8")
            plot(folder.rows, args.out / "curve.png")
    except (InvalidRequest, ModelNotLoaded) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
