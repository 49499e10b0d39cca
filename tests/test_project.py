"""What holds for the project as a whole: its README, its pins, its files."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import todo_patch

PROJECT = Path(__file__).resolve().parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")


def commands(heading: str) -> list[str]:
    """The lines of the bash blocks below a heading."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", README, re.M | re.S).group(1)
    return "".join(re.findall(r"```bash\n(.*?)```", section, re.S)).splitlines()


@pytest.mark.parametrize("heading", ["Run it", "Test it"])
def test_one_command_line_does_it_all(heading: str) -> None:
    (command,) = commands(heading)
    assert command.startswith("python3 -m venv .venv && .venv/bin/pip install -q -r requirements")


def test_every_requirement_is_pinned() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        for line in (PROJECT / name).read_text().splitlines():
            if line and not line.startswith(("#", "-r ")):
                assert re.match(r"[\w.-]+(\[\w+\])?==[\d.]+(;|\s|$)", line), line


def test_the_three_commands_that_deploy_begin_with_the_check() -> None:
    check, create, push = commands("Put it online")
    assert check == ".venv/bin/python -m tests.space"
    assert create.startswith(".venv/bin/hf repos create OWNER/NAME --type space")
    assert push.startswith("git push")


def test_every_file_that_the_readme_shows_is_there() -> None:
    shown = re.findall(r"\]\((?!https?://)([^)#]+)\)", README)
    shown += re.findall(r"`((?:assets|docs)/[\w./-]+)`", README)
    assert shown
    assert [name for name in shown if not (PROJECT / name).exists()] == []


def test_what_the_documents_import_is_there() -> None:
    documents = [README, *(file.read_text(encoding="utf-8") for file in (PROJECT / "docs").glob("*.md"))]
    ours = re.findall(r"^\s*from ((?:compare|todo_patch)[\w.]*) import ([\w, ]+)", "\n".join(documents), re.M)
    assert ours
    for module, names in ours:
        assert all(hasattr(importlib.import_module(module), name.strip()) for name in names.split(","))


def test_settings_in_the_page_for_migrants_are_settings() -> None:
    """A letter stands for a number."""
    page = (PROJECT / "docs" / "migrating.md").read_text(encoding="utf-8")
    known = vars(todo_patch) | {"a": 4, "b": 2, "f": 2, "height": 1024, "width": 1024}
    calls = re.findall(r"`((?:ToDo|ToMe)[.(][^`…]*\))`", page)
    assert len(calls) > 10
    for call in calls:
        assert isinstance(eval(call, dict(known)), todo_patch.ToDo | todo_patch.ToMe)


def test_the_container_has_all_that_the_page_needs(tmp_path: Path) -> None:
    """As far as this goes without building it: a folder with only what it copies, the rest is not there."""
    copies = re.findall(r"^COPY (.*) (\S+)$", (PROJECT / "Dockerfile").read_text(encoding="utf-8"), re.M)
    ignored = (PROJECT / ".dockerignore").read_text().splitlines()
    for sources, target in copies:
        for source in sources.split():
            copy = shutil.copytree if (PROJECT / source).is_dir() else shutil.copy
            copy(PROJECT / source, tmp_path / target)
            assert f"!{source}" in ignored
    loads = "import app, compare; app.Page(compare.load_pipeline(device='cpu'), app.example_comparison())"
    subprocess.run([sys.executable, "-B", "-c", loads], cwd=tmp_path, check=True)
