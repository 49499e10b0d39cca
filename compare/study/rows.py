"""What a sweep writes down: one row for each method of each comparison, and how they were made."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Hashable, Iterable, Iterator
from datetime import datetime
from pathlib import Path

from diffusers import SchedulerMixin
from pydantic import BaseModel

from compare.errors import InvalidRequest
from compare.experiment.device import environment
from compare.experiment.flip import PACKAGE, PIXELS_PER_DEGREE
from compare.methods import BASELINE
from compare.models.load import LoadedPipeline
from compare.models.weights_hash import fingerprint
from compare.report import Comparison
from compare.request import Request
from compare.study.row_folder import RowFolder, read_rows, read_setup
from compare.study.scorers import BACKBONE, Scorers, SweepScores


class Setup(BaseModel, frozen=True):
    """What all rows of a sweep share. Rows of different setups never mix; each row names its own device."""

    model: str
    weights: str
    """Their fingerprint: a folder keeps its name when they change."""
    scheduler: str
    dtype: str
    attention: str
    torch: str
    diffusers: str
    classifier: str | None
    """Fingerprint of the network that reads the pictures; None if there is none."""
    lpips: str | None
    """File name of its network's weights; None if there are none."""
    scheduler_settings: str | None = None
    """Fingerprint of the scheduler's configuration. Folders from before it was noted do not have it."""
    flip: str | None = None
    """The package, and the pixels per degree; None if FLIP is not scored. Noted since then, too."""

    @classmethod
    def of(cls, loaded: LoadedPipeline, scorers: Scorers) -> Setup:
        packages = environment(loaded.device).packages
        return cls(
            model=loaded.info.source,
            weights=fingerprint(loaded.pipe),
            scheduler=loaded.info.scheduler,
            dtype=loaded.info.dtype,
            attention=loaded.info.attention,
            torch=packages["torch"],
            diffusers=packages["diffusers"],
            classifier=scorers.classifier_id,
            lpips=None if scorers.lpips is None else BACKBONE,
            scheduler_settings=_settings_of(loaded.pipe.scheduler),
            flip=None if scorers.flip is None else f"{PACKAGE}, {PIXELS_PER_DEGREE:.1f} pixels per degree",
        )


class _Machine(BaseModel):
    """What a setup also had before rows named their device."""

    hardware: str | None = None
    threads: int | None = None


class Row(SweepScores):
    """One method of one comparison. Seconds are those of the denoising loop, medians over the repeats."""

    date: datetime
    host: str | None = None
    """The machine's name; None in rows from before they had it."""
    device: str | None = None
    """What did the work: the GPU, or the CPU with the number of threads. Times of two devices never mix."""
    weights: str | None = None
    """Fingerprint of the model's, as in the setup."""
    prompt: str
    negative_prompt: str
    seed: int
    width: int
    height: int
    steps: int
    """Of the request, and of its baseline."""
    guidance_scale: float
    factor: int | tuple[int, ...]
    until: float = 1.0
    repeats: int
    method: str
    method_steps: int
    """Fewer than `steps` for a method that saves steps."""
    seconds: float | None
    """None if the device did other work beside it: such times say nothing."""
    speedup: float | None
    """Baseline's seconds in the same comparison over these; None without them."""
    flop_speedup: float | None
    ceiling: float | None
    identical: bool
    psnr: float | None
    """In dB against the comparison's own baseline; None if the pictures are identical."""
    ssim: float
    high_frequency: float | None
    peak_memory: int | None

    @property
    def key(self) -> Hashable:
        return (self.method, *(getattr(self, name) for name in _OF_REQUEST))


_OF_REQUEST = (
    "prompt", "negative_prompt", "seed", "width", "height", "steps", "guidance_scale", "factor", "until",
    "repeats",
)  # fmt: skip


def keys_of(request: Request) -> Iterator[Hashable]:
    """The keys of the rows that a request will give: Baseline, which the others are measured by, has none."""
    asked = tuple(getattr(request, name) for name in _OF_REQUEST)
    return ((method.id, *asked) for method in request.chosen if method is not BASELINE)


def rows_of(comparison: Comparison, scorers: Scorers, weights: str, timed: bool) -> list[Row]:
    """One row for each method but Baseline, which has to be among them.

    Args:
        weights: their fingerprint.
        timed: whether the comparison had its device for itself.
    """
    baseline, machine = comparison.baseline, comparison.environment
    return [
        Row(
            date=comparison.date,
            host=platform.node(),
            device=_device(machine.hardware, machine.threads, on_cpu=machine.accelerator is None),
            weights=weights,
            **{name: getattr(comparison.request, name) for name in _OF_REQUEST},
            method=result.method,
            method_steps=result.steps,
            seconds=result.times.seconds if timed else None,
            speedup=result.speedup if timed else None,
            flop_speedup=result.plan.flop_speedup,
            ceiling=result.plan.ceiling,
            **result.scores.model_dump(),
            **scorers.score(comparison.request.prompt, result.image, baseline.image).model_dump(),
            peak_memory=result.peak_memory,
        )
        for result in comparison.results
        if result is not baseline
    ]


def read_sweep(folder: Path) -> tuple[Setup, list[Row]]:
    """The setup and the rows of a sweep's folder, also of one from before rows named their device.

    Raises:
        InvalidRequest: it is no such folder.
    """
    setup, rows = read_setup(folder, Setup), read_rows(folder, Row)
    if others := {row.weights for row in rows} - {None, setup.weights}:
        raise InvalidRequest(
            f"{folder} has rows of the weights {', '.join(sorted(others))}, and its setup.json says "
            f"{setup.weights}: take them apart."
        )
    machine = read_setup(folder, _Machine)
    if machine.hardware is None:
        return setup, rows
    return setup, [
        row.model_copy(
            update={
                "device": _device(machine.hardware, machine.threads, on_cpu=row.peak_memory is None),
                "weights": setup.weights,
            }
        )
        for row in rows
    ]


def check_same_weights(rows: Iterable[Row]) -> None:
    """Raises `InvalidRequest` if scores of these rows must not be put into one number."""
    if len(weights := {row.weights for row in rows}) > 1:
        raise InvalidRequest(f"These rows are of different weights: {', '.join(sorted(map(str, weights)))}.")


def check_one_device(rows: Iterable[Row]) -> None:
    """Raises `InvalidRequest` if times of these rows must not be put into one number."""
    if len(devices := {row.device for row in rows if row.seconds is not None}) > 1:
        raise InvalidRequest(f"These times are of several devices: {', '.join(sorted(map(str, devices)))}.")


def sweep_folder(folder: Path, setup: Setup) -> RowFolder[Row]:
    """Where rows of this setup are added.

    Raises:
        InvalidRequest: it is of another kind; the rest on entering.
    """
    if (folder / "setup.json").exists() and read_setup(folder, _Machine).hardware is not None:
        raise InvalidRequest(
            f"{folder} is from before rows named their device. Bring its rows into a new folder, and go on "
            f"there: python -m compare merge NEW {folder}"
        )
    return RowFolder(folder, setup, Row)


def _settings_of(scheduler: SchedulerMixin) -> str:
    """16 hexadecimal digits that change with any setting of the scheduler."""
    settings = {name: value for name, value in scheduler.config.items() if not name.startswith("_")}
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _device(hardware: str, threads: int, on_cpu: bool) -> str:
    return f"{hardware}, {threads} thread{'s' if threads > 1 else ''}" if on_cpu else hardware
