"""docs/two-changes.md against the rows of its sweep."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from compare.models.load import load_pipeline
from compare.study import curve, two_by_two
from compare.study.row_folder import read_rows
from compare.study.rows import Row, keys_of
from compare.study.sweep import Sweep

DOCS = Path(__file__).resolve().parents[1] / "docs"
RESULTS = DOCS / "results" / "two-changes"
PAPER = (DOCS / "two-changes.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.skipif(not RESULTS.exists(), reason="not measured yet")


def test_its_table_of_two_by_two_is_what_its_command_prints(monkeypatch, capsys) -> None:
    text = PAPER.replace("\\\n", " ")
    (words,) = re.findall(r"^python -m compare\.study\.two_by_two (.*)$", text, re.M)
    monkeypatch.chdir(DOCS.parent)
    monkeypatch.setattr(sys, "argv", ["two_by_two", *shlex.split(words)])
    two_by_two.main()
    assert capsys.readouterr().out in PAPER


def test_the_table_of_the_sweep_follows_from_its_rows() -> None:
    table = (RESULTS / "table.md").read_text(encoding="utf-8")
    assert curve.markdown(curve.points(read_rows(RESULTS, Row))) == table


def test_the_plan_was_carried_out_to_its_end() -> None:
    requests = Sweep.load(DOCS / "two-changes.toml").requests(load_pipeline(device="cpu"))
    assert {row.key for row in read_rows(RESULTS, Row)} == {key for r in requests for key in keys_of(r)}
