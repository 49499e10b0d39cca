"""The check before pushing to a Space: it finds what it is for, and this project passes it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.space import FILE_LIMIT, PROJECT, problems

README = """---
title: A page
emoji: ⚡
colorFrom: green
colorTo: indigo
sdk: gradio
sdk_version: 6.31.0
python_version: "3.11"
app_file: app.py
license: mit
---

# A page
"""


def commit(folder: Path) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    for arguments in (("init", "-q"), ("add", "-Af"), ("commit", "-q", "--allow-empty", "-m", "state")):
        subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def found_after(change: Callable[[Path], object], folder: Path) -> str:
    """What the check says of a sound little project in a commit, and what is changed in another."""
    (folder / "README.md").write_text(README, encoding="utf-8")
    (folder / "requirements.txt").write_text("gradio[mcp]==6.31.0\nPillow==12.3.0\n")
    (folder / "app.py").write_text("import sys\n\nimport gradio\nfrom PIL import Image\n")
    commit(folder)
    change(folder)
    commit(folder)
    return "\n".join(problems(folder))


def replaced(name: str, old: str, new: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text(encoding="utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new), encoding="utf-8")

    return change


def test_this_project_is_fit_for_a_space() -> None:
    if not (PROJECT / ".git").exists():
        pytest.skip("this copy of the project is not a git repository")
    assert problems(PROJECT) == []


def test_a_sound_project_is_fit(tmp_path) -> None:
    assert found_after(lambda folder: None, tmp_path) == ""


def large(folder: Path) -> None:
    (folder / "weights.bin").write_bytes(bytes(FILE_LIMIT))


def linked(folder: Path) -> None:
    (folder / "link").symlink_to("app.py")


def ignored(folder: Path) -> None:
    (folder / ".gitignore").write_text("result/\n")
    (folder / "result").mkdir()
    (folder / "result" / "needed.json").write_text("{}")


def once_large(folder: Path) -> None:
    large(folder)
    commit(folder)
    (folder / "weights.bin").unlink()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (large, "weights.bin has 10.0 MB; files must be smaller than 10 MB."),
        (once_large, "weights.bin had 10.0 MB in an earlier commit; all are pushed."),
        (linked, "link is a symbolic link."),
        (ignored, "result/needed.json is tracked and ignored at once: an upload leaves it out."),
        (replaced("README.md", "---\ntitle", "title"), "does not begin with front matter"),
        (replaced("README.md", "title: A page", "title: [A page"), "README.md is no YAML"),
        (replaced("README.md", "title: A page\n", ""), "The front matter lacks title."),
        (replaced("README.md", "colorTo: indigo", "colorTo: teal"), "colorTo is teal; the Hub knows red"),
        (replaced("README.md", "sdk: gradio", "sdk: docker"), "sdk is docker, and must be gradio."),
        (replaced("README.md", "6.31.0", "6.30.0"), "is 6.30.0, and requirements.txt has gradio 6.31.0."),
        (replaced("README.md", '"3.11"', "3.10"), "python_version is 3.1; it must be one of"),
        (replaced("README.md", "app_file: app.py", "app_file: main.py"), "and there is no such file."),
        (replaced("README.md", "license: mit", "license: mit\nshort_description: " + 61 * "x"), "than 60"),
        (replaced("requirements.txt", "Pillow==12.3.0", "Pillow>=12"), "does not pin this: Pillow>=12"),
        (replaced("app.py", "import sys", "import numpy"), "app.py imports numpy, which requirements"),
        (lambda folder: (folder / "requirements.txt").unlink(), "There is no requirements.txt."),
    ],
)  # fmt: skip
def test_what_the_hub_would_refuse_is_found(tmp_path, change, says) -> None:
    assert says in found_after(change, tmp_path)
