"""Write what works with what into docs/compatibility.md, from the tests that prove it:

    python -m tests.compatibility

A test of the library says what it proves with a mark: `@pytest.mark.compatibility("LoRA")`, or
`@pytest.mark.compatibility("fused projections", result="refused: why", methods=[ToDo()])`. Without `methods`,
it is the test's parameter `method`. A feature that is marked twice for one method must have one result.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.documents import write, written_by
from todo_patch import Forecast, ToDo, ToMe

PROJECT = Path(__file__).resolve().parents[1]
COMMAND, DOCUMENT = "python -m tests.compatibility", "compatibility.md"

# With `until` a method is none of these, and its tests fill no column.
COLUMNS: dict[str, Callable[[Any], bool]] = {
    "ToDo": lambda method: _is_todo(method, "nearest", "fixed"),
    "ToDo, rotating": lambda method: _is_todo(method, "nearest", "rotating"),
    "ToDo, average": lambda method: _is_todo(method, "average", "fixed"),
    "ToDo, all tokens": lambda method: isinstance(method, ToDo) and method.merge == "all",
    "ToMe": lambda method: isinstance(method, ToMe) and method.merge == "all",
    "ToMe, keys and values": lambda method: isinstance(method, ToMe) and method.merge == "keys-values",
    "Forecast": lambda method: isinstance(method, Forecast),
}


class Proofs:
    """A plugin of pytest: what the marked tests of a session prove, if they pass."""

    def __init__(self) -> None:
        self.of_tests: dict[str, list[tuple[str, str, str]]] = {}  # feature, column, result
        self.not_passed: list[str] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        self.of_tests = {item.nodeid: list(_proofs(item)) for item in items}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.passed:
            self.not_passed.append(report.nodeid)

    def table(self) -> str:
        """As Markdown.

        Raises:
            ValueError: two tests disagree.
        """
        cells = defaultdict(dict)
        for feature, column, result in (proof for proofs in self.of_tests.values() for proof in proofs):
            if cells[feature].setdefault(column, result) != result:
                raise ValueError(f"{feature}, {column}: {cells[feature][column]!r} and {result!r}.")
        lines = ["| | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
        for feature in sorted(cells, key=lambda name: name.strip("`").lower()):
            lines += [f"| {feature} | " + " | ".join(cells[feature].get(c, "") for c in COLUMNS) + " |"]
        return "\n".join(lines) + "\n"


def main() -> int:
    """Run the marked tests and write the table, or compare it with the page. Returns the exit code."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Write what works with what.")
    parser.add_argument(
        "--check", action="store_true", help="run no test; say whether the page has these marks"
    )
    check = parser.parse_args().check
    proofs = Proofs()
    arguments = ["-q", "-m", "compatibility", str(PROJECT / "tests" / "todo_patch")]
    code = pytest.main([*arguments, "--collect-only"] if check else arguments, plugins=[proofs])
    if code != 0 or proofs.not_passed:
        print("docs/compatibility.md is as it was: not every test passed.")
        return 1
    if not check:
        write(COMMAND, DOCUMENT, proofs.table())
    elif written_by(COMMAND, DOCUMENT) != proofs.table():
        print(f"docs/compatibility.md is not what the tests are marked with: run {COMMAND}.")
        return 1
    return 0


def _proofs(item: pytest.Item) -> Iterator[tuple[str, str, str]]:
    for mark in item.iter_markers("compatibility"):
        (feature,) = mark.args
        methods = mark.kwargs.get("methods") or [item.callspec.params["method"]]
        for column, is_it in COLUMNS.items():
            if any(is_it(method) for method in methods if getattr(method, "until", 1) == 1):
                yield feature, column, mark.kwargs.get("result", "works")


def _is_todo(method: Any, pooling: str, grid: str) -> bool:
    settings = (pooling, grid, "keys-values")
    return isinstance(method, ToDo) and (method.pooling, method.grid, method.merge) == settings


if __name__ == "__main__":
    sys.exit(main())
