"""Small sweeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event

from compare.models.load import LoadedPipeline
from compare.study.row_folder import RowFolder, read_rows
from compare.study.rows import Row
from compare.study.sweep import Sweep, Worker

SETTINGS = """
prompts = ["a fox", "a cat"]
methods = ["tome", "todo"]
seeds = [1, 2]
factors = [2, 3]
sizes = [64]
steps = [2]
"""


def written(folder: Path, text: str = SETTINGS) -> Path:
    """`sweep.toml` in the folder."""
    file = folder / "sweep.toml"
    file.write_text(text)
    return file


def sweeping(
    loaded: LoadedPipeline, folder: Path, text: str = SETTINGS, stop: Event | None = None
) -> Iterator[object]:
    """What a sweep into `out` in the folder yields."""
    requests, worker = Sweep.load(written(folder, text)).requests(loaded), Worker.of(loaded)
    with RowFolder(folder / "out", worker.setup, Row) as out:
        yield from worker.sweep(requests, out, stop)


def swept(loaded: LoadedPipeline, folder: Path, text: str = SETTINGS) -> list[Row]:
    """The rows in `out` in the folder, after a sweep into it."""
    list(sweeping(loaded, folder, text))
    return read_rows(folder / "out", Row)


def of_any_machine(row: Row) -> str:
    """The row as it is written, without what differs from run to run and from machine to machine."""
    return row.model_dump_json(exclude={"date", "host", "device", "seconds", "speedup"})
