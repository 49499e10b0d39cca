"""The same request gives the same picture, bit for bit, release after release."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.pictures import SAME_ARITHMETIC
from tests.helpers.server import PROJECT

MADE_BEFORE = Path(__file__).with_name("helpers") / "pictures.json"


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the hashes are of x86-64 arithmetic")
def test_pictures_are_bit_for_bit_those_of_before() -> None:
    made = subprocess.run(
        [sys.executable, "-m", "tests.helpers.pictures"],
        cwd=PROJECT,
        env={**os.environ, **SAME_ARITHMETIC},
        stdout=subprocess.PIPE,
        check=True,
    )
    assert json.loads(made.stdout) == json.loads(MADE_BEFORE.read_text())
