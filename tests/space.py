"""Whether the Hub would take this project as a Space, and run it: `python -m tests.space`, before pushing."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import yaml
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parents[1]
FILE_LIMIT = 10_000_000  # bytes; larger ones are refused unless they are in LFS
TOTAL_LIMIT = 1_000_000_000  # bytes
RUNS = ("app.py", "page", "server", "compare", "todo_patch")  # what a Space runs
OPTIONAL = {"torchvision", "flip_evaluator", "DeepCache", "ray"}  # what is missing without them is said
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
COLOURS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")
NEEDED = ("title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "app_file", "license")


def problems(project: Path) -> list[str]:
    """What is wrong with the last commit of a git repository, one sentence each."""
    return [
        *_of_files(project),
        *_of_history(project),
        *_of_the_front_matter(project),
        *_of_requirements(project),
        *_of_imports(project),
    ]


def main() -> int:
    """Print what is wrong. Returns the exit code."""
    found = [*problems(PROJECT), *_not_committed(PROJECT), *_start_from_a_copy(PROJECT)]
    for problem in found:
        print(problem)
    if not found:
        sizes = [size for _, size, _ in _tree(PROJECT)]
        print(f"Fit for a Space: {len(sizes)} files, {sum(sizes) / 1e6:.1f} MB.")
    return 1 if found else 0


def _of_files(project: Path) -> Iterator[str]:
    total = 0
    for name, size, mode in _tree(project):
        total += size
        if mode == "120000":
            yield f"{name} is a symbolic link."
        elif mode == "160000":
            yield f"{name} is a submodule, whose files a Space does not get."
        if size >= FILE_LIMIT:
            yield f"{name} has {size / 1e6:.1f} MB; files must be smaller than 10 MB."
    if total >= TOTAL_LIMIT:
        yield f"All files together have {total / 1e9:.1f} GB, which is more than 1 GB."
    for name in _git(project, "ls-files", "-z", "--cached", "--ignored", "--exclude-standard").split("\0"):
        if name:
            yield f"{name} is tracked and ignored at once: an upload leaves it out."


def _of_history(project: Path) -> Iterator[str]:
    objects = _git(project, "rev-list", "--objects", "HEAD")
    sizes = _git(project, "cat-file", "--batch-check=%(objecttype) %(objectsize) %(rest)", given=objects)
    now = {name for name, _, _ in _tree(project)}
    for line in sizes.splitlines():
        kind, size, name = line.split(" ", 2)
        if kind == "blob" and int(size) >= FILE_LIMIT and name not in now:
            yield f"{name} had {int(size) / 1e6:.1f} MB in an earlier commit; all are pushed."


def _of_the_front_matter(project: Path) -> Iterator[str]:
    found = re.match(r"---\n(.*?)\n---\n", _text(project / "README.md"), re.S)
    if not found:
        yield "README.md does not begin with front matter between two lines of three dashes."
        return
    try:
        said = yaml.safe_load(found[1])
    except yaml.YAMLError as error:
        yield f"The front matter of README.md is no YAML: {str(error).splitlines()[0]}."
        return
    yield from (f"The front matter lacks {name}." for name in NEEDED if not said.get(name))
    for name in ("colorFrom", "colorTo"):
        if said.get(name) not in (None, *COLOURS):
            yield f"{name} is {said[name]}; the Hub knows {', '.join(COLOURS)}."
    if said.get("sdk") != "gradio":
        yield f"sdk is {said.get('sdk')}, and must be gradio."
    pin = re.search(r"^gradio(?:\[\w+\])?==([\w.]+)", _text(project / "requirements.txt"), re.M)
    if pin and said.get("sdk_version") != pin[1]:
        yield f"sdk_version is {said.get('sdk_version')}, and requirements.txt has gradio {pin[1]}."
    python = said.get("python_version")
    if not isinstance(python, str) or not python.startswith(PYTHONS):
        yield f"python_version is {python!r}; it must be one of {', '.join(PYTHONS)}, in quotes."
    if not (project / str(said.get("app_file"))).is_file():
        yield f"app_file is {said.get('app_file')}, and there is no such file."
    if len(str(said.get("short_description", ""))) > 60:
        yield "short_description is longer than 60 characters."


def _of_requirements(project: Path) -> Iterator[str]:
    if not (project / "requirements.txt").is_file():
        yield "There is no requirements.txt."
    for line in _text(project / "requirements.txt").splitlines():
        if line and not line.startswith("#") and not re.match(r"[\w.-]+(\[\w+\])?==[\w.]+(;|\s|$)", line):
            yield f"requirements.txt does not pin this: {line}"


def _of_imports(project: Path) -> Iterator[str]:
    """Packages that are imported, and only there because another one asks for them, or a test."""
    pinned = re.findall(r"^([\w.-]+)(?:\[\w+\])?==", _text(project / "requirements.txt"), re.M)
    known = {canonicalize_name(name) for name in pinned}
    own = {Path(name).stem for name in RUNS}
    homes = packages_distributions()
    files = [file for name in RUNS for file in sorted((project / name, *project.glob(f"{name}/**/*.py")))]
    imported = {module: file for file in files if file.is_file() for module in _imports(file)}
    for module, file in sorted(imported.items()):
        if module in own or module in OPTIONAL or module in sys.stdlib_module_names:
            continue
        if not any(canonicalize_name(home) in known for home in homes.get(module, [module])):
            yield f"{file.relative_to(project)} imports {module}, which requirements.txt does not name."


def _not_committed(project: Path) -> Iterator[str]:
    for line in _git(project, "status", "--porcelain").splitlines():
        yield f"{line[3:]} is not committed, and only commits are pushed."


def _start_from_a_copy(project: Path) -> Iterator[str]:
    """Nothing that git does not track may be needed."""
    with tempfile.TemporaryDirectory() as folder:
        _git(project, "clone", "-q", ".", folder)
        loads = "import app; from compare import load_pipeline; load_pipeline('assets/mini-sdxl', 'cpu')"
        done = subprocess.run(
            [sys.executable, "-c", loads], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            yield f"A fresh copy does not start: {done.stderr.strip().splitlines()[-1]}"


def _tree(project: Path) -> list[tuple[str, int, str]]:
    """Name, bytes and git's mode of every file in the last commit."""
    listed = _git(project, "ls-tree", "-r", "-l", "-z", "HEAD")
    files = re.findall(r"(\d+) \w+ \w+ +(\d+|-)\t([^\0]+)", listed)
    return [(name, 0 if size == "-" else int(size), mode) for mode, size, name in files]


def _imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def _git(project: Path, *arguments: str, given: str | None = None) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=project, input=given, capture_output=True, text=True, check=True
    ).stdout


if __name__ == "__main__":
    sys.exit(main())
