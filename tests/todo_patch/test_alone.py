"""The folder works without the rest of this project."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

import todo_patch

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


@pytest.mark.parametrize("version", ["0.36.0", "0.42.1", "0.42.9.dev0"])
def test_supported_versions_of_diffusers_pass(version) -> None:
    with patch("diffusers.__version__", version):
        importlib.reload(todo_patch)


@pytest.mark.parametrize("version", ["0.25.0", "0.35.2", "0.43.0", "0.43.0.dev0", "1.0.0"])
def test_other_versions_of_diffusers_are_an_error_with_the_way_out(version) -> None:
    wanted = f"found {version}.*pip install 'diffusers>="
    with patch("diffusers.__version__", version), pytest.raises(ImportError, match=wanted):
        importlib.reload(todo_patch)
