"""The same request gives the same picture, bit for bit, release after release."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.pictures import DIFFUSERS, SAME_ARITHMETIC
from tests.helpers.server import PROJECT

MADE_BEFORE = Path(__file__).with_name("helpers") / "pictures.json"


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.pictures"],
        cwd=PROJECT,
        env={**os.environ, **SAME_ARITHMETIC},
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout)


def test_baseline_is_bit_for_bit_what_diffusers_alone_draws(made) -> None:
    assert made["0 baseline"] == made[DIFFUSERS]


def test_pictures_are_bit_for_bit_those_of_before(made) -> None:
    before = json.loads(MADE_BEFORE.read_text())
    if made.pop(DIFFUSERS) != before["0 baseline"]:
        pytest.skip("without any code of this project, this machine draws other bits than the one of before")
    assert made == before
