"""docs/forecast.md against the rows of its sweeps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from compare.models.load import load_pipeline, with_scheduler
from compare.study.curve import markdown, points
from compare.study.row_folder import read_rows
from compare.study.rows import Row, keys_of, read_sweep
from compare.study.sweep import Sweep

PROJECT = Path(__file__).resolve().parents[1]
PAPER = (PROJECT / "docs" / "forecast.md").read_text(encoding="utf-8")
RESULTS = PROJECT / "docs" / "results" / "forecast"
SAMPLERS = dict(re.findall(r"^\| `(\w+Scheduler)` \| (.*) \|$", PAPER, re.M))
"""The row of each in the table."""
METHODS = ("forecast", "todo-rotating", "todo-rotating+forecast")


def test_every_sampler_that_was_measured_has_a_row() -> None:
    assert set(SAMPLERS) == {folder.name for folder in RESULTS.iterdir()}
    assert len(SAMPLERS) == 5


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_its_row_says_what_its_rows_say(sampler: str) -> None:
    setup, rows = read_sweep(RESULTS / sampler)
    assert setup.scheduler == sampler
    found = points(rows)
    assert markdown(found) == (RESULTS / sampler / "table.md").read_text(encoding="utf-8")
    psnr = {point.method: point.psnr for point in found}
    cells = [f"{psnr[id].middle:.1f} ({psnr[id].low:.1f} to {psnr[id].high:.1f})" for id in METHODS]
    assert SAMPLERS[sampler] == " | ".join(cells)


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_its_plan_was_carried_out_to_its_end(sampler: str) -> None:
    loaded = with_scheduler(load_pipeline(device="cpu"), sampler)
    requests = Sweep.load(PROJECT / "docs" / "forecast" / "samplers.toml").requests(loaded)
    done = {row.key for row in read_rows(RESULTS / sampler, Row)}
    assert done == {key for request in requests for key in keys_of(request)}
