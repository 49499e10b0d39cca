"""ZeroGPU: what is asked of it, and that runs come out as they do anywhere else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qsl, urlsplit

import pytest

from compare.request import Request
from server.zero_gpu import START, gpu_seconds
from tests.helpers.local_http import answering
from tests.helpers.server import PROJECT

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


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[dict[str, str]]]]:
    """What the tests of `on_zero_gpu.py`, which all pass, asked of the lender: parameters by path."""
    calls = defaultdict(list)

    class Lender(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            url = urlsplit(self.path)
            parameters = dict(parse_qsl(url.query))
            calls[url.path].append(parameters)
            status, content = 200, {}
            if url.path == "/schedule" and int(parameters["durationSeconds"]) > 1000:
                status, content = 429, {"left": 25, "wait": "PT1H"}
            elif url.path == "/schedule":
                token = f"token-{len(calls['/schedule'])}"
                content = {"idle": True, "nvidiaIndex": 0, "nvidiaUUID": "GPU-0", "allowToken": token}
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    folder = tmp_path_factory.mktemp("zero")
    with answering(Lender) as address:
        environment = {
            **os.environ,
            "SPACES_ZERO_GPU": "true",
            "SPACES_ZERO_DEVICE_API_URL": address,
            "ZEROGPU_OFFLOAD_DIR": str(folder / "offload"),
            "HOME": str(folder),
        }
        options = ("-q", "-p", "tests.server.cuda_build", f"--basetemp={folder / 'tests'}")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, "tests/server/on_zero_gpu.py"],
            cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        yield calls


def test_the_seconds_that_a_run_needs_are_asked_for(calls) -> None:
    asked = [int(call["durationSeconds"]) for call in calls["/schedule"]]
    # `spaces` multiplies by what the machine's GPU is slower than the one that it counts in.
    factor = asked[0] / seconds(width=64, height=64, steps=2)
    assert 0.9 <= factor <= 3
    most = seconds(width=2048, height=2048, steps=100, repeats=20)
    assert max(asked) / factor == pytest.approx(most, rel=0.01)


def test_every_gpu_that_was_lent_is_given_back(calls) -> None:
    lent, given_back = ({call["allowToken"] for call in calls[path]} for path in ("/allow", "/release"))
    assert lent
    assert lent <= given_back


def test_the_start_is_reported_once(calls) -> None:
    assert len(calls["/startup-report"]) == 1
