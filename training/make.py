"""All stages from the package of artwork to the shipped folder, with one command.

``python -m training.make`` takes hours on a CPU and half an hour on a CUDA device. After a stop, the same
command continues: finished stages are skipped, and training resumes from its last checkpoint. ``--scale
0.0005`` tries the same commands on almost no data.
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

    def amount(self, whole: int, least: int = 1) -> int:
        return max(round(whole * self.scale), least)

    def minutes(self, whole: float) -> float:
        return whole * self.scale

    def vae(self, minutes: float, **more: object) -> Stage:
        return Stage.of("vae", minutes=self.minutes(minutes), out=self.work / "vae", **more)

    def diffusion(self, part: str, minutes: float, **more: object) -> Stage:
        return Stage.of(
            "diffusion",
            part=part,
            minutes=self.minutes(minutes),
            captions=self.amount(64_000, 64),
            vae=self.work / "vae",
            checkpoint=self.work / "checkpoint.pt",
            **more,
        )

    def ship(self, things: int, windows: int) -> tuple[Stage, ...]:
        """The model's folder, its classifier, a look at it, and its score."""
        classifier = self.model / CLASSIFIER
        return (
            Stage.of(
                "export",
                checkpoint=self.work / "checkpoint.pt",
                vae=self.work / "vae",
                things=things,
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
    """Few things first, as they are learnt sooner; then the rest; then on larger crops too."""
    return (
        at.vae(30),
        at.diffusion("few", 80, things=24, batch=16),
        at.diffusion("all", 70, things=60, batch=16, cooldown=0.3),
        at.diffusion(
            "large", 90, things=60, batch=32, sides=(256, 256, 256, 512), learning_rate=6e-4, cooldown=0.9
        ),
        *at.ship(things=60, windows=160_000),
    )


def on_a_gpu(at: Places) -> tuple[Stage, ...]:
    """Large batches; small crops first, then on larger ones too."""
    large = {"batch": 512, "learning_rate": 1.5e-3}
    return (
        at.vae(3, side=256, batch=24),
        at.diffusion("small", 6, things=60, **large),
        at.diffusion("large", 12, things=60, sides=(128, 256, 256, 512, 512), cooldown=0.6, **large),
        *at.ship(things=60, windows=160_000),
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
