"""All stages from the package of artwork to the shipped folder, with one command.

``python -m training.make`` follows the shipped weights' schedule on a CPU; on a CUDA device it trains longer,
on more things and on larger crops. After a stop, the same command continues: finished stages are skipped, and
training resumes from its last checkpoint. ``--scale 0.0005`` tries the same commands on almost no data.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from compare.models.source import BUNDLED, CLASSIFIER
from training import WORK

FEWEST_CROPS = 640  # some are held out, and the latents' scale is measured on 512


@dataclass(frozen=True)
class Stage:
    """One of this folder's commands."""

    module: str
    options: tuple[str, ...]

    @classmethod
    def of(cls, module: str, **options: object) -> Stage:
        """`cooldown=0.5` becomes `--cooldown 0.5`; a tuple becomes several words."""
        words: list[str] = []
        for name, value in options.items():
            values = value if isinstance(value, tuple) else (value,)
            words += [f"--{name.replace('_', '-')}", *map(str, values)]
        return cls(f"training.{module}", tuple(words))

    def __str__(self) -> str:
        return " ".join(["python -m", self.module, *self.options])


@dataclass(frozen=True)
class Places:
    """The folders of a model that is being made, and the scale of all amounts."""

    work: Path
    model: Path
    """The folder that will be shipped."""
    scale: float
    """Of all amounts; 1 for a real model."""

    def data(self, name: str) -> Path:
        return self.work / f"data-{name}"

    def amount(self, whole: int, least: int = 1) -> int:
        return max(round(whole * self.scale), least)

    def crops(self, name: str, things: int, count: int, **more: object) -> Stage:
        count = self.amount(count, FEWEST_CROPS)
        return Stage.of("crops", things=things, count=count, out=self.data(name), **more)

    def vae(self, name: str, images: int, **more: object) -> Stage:
        images = self.amount(images, 64)
        return Stage.of("vae", images=images, data=self.data(name), out=self.work / "vae", **more)

    def diffusion(self, name: str, crops: int, **more: object) -> Stage:
        return Stage.of(
            "diffusion",
            crops=self.amount(crops, 16),
            data=self.data(name),
            vae=self.work / "vae",
            checkpoint=self.work / "checkpoint.pt",
            **more,
        )

    def ship(self, name: str, things: int, windows: int) -> tuple[Stage, ...]:
        """The model's folder, its classifier, a look at it, and its score."""
        classifier = self.model / CLASSIFIER
        return (
            Stage.of(
                "export",
                checkpoint=self.work / "checkpoint.pt",
                vae=self.work / "vae",
                vocabulary=self.data(name) / "vocabulary.json",
                out=self.model,
            ),
            Stage.of(
                "classifier",
                things=things,
                windows=self.amount(windows, 640),
                sheets=self.amount(600, 20),
                out=classifier,
            ),
            Stage.of("sheet", model=self.model, out=self.model.with_name(f"{self.model.name}-sheet.png")),
            Stage.of(
                "score",
                model=self.model,
                classifier=classifier,
                prompts=tuple(self.amount(n) for n in (60, 24, 8)),
                out=self.work / "score" / "baseline",
            ),
        )


def on_a_cpu(at: Places) -> tuple[Stage, ...]:
    """Few things first, as they are learnt sooner; then the rest; then crops that always show two kinds."""
    return (
        at.crops("24", things=24, count=24_000),
        at.vae("24", images=36_000),
        at.diffusion("24", crops=9_000, batch=8, learning_rate=8e-4),
        at.diffusion("24", crops=212_000, batch=16, learning_rate=8e-4, cooldown=0.5),
        at.crops("60", things=60, count=32_000, seed=5_000_000),
        at.vae("60", images=40_000, learning_rate=1.2e-3),
        at.diffusion("60", crops=378_000, batch=16, learning_rate=8e-4, cooldown=0.28),
        at.crops("60-large", things=60, count=6_000, side=256, seed=600_000),
        at.diffusion("60-large", crops=393_000, batch=8, learning_rate=6e-4, cooldown=0.034),
        *at.ship("60", things=60, windows=160_000),
    )


def on_a_gpu(at: Places) -> tuple[Stage, ...]:
    """All things at once, large batches, then crops of twice the side."""
    return (
        at.crops("72", things=72, count=64_000),
        at.vae("72", images=600_000, batch=64),
        at.diffusion("72", crops=8_000_000, batch=256, learning_rate=1.5e-3, cooldown=0.5),
        at.crops("72-large", things=72, count=16_000, side=256, seed=5_000_000),
        at.diffusion("72-large", crops=9_000_000, batch=64, learning_rate=3e-4, cooldown=0.1),
        *at.ship("72", things=72, windows=200_000),
    )


def make(stages: Sequence[Stage], work: Path, run: Callable[[Stage], None]) -> None:
    """Run the stages in order, and record in ``work/made`` which are finished.

    A stage is skipped if the same command has finished before and no earlier stage had to run.
    """
    made = work / "made"
    made.mkdir(parents=True, exist_ok=True)
    fresh = False
    for number, stage in enumerate(stages, start=1):
        marker = made / f"{number:02d}-{stage.module.split('.')[1]}"
        if not fresh and marker.exists() and marker.read_text(encoding="utf-8") == str(stage):
            print(f"[{number}/{len(stages)}] finished before: {stage}", flush=True)
            continue
        fresh = True
        for later in made.glob("*"):
            if later.name >= marker.name:
                later.unlink()
        print(f"[{number}/{len(stages)}] {stage}", flush=True)
        run(stage)
        marker.write_text(str(stage), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--plan", choices=("cpu", "gpu"), default="gpu" if torch.cuda.is_available() else "cpu"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="of all amounts, to try it")
    parser.add_argument("--work", type=Path, default=WORK, help="delete it to start over")
    parser.add_argument("--out", type=Path, default=BUNDLED, help="the model's folder")
    args = parser.parse_args()
    plan = {"cpu": on_a_cpu, "gpu": on_a_gpu}[args.plan]
    stages = plan(Places(args.work, args.out, args.scale))

    def run(stage: Stage) -> None:
        if subprocess.run([sys.executable, "-m", stage.module, *stage.options]).returncode:
            parser.exit(1, f"Stopped at: {stage}\nThe same command continues from there.\n")

    make(stages, args.work, run)


if __name__ == "__main__":
    main()
