"""A benchmark as a Markdown table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from compare.bench.report import BenchReport, BenchRow, Ratio, Timing
from compare.bench.variants import TODO_PROCESSOR, Variant
from compare.methods import BASELINE, TODO


def markdown(report: BenchReport) -> str:
    """The command, where it ran, and the rows."""
    return "\n".join(_lines(report)) + "\n"


def hooks_over_processor(report: BenchReport) -> Iterator[tuple[BenchRow, Ratio]]:
    """Speed-up of a step of ToDo with the hooks of `todo_patch` over ToDo as an attention processor: the row
    of the former and the ratio, for each size and factor at which both were timed."""
    steps = {(row.size, row.variant): row.step for row in report.rows}
    for row in report.rows:
        processor = steps.get((row.size, Variant(TODO_PROCESSOR, row.factor)))
        if row.variant.method == TODO and row.step and processor:
            yield row, Ratio.of(processor.seconds, row.step.seconds)


def _lines(report: BenchReport) -> Iterator[str]:
    model, machine, request = report.model, report.environment, report.request
    yield from ("```bash", report.command, "```", "")
    yield (
        f"{model.name} ({model.unet_parameters / 1e6:,.0f} M parameters), {model.dtype}, attention by "
        f"{model.attention}, {'compiled blocks' if request.compiled else 'eager'}, batch {request.batch}; "
        f"{machine.hardware}, {machine.threads} threads, "
        f"torch {machine.packages['torch']}, diffusers {machine.packages['diffusers']}; "
        f"{report.date:%Y-%m-%d %H:%M} UTC. {request.rounds} "
        f"round{'s' if request.rounds > 1 else ''}; medians (fastest to slowest), speed-ups over Baseline "
        "within a round [95 % confidence interval]."
    )
    for note in report.notes:
        yield from ("", note)
    yield ""
    run = [f"run of {request.steps} steps, s", "speed-up"] if request.steps else []
    head = ["size", "method", "step, ms", "speed-up", *run]
    head += ["of the upper bound", "of its saving", "FLOPs", "ceiling", "peak memory"]
    yield from _table(head, (_cells(row, len(head)) for row in report.rows))
    pairs = [[row.size, str(row.variant), _ratio(ratio)] for row, ratio in hooks_over_processor(report)]
    if pairs:
        yield from ("", "ToDo by hooks, speed-up of a step over ToDo as an attention processor:", "")
        yield from _table(["size", "method", "speed-up"], pairs)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _cells(row: BenchRow, columns: int) -> list[str]:
    cells = [row.size, str(row.variant)]
    if row.failure:
        return [*cells, row.failure, *[""] * (columns - 3)]
    cells += _times(row, row.step, lambda seconds: f"{1000 * seconds:,.{1 if seconds < 0.1 else 0}f}")
    if row.run:
        cells += _times(row, row.run, lambda seconds: f"{seconds:.2f}")
    return [
        *cells,
        "" if row.step.of_limit is None else f"{row.step.of_limit:.0%}",
        "" if row.step.saved_of_limit is None else f"{row.step.saved_of_limit:.0%}",
        "not counted" if row.flop_speedup is None else f"{row.flop_speedup:.2f}×",
        "" if row.ceiling is None else f"{row.ceiling:.2f}×",
        "" if row.peak_memory is None else f"{row.peak_memory / 2**30:.2f} GiB",
    ]


def _times(row: BenchRow, timing: Timing, shown: Callable[[float], str]) -> list[str]:
    has_speedup = timing.paired is not None and row.variant.method is not BASELINE
    return [
        f"{shown(timing.median)} ({shown(timing.fastest)} to {shown(timing.slowest)})",
        _ratio(timing.paired) if has_speedup else "",
    ]


def _ratio(ratio: Ratio) -> str:
    text = f"{ratio.median:.2f}×"
    return text if ratio.interval is None else f"{text} [{ratio.interval[0]:.2f}, {ratio.interval[1]:.2f}]"
