"""What holds for the project as a whole: its README, its pins, its files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    return re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", README, re.M | re.S).group(1)


def commands(heading: str) -> list[str]:
    """The lines of the bash blocks below a heading."""
    return [
        line
        for block in re.findall(r"```bash\n(.*?)```", section(heading), re.S)
        for line in block.splitlines()
    ]


@pytest.mark.parametrize("heading", ["Run it", "Test it"])
def test_one_command_line_does_it_all(heading: str) -> None:
    (command,) = commands(heading)
    assert command.startswith("python3 -m venv .venv && .venv/bin/pip install -q -r requirements")


def test_every_requirement_is_pinned() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        for line in (PROJECT / name).read_text().splitlines():
            if line and not line.startswith(("#", "-r ")):
                assert re.match(r"[\w.-]+(\[\w+\])?==[\d.]+(;|\s|$)", line), line


def test_every_file_that_the_readme_shows_is_there() -> None:
    shown = re.findall(r"\]\((?!https?://)([^)#]+)\)", README) + re.findall(
        r"`((?:assets|docs)/[\w./-]+)`", README
    )
    assert shown
    assert [name for name in shown if not (PROJECT / name).exists()] == []
