"""Run the library's tests on other versions of diffusers, and write what came out into docs/compatibility.md:

    python -m tests.diffusers_versions 0.36.0 0.37.1

Each version is installed into a temporary folder, with the newest transformers that pip finds for it. That
folder comes before the packages of this environment, which has the rest (torch, pytest).
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from importlib import metadata
from importlib.metadata import distributions
from pathlib import Path

from packaging.version import Version

from tests.helpers.documents import write, written_by

PROJECT = Path(__file__).resolve().parents[1]
COMMAND, DOCUMENT = "python -m tests.diffusers_versions", "compatibility.md"
HEAD = "| diffusers | transformers | torch | `pytest tests/todo_patch` |\n|---|---|---|---|\n"


def main() -> int:
    """Returns 1 if a test failed."""
    parser = argparse.ArgumentParser(
        prog=COMMAND, description="Run the library's tests on versions of diffusers."
    )
    parser.add_argument("versions", nargs="+", type=Version, help="such as 0.36.0")
    rows = [run(version) for version in parser.parse_args().versions]
    print(HEAD + "".join(rows), end="")
    return int(any("failed" in row or "error" in row for row in rows))


def run(version: Version) -> str:
    """Install a version, run the tests, and write its row into the document."""
    with tempfile.TemporaryDirectory() as folder:
        pip = (sys.executable, "-m", "pip", "-q", "install", "--no-warn-conflicts", "--target", folder)
        subprocess.run([*pip, f"diffusers=={version}", "transformers"], check=True)
        (transformers,) = [found.version for found in distributions(name="transformers", path=[folder])]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "tests/todo_patch"],
            cwd=PROJECT,
            env=os.environ | {"PYTHONPATH": folder},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    counts = re.findall(r"\d+ (?:passed|failed|skipped|error)", done.stdout.splitlines()[-1])
    failed = re.findall(r"^(?:FAILED|ERROR) tests/todo_patch/(\S+)", done.stdout, re.M)
    words = ", ".join([*counts, *sorted({f"`{name}`" for name in failed})]) or "no test ran"
    row = f"| {version} | {transformers} | {metadata.version('torch')} | {words} |\n"
    write_row(version, row)
    return row


def write_row(version: Version, row: str) -> None:
    """Into the table, in the order of the versions, in the place of an earlier row of that version."""
    others = written_by(COMMAND, DOCUMENT).removeprefix(HEAD).splitlines(keepends=True)
    rows = {Version(other.split("|")[1]): other for other in others} | {version: row}
    write(COMMAND, DOCUMENT, HEAD + "".join(rows[key] for key in sorted(rows)))


if __name__ == "__main__":
    sys.exit(main())
