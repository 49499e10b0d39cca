"""assets/figures.json against what it was made from."""

from __future__ import annotations

import pytest

from compare.figures import FILE, Quartiles, figures, read_figures


def test_the_file_is_what_its_command_writes() -> None:
    assert read_figures(FILE) == figures()


def test_a_number_that_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        Quartiles(low=1.0, middle=2.0, high=float("inf"))
