"""Which tokens are kept."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.todo_patch.written_out import downsample, upsample
from todo_patch import grid
from todo_patch.grid import cell_index, grid_at, kept_tokens, offset_order, token_index

CPU = torch.device("cpu")
sizes = st.integers(1, 13)
factors = st.integers(1, 5)


def test_offsets_of_two_and_four_are_the_ordered_dither() -> None:
    assert offset_order(2) == ((0, 0), (1, 1), (0, 1), (1, 0))
    bayer = [[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]
    assert [bayer[row][column] for row, column in offset_order(4)] == list(range(16))


@given(factor=factors)
def test_every_offset_comes_once_and_the_papers_first(factor) -> None:
    order = offset_order(factor)
    assert order[0] == (0, 0)
    assert sorted(order) == [(row, column) for row in range(factor) for column in range(factor)]


@settings(max_examples=60, deadline=None)
@given(height=sizes, width=sizes, factor=factors)
def test_indices_are_the_written_out_loops(height, width, factor) -> None:
    tokens = torch.arange(height * width, dtype=torch.float32).view(1, -1, 1)
    for offset in offset_order(factor):
        index = token_index((height, width), factor, offset, CPU)
        assert index.shape == (kept_tokens((height, width), factor),)
        kept = grid.downsample_nearest(tokens, index)
        assert torch.equal(kept, downsample(tokens, (height, width), factor, offset))


@settings(max_examples=60, deadline=None)
@given(height=sizes, width=sizes, factor=factors)
def test_every_token_is_given_what_its_cell_has(height, width, factor) -> None:
    kept = torch.arange(kept_tokens((height, width), factor), dtype=torch.float32).view(1, -1, 1)
    spread = grid.upsample_nearest(kept, cell_index((height, width), factor, CPU))
    assert torch.equal(spread, upsample(kept, (height, width), factor))


@settings(max_examples=60, deadline=None)
@given(height=sizes, width=sizes, factor=factors)
def test_the_rotating_grid_sees_every_token(height, width, factor) -> None:
    offsets = offset_order(factor)
    seen = torch.cat([token_index((height, width), factor, offset, CPU) for offset in offsets])
    assert set(seen.tolist()) == set(range(height * width))


@settings(max_examples=60, deadline=None)
@given(height=sizes, width=sizes, factor=factors)
def test_averages_are_over_the_tokens_that_exist(height, width, factor) -> None:
    tokens = torch.randn(2, height * width, 3)
    expected = downsample(tokens, (height, width), factor, None)
    torch.testing.assert_close(grid.downsample_average(tokens, (height, width), factor), expected)


def test_grids_round_up_like_stride_two_convolutions() -> None:
    image = torch.zeros(1, 1, 135, 240)
    convolution = torch.nn.Conv2d(1, 1, 3, stride=2, padding=1)
    for depth in range(5):
        assert grid_at(135, 240, depth) == tuple(image.shape[-2:])
        image = convolution(image)
