"""A benchmark as files: `bench.json`, `bench.csv`, `bench.md` and `bench.png`."""

from __future__ import annotations

import csv
from pathlib import Path

from pydantic import ValidationError

from compare.bench.plot import plot
from compare.bench.report import BenchReport, BenchRow, Timing
from compare.bench.table import markdown


def save_bench(report: BenchReport, folder: str | Path) -> Path:
    """Write the four files, replacing files of those names.

    Returns the folder, which is made if need be.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.json").write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    with (folder / "bench.csv").open("w", newline="", encoding="utf-8") as file:
        records = [_record(row) for row in report.rows]
        writer = csv.DictWriter(file, records[0].keys())
        writer.writeheader()
        writer.writerows(records)
    (folder / "bench.md").write_text(markdown(report), encoding="utf-8")
    plot(report, folder / "bench.png")
    return folder


def load_bench(folder: str | Path) -> BenchReport:
    """Read back what `save_bench` wrote.

    Raises:
        FileNotFoundError: there is no `bench.json`.
        ValueError: it is not such a report.
    """
    file = Path(folder) / "bench.json"
    try:
        return BenchReport.model_validate_json(file.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise ValueError(f"{file} is not a report of a benchmark: {error}") from error


def _record(row: BenchRow) -> dict[str, object]:
    """A line of the CSV."""
    record = row.model_dump(include={"width", "height", "method", "factor", "failure"})
    record |= _columns("step", row.step) | _columns("run", row.run)
    return record | row.model_dump(include={"peak_memory", "flop_speedup", "ceiling"})


def _columns(name: str, timing: Timing | None) -> dict[str, object]:
    paired = timing.paired if timing else None
    low, high = (paired.interval if paired else None) or (None, None)
    values = {part: getattr(timing, part, None) for part in ("median", "fastest", "slowest", "speedup")}
    values |= {"paired": paired and paired.median, "low": low, "high": high}
    values |= {part: getattr(timing, part, None) for part in ("limit", "of_limit", "saved_of_limit")}
    return {f"{name}_{part}": value for part, value in values.items()}
