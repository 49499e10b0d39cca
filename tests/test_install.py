"""The library as others get it: built, installed, used from another folder, and seen by a type checker."""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import todo_patch
from compare.experiment.flip import PACKAGE
from compare.methods import METHODS
from compare.study.cli import RAY

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = Path(__file__).resolve().parents[1]
METADATA = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

USE = """
import torch
import todo_patch
from diffusers import UNet2DConditionModel
from todo_patch import ToDo, patched, plan

widths = {"block_out_channels": (8,) * 4, "cross_attention_dim": 8, "attention_head_dim": 2}
unet = UNet2DConditionModel(sample_size=8, norm_num_groups=4, **widths)
inputs = torch.ones(1, 4, 8, 8), 1, torch.ones(1, 2, 8)
with torch.no_grad():
    plain = unet(*inputs).sample
    with patched(unet, ToDo()):
        assert not torch.equal(unet(*inputs).sample, plain)
assert plan(unet, ToDo(), 64, 64).patched > 0
print(todo_patch.__version__, todo_patch.__file__)
"""


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "-q", "wheel", PROJECT, "-w", folder)
    run(*pip, "--no-deps", "--no-index", "--no-build-isolation", cwd=folder)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment that has the wheel, and the packages of this one behind it."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "-q", "--python", python, "install", wheel)
    run(*pip, "--no-deps", "--no-index", cwd=folder)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "packages.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
    return python


def test_the_wheel_is_the_library_and_nothing_else(wheel: Path) -> None:
    assert wheel.name == f"todo_patch-{todo_patch.__version__}-py3-none-any.whl"
    packed = {Path(name) for name in zipfile.ZipFile(wheel).namelist()}
    library = {file.relative_to(PROJECT) for file in (PROJECT / "todo_patch").rglob("*") if file.is_file()}
    library = {file for file in library if "__pycache__" not in file.parts}
    assert {Path("todo_patch/py.typed"), Path("todo_patch/LICENSE")} < library
    assert {file for file in packed if file.parts[0] == "todo_patch"} == library
    assert {file.parts[0] for file in packed - library} == {f"todo_patch-{todo_patch.__version__}.dist-info"}


def test_the_installed_library_works_from_another_folder(python: Path, tmp_path: Path) -> None:
    (tmp_path / "use.py").write_text(USE)
    version, file = run(python, "use.py", cwd=tmp_path).split()
    assert version == todo_patch.__version__
    assert Path(file).is_relative_to(python.parents[1])


def test_a_type_checker_knows_the_types_of_the_installed_library(python: Path, tmp_path: Path) -> None:
    shutil.copy(PROJECT / "tests" / "helpers" / "typed_program.py", tmp_path)
    mypy = (sys.executable, "-m", "mypy", "--config-file", PROJECT / "pyproject.toml")
    run(*mypy, "--python-executable", python, "typed_program.py", cwd=tmp_path)


def test_the_licence_in_the_folder_is_the_projects() -> None:
    assert (PROJECT / "todo_patch" / "LICENSE").read_text() == (PROJECT / "LICENSE").read_text()


def test_the_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == todo_patch.__version__
    changes = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[(\d[^\]]*)\]", changes, re.M)[0] == todo_patch.__version__


def test_the_oldest_diffusers_is_the_one_that_is_asked_for() -> None:
    assert f"diffusers>={todo_patch.supported.OLDEST_DIFFUSERS}" in METADATA["dependencies"]


def test_every_pin_of_a_space_is_within_the_ranges_that_pip_is_given() -> None:
    lines = (PROJECT / "requirements.txt").read_text().splitlines()
    pins = [Requirement(line.split(" #")[0]) for line in lines if line and not line.startswith("#")]
    ranges = {wanted.name: wanted for wanted in _ranges()}
    assert {pin.name for pin in pins} == set(ranges)
    for pin in pins:
        (version,) = pin.specifier
        assert ranges[pin.name].specifier.contains(version.version), f"{pin} and {ranges[pin.name]}"
        assert ranges[pin.name].extras == pin.extras


@pytest.mark.parametrize("extra", ["ray", "rivals", "flip"])
def test_what_only_some_need_has_one_version_wherever_it_is_named(extra) -> None:
    (pin,) = METADATA["optional-dependencies"][extra]
    name = Requirement(pin).name
    asked = {"ray": [RAY], "rivals": [m.package for m in METHODS if m.package], "flip": [PACKAGE]}[extra]
    for file in ("requirements-dev.txt", "docs/cluster.md", "docs/sweep.md", "README.md"):
        asked += re.findall(rf"\b{name}==[\d.]+\d", (PROJECT / file).read_text(encoding="utf-8"))
    assert len(asked) >= 3
    assert set(asked) == {pin}


def _ranges() -> Iterator[Requirement]:
    """What the library and the extras for a page need."""
    extras = METADATA["optional-dependencies"]
    for line in chain(METADATA["dependencies"], *(extras[name] for name in ("tome", "bench", "demo"))):
        if not line.startswith("todo_patch["):
            yield Requirement(line)


@pytest.mark.parametrize("name", todo_patch.__all__)
def test_every_public_name_has_a_docstring_and_so_has_all_that_is_public_in_it(name: str) -> None:
    """As far as this project wrote it: fields of a dataclass are described in the docstring of the class."""
    thing = getattr(todo_patch, name)
    assert thing.__doc__
    assert not thing.__doc__.startswith(f"{name}(")  # what a dataclass says of itself
    if inspect.isclass(thing):
        public = {key: value for key, value in vars(thing).items() if not key.startswith("_")}
        callables = {k: v for k, v in public.items() if isinstance(v, (property, classmethod)) or callable(v)}
        assert [key for key, value in callables.items() if not value.__doc__] == []
