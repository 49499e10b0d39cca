"""What holds for the project as a whole: its README, its pins, its files."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
SPACES_LIMIT = 9_000_000  # bytes; Spaces refuse plain git files of 10 MB


def section(heading: str) -> str:
    return re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", README, re.M | re.S).group(1)


def commands(heading: str) -> list[str]:
    """The lines of the bash blocks below a heading."""
    return [
        line
        for block in re.findall(r"```bash\n(.*?)```", section(heading), re.S)
        for line in block.splitlines()
    ]


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("this copy of the project is not a git repository")
    return [PROJECT / name for name in listed.stdout.split("\0") if name]


def test_a_space_gets_the_gradio_that_is_pinned() -> None:
    front_matter = yaml.safe_load(README.split("---\n")[1])
    pin = re.search(r"^gradio\[mcp\]==(\S+)$", (PROJECT / "requirements.txt").read_text(), re.M).group(1)
    assert front_matter["sdk"] == "gradio"
    assert front_matter["sdk_version"] == pin
    assert (PROJECT / front_matter["app_file"]).is_file()
    assert len(front_matter["short_description"]) <= 60  # the Hub refuses more


@pytest.mark.parametrize("heading", ["Run it", "Test it"])
def test_one_command_line_does_it_all(heading: str) -> None:
    (command,) = commands(heading)
    assert command.startswith("python3 -m venv .venv && .venv/bin/pip install -q -r requirements")


def test_every_requirement_is_pinned() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        for line in (PROJECT / name).read_text().splitlines():
            if line and not line.startswith(("#", "-r ")):
                assert re.match(r"[\w.-]+(\[\w+\])?==[\d.]+(;|\s|$)", line), line


def test_every_file_is_small_enough_for_a_space() -> None:
    too_large = [str(file) for file in tracked_files() if file.stat().st_size > SPACES_LIMIT]
    assert too_large == []


def test_every_file_that_the_readme_shows_is_there() -> None:
    shown = re.findall(r"\]\((?!https?://)([^)#]+)\)", README) + re.findall(
        r"`((?:assets|docs)/[\w./-]+)`", README
    )
    assert shown
    assert [name for name in shown if not (PROJECT / name).exists()] == []
