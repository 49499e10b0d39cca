"""The numbers that the page draws, in one small file: it need not read every result when it starts.

``python -m compare.figures`` makes the file, `assets/figures.json`, anew: from the rows and the benchmarks in
docs/results, and from the published configurations of the models.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

PROJECT = Path(__file__).resolve().parents[1]
FILE = PROJECT / "assets" / "figures.json"
RESULTS = PROJECT / "docs" / "results"
SWEEPS = (("large",), ("centre", "time"), ("between",), ("larger",))
"""Of the study of the rotating grid: for each chart the sweeps that it shows. A later one adds only methods
that those before it have not."""
BENCHES = "h200"
"""A folder of benchmarks: one folder for each, with its `bench.json`."""
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


class Curves(_Record):
    """All that was measured at one size."""

    width: int
    height: int
    setting: str
    device: str
    model: str
    weights: str
    """Their fingerprint."""
    points: tuple[MethodPoint, ...]


class MethodSpeed(_Record):
    """The speed-up of a method at a size, over Baseline in the same rounds."""

    width: int
    height: int
    method: str
    factor: int
    speedup: float
    interval: tuple[float, float] | None
    """95 % confidence interval; None below six rounds."""
    bound: float | None
    """The speed-up if all that the method works on cost no time."""
    seconds: float
    baseline_seconds: float


class Speeds(_Record):
    """A benchmark."""

    folder: str
    """In docs/results."""
    command: str
    model: str
    device: str
    dtype: str
    attention: str
    compiled: bool
    steps: int
    """Of a run that was timed; 0 for single steps."""
    rounds: int
    speeds: tuple[MethodSpeed, ...]


class Work(_Record):
    """What one step of a model consists of, by FLOPs: parts of 1."""

    architecture: str
    model: str
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
    from todo_patch import Forecast
    from todo_patch.grid import offset_order

    return Figures(
        curves=tuple(map(_curves, SWEEPS)),
        benches=tuple(_benches()),
        work=tuple(_work(architecture, size) for architecture, size in COUNTED),
        rotation=offset_order(FACTOR),
        forecast=Forecast().steps(STEPS),
    )


def _curves(sweeps: Sequence[str]) -> Curves:
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


def _quartiles(spread: object) -> Quartiles:
    return Quartiles(**{name: round(getattr(spread, name), DIGITS) for name in Quartiles.model_fields})


def _benches() -> Iterator[Speeds]:
    from compare.bench.files import load_bench

    for file in sorted((RESULTS / BENCHES).glob("*/bench.json")):
        report = load_bench(file.parent)
        timings = [(row, row.run or row.step) for row in report.rows]
        baselines = {(row.width, row.height): t for row, t in timings if row.method == "baseline" and t}
        yield Speeds(
            folder=file.parent.relative_to(RESULTS).as_posix(),
            command=report.command,
            model=report.model.name.removesuffix(", random weights"),
            device=report.environment.accelerator or report.environment.cpu,
            dtype=report.model.dtype,
            attention=report.model.attention,
            compiled=report.request.compiled,
            steps=report.request.steps,
            rounds=report.request.rounds,
            speeds=tuple(
                MethodSpeed(
                    width=row.width,
                    height=row.height,
                    method=row.method,
                    factor=row.factor,
                    speedup=round(timing.paired.median, DIGITS),
                    interval=timing.paired.interval and tuple(round(x, DIGITS) for x in timing.paired.interval),
                    bound=timing.limit and round(timing.limit, DIGITS),
                    seconds=round(timing.median, DIGITS + 2),
                    baseline_seconds=round(baselines[row.width, row.height].median, DIGITS + 2),
                )
                for row, timing in timings
                if row.factor is not None and timing and timing.paired
            ),
        )


def _work(id: str, size: int) -> Work:
    from compare.models.random_weights import architecture, empty_unet
    from todo_patch import ToDo, plan

    shape = architecture(id)
    counted = plan(empty_unet(shape), ToDo(factor=FACTOR), size, size, shape.vae_scale_factor)

    def part(blocks: Sequence[object]) -> float:
        return round(sum(block.flops_before for block in blocks) / counted.total_before, DIGITS)

    finest = [block for block in counted.blocks if block.level == 0]
    return Work(
        architecture=id,
        model=shape.name,
        size=size,
        grid=finest[0].grid,
        finest=part(finest),
        coarser=part([block for block in counted.blocks if block.level > 0]),
        saved=round(1 - counted.total_after / counted.total_before, DIGITS),
        speedup=round(counted.speedup, DIGITS),
        ceiling=round(counted.ceiling, DIGITS),
    )


def main() -> None:
    FILE.write_text(figures().model_dump_json(indent=1) + "\n", encoding="utf-8")
    print(FILE)


if __name__ == "__main__":
    main()
