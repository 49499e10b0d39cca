"""What `compare sweep` says of --ray before anything is loaded."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from compare.__main__ import main
from tests.helpers.sweeps import written

REQUIREMENTS = Path(__file__).resolve().parents[3] / "requirements-dev.txt"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--cpus-per-worker", "2"], "are for a sweep with --ray"),
        (["--ray", "--gpus-per-worker", "0.5"], "--gpus-per-worker must be a whole number"),
        (["--ray", "--cpus-per-worker", "0"], "--cpus-per-worker must be a whole number"),
        (["--ray", "--device", "cuda:1"], "With --ray there is no --device"),
        (["--shard", "3/2"], "from 1/4 to 4/4, not 3/2"),
    ],
)
def test_options_that_cannot_be_are_refused(tmp_path, capsys, options, says) -> None:
    assert main(["sweep", str(written(tmp_path)), *options]) == 2
    said = capsys.readouterr().err
    assert said.count("error: ") == 1
    assert says in said


def test_without_ray_it_says_what_to_install(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.delitem(sys.modules, "compare.study.ray_sweep", raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["sweep", str(written(tmp_path)), "--ray"]) == 2
    said = capsys.readouterr().err
    assert said.count("error: ") == 1
    (pin,) = re.findall(r"^ray==[\d.]+", REQUIREMENTS.read_text(), re.M)
    assert f"pip install {pin}\n" in said
