"""ZeroGPU: what is asked of it, and that runs come out as they do anywhere else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import compare
from compare.models.load import LoadedPipeline, Source, loaded_pipeline
from compare.request import Request
from server.zero_gpu import START, gpu_seconds, runner
from tests.helpers.tiny_models import sdxl_pipeline
from tests.helpers.zero_gpu import Lender, lender_on_this_machine

PROJECT = Path(__file__).resolve().parents[2]
SDXL_AT_FIRST = {"prompt": "a fox", "width": 1024, "height": 1024, "steps": 30, "guidance_scale": 5.0}


def seconds(**changes: object) -> int:
    return gpu_seconds(Request(**{**SDXL_AT_FIRST, **changes}))


def test_seconds_are_asked_for_by_size_steps_methods_and_repeats() -> None:
    assert 30 <= seconds() <= 60  # what a visitor without an account is lent
    work = seconds() - START
    assert seconds(methods=("todo",)) - START == pytest.approx(work / 3, abs=1)
    assert seconds(repeats=4) - START == pytest.approx(work * 4, abs=1)
    assert seconds(steps=60) - START == pytest.approx(work * 2, rel=0.1)
    assert seconds(guidance_scale=1) < seconds()
    # Four times the pixels are 35.9 instead of 6.76 TFLOPs of SDXL's UNet.
    assert (seconds(width=2048, height=2048, steps=100) - START) / (seconds(steps=100) - START) == (
        pytest.approx(35.9 / 6.76, rel=0.05)
    )


def test_elsewhere_a_run_is_nothing_but_the_run() -> None:
    loaded = loaded_pipeline(sdxl_pipeline(), Source(place="somewhere/tiny-sdxl", name="tiny"))
    assert isinstance(loaded, LoadedPipeline)
    run = runner(loaded)
    assert (run.func, run.args) == (compare.run, (loaded,))


@pytest.fixture(scope="module")
def lender(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lender]:
    """What the tests of `on_zero_gpu.py`, which all pass, asked of it."""
    folder = tmp_path_factory.mktemp("zero")
    with lender_on_this_machine() as lender:
        environment = {
            **os.environ,
            "SPACES_ZERO_GPU": "true",
            "SPACES_ZERO_DEVICE_API_URL": lender.address,
            "ZEROGPU_OFFLOAD_DIR": str(folder / "offload"),
            "HOME": str(folder),
        }
        options = ("-q", "-p", "tests.server.cuda_build", f"--basetemp={folder / 'tests'}")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, "tests/server/on_zero_gpu.py"],
            cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        yield lender


def test_the_seconds_that_a_run_needs_are_asked_for(lender: Lender) -> None:
    asked = [int(call["durationSeconds"]) for call in lender.calls("/schedule")]
    small = Request(prompt="a fox", width=64, height=64, steps=2, guidance_scale=4.0)
    # `spaces` multiplies by what the machine's GPU is slower than the one that it counts in.
    factor = asked[0] / gpu_seconds(small)
    assert 0.9 <= factor <= 3
    assert max(asked) / factor == pytest.approx(
        seconds(width=2048, height=2048, steps=100, repeats=20, guidance_scale=4.0), rel=0.01
    )


def test_every_gpu_that_was_lent_is_given_back(lender: Lender) -> None:
    lent = {call["allowToken"] for call in lender.calls("/allow")}
    given_back = {call["allowToken"] for call in lender.calls("/release")}
    assert lent
    assert lent <= given_back


def test_the_start_is_reported_once(lender: Lender) -> None:
    assert len(lender.calls("/startup-report")) == 1
