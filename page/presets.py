"""Sizes and factors that are a click away, and the scripts in the browser that set the fields by them."""

from __future__ import annotations

import json
from dataclasses import dataclass

from compare.models.source import Defaults
from compare.request import SEEDS, SIZE_MULTIPLE, SIZES
from todo_patch import ToDo

FACTORS = (2, 3, 4)
LARGE = 1024
"""Pixels a side, of a model made for large pictures: it gets the ToDo authors' sizes, with their factors."""
AUTHORS_SIZES = (1024, 1536, 2048)


@dataclass(frozen=True)
class Preset:
    """A square size."""

    side: int
    factor: int | None
    """That goes with it; None: any."""


def presets_of(defaults: Defaults) -> tuple[Preset, ...]:
    """Three sizes for a model: half, once and one and a half times its own; or the ToDo authors'."""
    side = defaults.width
    if side >= LARGE:
        return tuple(Preset(large, ToDo.for_size(large, large).factor) for large in AUTHORS_SIZES)
    sides = (side // 2, side, side * 3 // 2)
    fitting = (at // SIZE_MULTIPLE * SIZE_MULTIPLE for at in sides if SIZES[0] <= at <= SIZES[1])
    return tuple(Preset(at, None) for at in fitting)


# Browser-side handlers, so that a click is answered at once. Each is given and returns values of components.


def set_size(presets: tuple[Preset, ...]) -> str:
    """From size and factor: width, height, factor, the choice of a factor."""
    factors = json.dumps({preset.side: preset.factor for preset in presets if preset.factor is not None})
    return f"""(side, factor) => {{
  const own = {factors}[side] ?? factor;
  return [side, side, String(own), ({FACTOR_OF})(String(own))];
}}"""


def size_of(presets: tuple[Preset, ...]) -> str:
    """From width and height: the preset of this size, or none."""
    sides = json.dumps([preset.side for preset in presets])
    return f"(width, height) => width === height && {sides}.includes(width) ? width : null"


FACTOR_OF = f"(typed) => {json.dumps(FACTORS)}.find((factor) => String(factor) === typed.trim()) ?? null"
"""From a factor, as it is typed: the choice that is this factor, or none."""
TYPED = "(factor) => String(factor)"
"""From a choice of a factor: the factor as it is typed."""
NEW_SEED = f"() => Math.floor(Math.random() * {SEEDS[1] + 1})"


def constant(text: str) -> str:
    """From nothing: this text."""
    return f"() => {json.dumps(text)}"
