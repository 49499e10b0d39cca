"""The numbers that the page draws, in one small file: it need not read every result when it starts.

``python -m compare.figures`` makes the file, `assets/figures.json`, anew: from the rows and the benchmarks in
docs/results, and from the published configurations of the models.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from compare.methods import BASELINE

if TYPE_CHECKING:
    from compare.bench.report import BenchReport
    from compare.methods import Method
    from compare.study.curve import Spread
    from todo_patch.plan import BlockPlan

PROJECT = Path(__file__).resolve().parents[1]
FILE = PROJECT / "assets" / "figures.json"
RESULTS = PROJECT / "docs" / "results"
SWEEPS = (("large",), ("centre", "time"), ("between",), ("larger",))
"""Of the study of the rotating grid: for each chart the sweeps that it shows. A later one adds only methods
that those before it have not."""
FRONTIER = ("256", "512", "shares", "factors")
"""Of the study of all methods: the sweeps that say how close they stay,"""
FRONTIER_TIMES = tuple(f"times{size}{plan}" for size in ("", "-256") for plan in ("", "-factors", "-shares"))
"""and those that say how long they take."""
BENCHES = (
    ("h200/sdxl-1024", "h200/sdxl-1536", "h200/sdxl-2048"),
    ("h200/sd15", "h200/sd15-2048"),
    ("h200/sdxl-1024-runs",),
)
"""For each chart the folders of its benchmarks."""
COUNTED = (("mini", 512), ("sd15", 1024), ("sdxl", 1024), ("sdxl", 2048))
"""Architectures, and sides in pixels, whose work is counted."""
FACTOR = 2
STEPS = 20
DIGITS = 4


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Quartiles(_Record):
    low: float
    middle: float
    high: float


class MethodPoint(_Record):
    """A method at a factor, over many pictures."""

    method: str
    factor: str
    sweep: str
    """Of which file in docs/rotating-grid it is."""
    pictures: int
    speedup: Quartiles
    psnr: Quartiles


class FrontierPoint(_Record):
    """A method at one of its settings: medians over the pictures that all methods of its size have."""

    method: str
    setting: str
    in_words: str
    """The same, as in "factor 2"."""
    speedup: float
    psnr: float
    flip: float
    pictures: int
    timed: int
    """How many pictures were timed."""
    is_joined: bool
    """Whether its setting is one of a row of numbers."""
    is_best: bool
    """Whether none is faster and closer."""


class Frontier(_Record):
    """Every method at one size."""

    width: int
    height: int
    steps: int
    guidance_scale: float
    model: str
    weights: str
    """Their fingerprint."""
    shipped: bool
    """Whether they are those of the bundled model as it is now."""
    device: str
    """That of the times."""
    command: str
    points: tuple[FrontierPoint, ...]


class Curves(_Record):
    """All that was measured at one size."""

    width: int
    height: int
    setting: str
    device: str
    model: str
    weights: str
    """Their fingerprint."""
    shipped: bool
    """Whether they are those of the bundled model as it is now."""
    points: tuple[MethodPoint, ...]


class MethodSpeed(_Record):
    """The speed-up of a method at a size, over Baseline in the same rounds."""

    width: int
    height: int
    method: str
    factor: int | None
    """None if the method has none."""
    speedup: float
    interval: tuple[float, float] | None
    """95 % confidence interval; None below six rounds."""
    bound: float | None
    """The speed-up if all that the method works on cost no time."""
    seconds: float
    baseline_seconds: float
    rounds: int


class Speeds(_Record):
    """Benchmarks of one model on one machine, of single steps or of whole runs."""

    folders: tuple[str, ...]
    """In docs/results."""
    commands: tuple[str, ...]
    model: str
    device: str
    dtype: str
    attention: str
    steps: int
    """Of a run that was timed; 0: single steps were."""
    speeds: tuple[MethodSpeed, ...]


class Work(_Record):
    """What one step of a model consists of, by FLOPs: parts of 1."""

    architecture: str
    model: str
    parameters: int
    """Of the UNet."""
    size: int
    grid: tuple[int, int]
    """Of tokens, the finest with self-attention."""
    finest: float
    """Self-attention on that grid."""
    coarser: float
    """Self-attention on the others."""
    saved: float
    """Of the step, by ToDo with `FACTOR`: part of `finest`."""
    speedup: float
    ceiling: float

    @property
    def tokens(self) -> int:
        return self.grid[0] * self.grid[1]


class Figures(_Record):
    """`assets/figures.json`."""

    frontiers: tuple[Frontier, ...]
    """From large to small."""
    curves: tuple[Curves, ...]
    benches: tuple[Speeds, ...]
    work: tuple[Work, ...]
    rotation: tuple[tuple[int, int], ...]
    """The rotating grid with `FACTOR`: (row, column) of the token that it keeps, step after step."""
    forecast: tuple[int, ...]
    """Which of `STEPS` steps a `Forecast()` does not compute, from 0."""


def read_figures(file: Path = FILE) -> Figures:
    """What `python -m compare.figures` wrote.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is something else.
    """
    return Figures.model_validate_json(file.read_bytes())


# What follows makes the file. Its imports are in the functions: the page reads the file, and need not wait
# for matplotlib and all that a sweep needs.


def figures() -> Figures:
    """Made anew.

    Raises:
        InvalidRequest, FileNotFoundError: docs/results is not complete.
    """
    from compare.models.load import load_pipeline
    from compare.models.source import BUNDLED
    from compare.models.weights_hash import fingerprint
    from todo_patch import Forecast
    from todo_patch.grid import offset_order

    shipped = fingerprint(load_pipeline(BUNDLED, device="cpu").pipe)
    return Figures(
        frontiers=_frontiers(shipped),
        curves=tuple(_curves(sweeps, shipped) for sweeps in SWEEPS),
        benches=tuple(map(_speeds, BENCHES)),
        work=tuple(_work(architecture, size) for architecture, size in COUNTED),
        rotation=offset_order(FACTOR),
        forecast=Forecast().steps(STEPS),
    )


def _frontiers(shipped: str) -> tuple[Frontier, ...]:
    from compare.study import frontier
    from compare.study.rows import read_sweep

    folder = RESULTS / "what-to-use"
    closeness, times = (
        [read_sweep(folder / sweep) for sweep in sweeps] for sweeps in (FRONTIER, FRONTIER_TIMES)
    )
    timed = [row for _, rows in times for row in rows]
    points = frontier.points([row for _, rows in closeness for row in rows], timed)
    first, *_ = timed
    ((model, weights, device),) = {
        (setup.model, setup.weights, row.device) for setup, rows in times for row in rows
    }
    command = "python -m compare.study.frontier"
    for option, sweeps in (("closeness", FRONTIER), ("times", FRONTIER_TIMES)):
        command += f" --{option} {' '.join(f'docs/results/what-to-use/{sweep}' for sweep in sweeps)}"
    return tuple(
        Frontier(
            width=width,
            height=height,
            steps=first.steps,
            guidance_scale=first.guidance_scale,
            model=model,
            weights=weights,
            shipped=weights == shipped,
            device=device,
            command=f"{command} --out .",
            points=tuple(
                FrontierPoint(
                    method=point.line.id,
                    setting=point.setting,
                    in_words=point.in_words,
                    speedup=_rounded(point.speedup),
                    psnr=_rounded(point.psnr),
                    flip=_rounded(point.flip),
                    pictures=point.pictures,
                    timed=point.timed,
                    is_joined=point.is_joined,
                    is_best=point in frontier.frontier(of_size),
                )
                for point in of_size
            ),
        )
        for (width, height), of_size in sorted(frontier.by_size(points).items(), reverse=True)
    )


def _curves(sweeps: Sequence[str], shipped: str) -> Curves:
    from compare.study.curve import Point, points
    from compare.study.rows import read_sweep

    found: dict[str, list[tuple[str, Point]]] = {}
    of_all = set()
    for sweep in sweeps:
        setup, rows = read_sweep(RESULTS / "rotating-grid" / sweep)
        known = set(found)
        for point in points(rows):
            if point.method not in known:
                found.setdefault(point.method, []).append((sweep, point))
        of_all |= {
            (row.width, row.height, point.setting, point.device, setup.model, setup.weights)
            for row in rows[:1]
            for point in points(rows)
        }
    ((width, height, setting, device, model, weights),) = of_all  # one chart has one setting and one model
    return Curves(
        width=width,
        height=height,
        setting=setting,
        device=device,
        model=model,
        weights=weights,
        shipped=weights == shipped,
        points=tuple(
            MethodPoint(
                method=point.method,
                factor=point.factor,
                sweep=sweep,
                pictures=point.runs,
                speedup=_quartiles(point.speedup),
                psnr=_quartiles(point.psnr),
            )
            for of_method in found.values()
            for sweep, point in of_method
        ),
    )


def _quartiles(spread: Spread) -> Quartiles:
    return Quartiles(low=_rounded(spread.low), middle=_rounded(spread.middle), high=_rounded(spread.high))


def _speeds(folders: Sequence[str]) -> Speeds:
    from compare.bench.files import load_bench

    reports = [load_bench(RESULTS / folder) for folder in folders]
    of_all = {
        (
            report.model.name.removesuffix(", random weights"),
            report.environment.accelerator,
            report.model.dtype,
            report.model.attention,
            report.request.steps,
        )
        for report in reports
    }
    ((model, device, dtype, attention, steps),) = of_all  # one chart has one model on one machine
    return Speeds(
        folders=folders,
        commands=tuple(report.command for report in reports),
        model=model,
        device=device,
        dtype=dtype,
        attention=attention,
        steps=steps,
        speeds=tuple(speed for report in reports for speed in _speeds_of(report)),
    )


def _speeds_of(report: BenchReport) -> Iterator[MethodSpeed]:
    timings = [(row, row.run or row.step) for row in report.rows]
    baselines = {row.size: timing for row, timing in timings if row.method == BASELINE.id}
    for row, timing in timings:
        if row.factor is None or timing is None:  # Baseline, an upper bound, or it did not fit into memory
            continue
        yield MethodSpeed(
            width=row.width,
            height=row.height,
            method=row.method,
            factor=row.factor if _has_factor(row.variant.method) else None,
            speedup=_rounded(timing.paired.median),
            interval=timing.paired.interval and tuple(map(_rounded, timing.paired.interval)),
            bound=timing.limit and _rounded(timing.limit),
            seconds=_rounded(timing.median),
            baseline_seconds=_rounded(baselines[row.size].median),
            rounds=len(timing.seconds),
        )


def _has_factor(method: Method) -> bool:
    from compare.bench.variants import Setting

    two, three = (method.patches(Setting(width=0, height=0, factor=factor)) for factor in (2, 3))
    return two != three


def _rounded(value: float) -> float:
    return round(value, DIGITS)


def _work(id: str, size: int) -> Work:
    from compare.models.random_weights import architecture, empty_unet
    from todo_patch import ToDo, plan

    shape = architecture(id)
    unet = empty_unet(shape)
    counted = plan(unet, ToDo(factor=FACTOR), size, size, shape.vae_scale_factor)

    def part(blocks: Sequence[BlockPlan]) -> float:
        return _rounded(sum(block.flops_before for block in blocks) / counted.total_before)

    finest = [block for block in counted.blocks if block.level == 0]
    return Work(
        architecture=id,
        model=shape.name,
        parameters=unet.num_parameters(),
        size=size,
        grid=finest[0].grid,
        finest=part(finest),
        coarser=part([block for block in counted.blocks if block.level > 0]),
        saved=_rounded(1 - counted.total_after / counted.total_before),
        speedup=_rounded(counted.speedup),
        ceiling=_rounded(counted.ceiling),
    )


def main() -> None:
    FILE.write_text(figures().model_dump_json(indent=1) + "\n", encoding="utf-8")
    print(FILE)


if __name__ == "__main__":
    main()
