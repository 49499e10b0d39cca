"""The folder works without the rest of this project."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from unittest.mock import patch

import pytest

import todo_patch
from todo_patch import supported

SCRIPT = """
import sys
sys.modules["tomesd"] = None  # not installed
import torch
from diffusers import UNet2DConditionModel
from todo_patch import ToDo, ToMe, patched

widths = {"block_out_channels": (8,) * 4, "cross_attention_dim": 8, "attention_head_dim": 2}
unet = UNet2DConditionModel(sample_size=8, norm_num_groups=4, **widths)
with patched(unet, ToDo()), torch.no_grad():
    unet(torch.zeros(1, 4, 8, 8), 1, torch.zeros(1, 2, 8))
try:
    with patched(unet, ToMe()):
        pass
except ImportError as error:
    print(error)
"""


def test_a_copy_of_the_folder_works_next_to_a_script_and_without_tomesd(tmp_path) -> None:
    shutil.copytree(Path(todo_patch.__file__).parent, tmp_path / "todo_patch")
    (tmp_path / "script.py").write_text(SCRIPT)
    run = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "ToMe needs the tomesd package: pip install tomesd==0.1.3"


def test_a_diffusers_that_is_too_old_is_an_error_with_the_way_out(tmp_path) -> None:
    """It comes before anything else that such a diffusers would lack."""
    (tmp_path / "diffusers").mkdir()
    (tmp_path / "diffusers" / "__init__.py").write_text("__version__ = '0.35.2'")
    shutil.copytree(Path(todo_patch.__file__).parent, tmp_path / "todo_patch")
    run = subprocess.run(
        [sys.executable, "-c", "import todo_patch"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.stderr.splitlines()[-1].startswith("ImportError: todo_patch needs diffusers 0.36 or newer")
    assert "found 0.35.2" in run.stderr
    assert "pip install 'diffusers>=0.36,<0.43'" in run.stderr


@pytest.mark.parametrize("version", ["0.36.0", "0.42.1", "0.42.9.dev0"])
def test_a_tested_diffusers_passes_without_a_word(version) -> None:
    with patch("diffusers.__version__", version), warnings.catch_warnings():
        warnings.simplefilter("error")
        importlib.reload(supported)


@pytest.mark.parametrize("version", ["0.43.0", "0.43.0.dev0", "1.0.0"])
def test_a_diffusers_newer_than_what_was_tested_is_a_warning_with_the_tested_range(version) -> None:
    words = f">=0.36,<0.43, and found {version}.*pip install 'diffusers>="
    with patch("diffusers.__version__", version), pytest.warns(UserWarning, match=words):
        importlib.reload(supported)
