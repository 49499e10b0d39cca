"""Small sweeps."""

from __future__ import annotations

from pathlib import Path

from compare.models.load import LoadedPipeline
from compare.study.row_folder import RowFolder
from compare.study.rows import Row, Setup
from compare.study.scorers import Scorers
from compare.study.sweep import Sweep, sweep

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


def swept(loaded: LoadedPipeline, folder: Path, text: str = SETTINGS) -> list[Row]:
    """The rows in `out` in the folder, after a sweep into it."""
    requests = Sweep.load(written(folder, text)).requests(loaded)
    scorers = Scorers.of(loaded)
    with RowFolder(folder / "out", Setup.of(loaded, scorers), Row) as out:
        for _ in sweep(loaded, requests, out, scorers):
            pass
        return out.rows
