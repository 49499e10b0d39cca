"""Plain runs of fewer steps, as many as forecasts of these shares call the UNet: what any method of skipping
work has to beat (docs/what-to-use.md)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import floor

from compare.methods import Method

SHARES = {10: "#f6e8c3", 20: "#dfc27d", 30: "#bf812d", 40: "#9c6a14", 50: "#8c510a", 60: "#543005"}
"""Per cent of the steps that are left out, and the colour."""


def _steps(steps: int, seconds: Mapping[str, float], per_cent: int) -> int:
    return max(steps - floor(steps * per_cent / 100), 1)


STEP_COUNTS = tuple(
    Method(
        id=f"fewer-{per_cent}",
        label=f"{per_cent} % fewer steps",
        description=f"Baseline with {per_cent} % fewer steps",
        colour=colour,
        steps=partial(_steps, per_cent=per_cent),
        order=2,
    )
    for per_cent, colour in SHARES.items()
)
