"""docs/compatibility.md is what the tests are marked with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.compatibility import Proofs
from todo_patch import ToDo, ToMe

PROJECT = Path(__file__).resolve().parents[1]


def test_the_page_is_what_the_tests_are_marked_with() -> None:
    check = [sys.executable, "-m", "tests.compatibility", "--check"]
    done = subprocess.run(check, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def proofs(request: pytest.FixtureRequest) -> Proofs:
    """Of the test that asks for it."""
    proofs = Proofs()
    proofs.pytest_collection_modifyitems([request.node])
    return proofs


@pytest.mark.compatibility("paper", methods=[ToDo(), ToDo(until=0.5), ToMe()])
@pytest.mark.compatibility("stone", result="refused: too heavy", methods=[ToDo(grid="rotating")])
def test_a_mark_is_a_cell_for_each_of_its_methods(proofs) -> None:
    head, _, paper, stone = ([cell.strip() for cell in row.split("|")] for row in proofs.table().splitlines())
    assert {name for name, cell in zip(head, paper, strict=True) if cell == "works"} == {"ToDo", "ToMe"}
    assert stone[head.index("ToDo, rotating")] == "refused: too heavy"


@pytest.mark.parametrize("method", [ToDo(pooling="average")])
@pytest.mark.compatibility("paper")
def test_without_methods_it_is_the_one_that_the_test_is_given(proofs, method) -> None:
    assert proofs.table().splitlines()[-1].split("|")[4].strip() == "works"


@pytest.mark.compatibility("paper", methods=[ToMe()])
@pytest.mark.compatibility("paper", result="refused: too thin", methods=[ToMe()])
def test_two_results_for_one_cell_are_an_error(proofs) -> None:
    with pytest.raises(ValueError, match="paper, ToMe"):
        proofs.table()
