from __future__ import annotations

from compare.models.source import BUNDLED_DEFAULTS, Defaults
from page.presets import Preset, presets_of


def test_half_once_and_one_and_a_half_times_the_size_of_a_small_model() -> None:
    assert presets_of(BUNDLED_DEFAULTS) == (Preset(256, None), Preset(512, None), Preset(768, None))


def test_the_authors_sizes_and_factors_for_a_large_model() -> None:
    sdxl = Defaults(width=1024, height=1024, steps=30, guidance_scale=5.0)
    assert presets_of(sdxl) == (Preset(1024, 2), Preset(1536, 3), Preset(2048, 4))


def test_no_size_that_a_request_refuses() -> None:
    tiny = Defaults(width=72, height=72, steps=30, guidance_scale=5.0)
    assert presets_of(tiny) == (Preset(72, None), Preset(104, None))
