"""ZeroGPU: what is asked of it, and that runs come out as they do anywhere else."""

from __future__ import annotations

import json
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
def zero_gpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict, Lender]]:
    """What `tests.server.on_zero_gpu` saw, and what it asked of the lender."""
    folder = tmp_path_factory.mktemp("zero")
    sdxl_pipeline().save_pretrained(folder / "tiny")
    with lender_on_this_machine() as lender:
        environment = {
            **os.environ,
            "SPACES_ZERO_GPU": "true",
            "SPACES_ZERO_DEVICE_API_URL": lender.address,
            "ZEROGPU_OFFLOAD_DIR": str(folder / "offload"),
            "HOME": str(folder),
            "OMP_NUM_THREADS": "1",  # threads do not survive a fork, and here the CPU computes on both sides
        }
        done = subprocess.run(
            [sys.executable, "-m", "tests.server.on_zero_gpu", str(folder / "tiny")],
            cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        seen = next(line for line in done.stdout.splitlines() if line.startswith("SEEN "))
        yield json.loads(seen.removeprefix("SEEN ")), lender


def test_a_run_on_a_lent_gpu_has_the_same_events_and_the_same_pictures(zero_gpu) -> None:
    finished = zero_gpu[0]["finished"]
    assert finished["kinds"] == finished["kinds here"]
    assert finished["pictures"] == finished["pictures here"]
    assert len(set(finished["pictures"])) == 3
    assert finished["text"] == "a fox"  # what is written into the pictures comes along


def test_each_run_is_counted_once_in_the_queue_until_it_ends_however_it_ends(zero_gpu) -> None:
    seen = zero_gpu[0]
    assert seen["finished"]["places"] == [1]
    assert set(seen["places left in the queue"].values()) == {0}
    assert seen["queue_full"][0] == "QueueFull"


def test_it_runs_in_another_process_and_asks_for_the_seconds_it_needs(zero_gpu) -> None:
    seen, lender = zero_gpu
    assert int(lender.calls("/allow")[0]["pid"]) != seen["finished"]["pid"]
    small = Request(prompt="a fox", width=64, height=64, steps=2, guidance_scale=4.0)
    # `spaces` multiplies by what the machine's GPU is slower than the one that it counts in.
    factor = int(lender.calls("/schedule")[0]["durationSeconds"]) / gpu_seconds(small)
    assert 0.9 <= factor <= 3
    refused = int(lender.calls("/schedule")[-2]["durationSeconds"]) / factor
    assert refused == pytest.approx(
        seconds(width=2048, height=2048, steps=100, repeats=20, guidance_scale=4.0), rel=0.01
    )


def test_every_gpu_that_was_lent_is_given_back(zero_gpu) -> None:
    lender = zero_gpu[1]
    lent = {call["allowToken"] for call in lender.calls("/allow")}
    given_back = {call["allowToken"] for call in lender.calls("/release")}
    assert lent
    assert lent <= given_back


def test_stop_reaches_the_other_process_and_keeps_what_is_done(zero_gpu) -> None:
    assert zero_gpu[0]["stopped"] == {"last": "Stopped", "done": ["baseline"]}


def test_what_is_wrong_with_a_request_comes_back_as_it_was_said(zero_gpu) -> None:
    kind, said = zero_gpu[0]["invalid"]
    assert kind == "InvalidRequest"
    assert "stride=8" in said


def test_what_fails_in_the_other_process_is_an_error_here(zero_gpu) -> None:
    assert zero_gpu[0]["failed"] == ["RuntimeError", "ZeroDivisionError on a lent GPU"]


def test_a_reader_that_goes_away_waits_for_nothing_and_leaves_the_model_fit_for_the_next(zero_gpu) -> None:
    seen = zero_gpu[0]
    assert seen["left"]["still at work"]
    assert seen["left"]["next"] == seen["after_all_that"] == seen["finished"]["pictures"]


def test_a_refusal_to_lend_is_shown_in_the_lenders_words(zero_gpu) -> None:
    kind, said = zero_gpu[0]["refused"]
    assert kind == "RunFailed"
    assert "GPU limit" in said or "quota" in said


def test_a_gpu_that_is_taken_back_is_said(zero_gpu) -> None:
    kind, said = zero_gpu[0]["taken_back"]
    assert kind == "RunFailed"
    assert said.startswith("The GPU was taken back before the run was done: try fewer steps")


def test_the_model_is_loaded_for_a_gpu_that_the_main_process_does_not_have(zero_gpu) -> None:
    seen, lender = zero_gpu
    assert (seen["loaded"]["device"], seen["loaded"]["dtype"]) == ("cuda", "float16")
    assert "NVIDIA" in seen["loaded"]["device_name"]
    assert len(lender.calls("/startup-report")) == 1
