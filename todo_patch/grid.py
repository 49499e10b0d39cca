"""The mathematics: which tokens of a grid are kept. Integers and tensors in, tensors out; no model.

D of the paper (ToDo, arXiv 2402.13573, section 3.2) is `downsample_nearest`, or `downsample_average`.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F


def downsample_nearest(tokens: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """D(x): the tokens at `index` (`token_index`), [B, height * width, C] -> [B, M, C]."""
    return tokens.index_select(1, index)


def downsample_average(tokens: torch.Tensor, grid: tuple[int, int], factor: int) -> torch.Tensor:
    """The mean of every cell, [B, height * width, C] -> [B, M, C]; a cut cell is the mean of what it has."""
    image = tokens.unflatten(1, grid).permute(0, 3, 1, 2)  # channels last in memory, so no copy
    means = F.avg_pool2d(image, factor, ceil_mode=True, count_include_pad=False)
    return means.flatten(2).transpose(1, 2)


def upsample_nearest(kept: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """To each token what its cell has (`cell_index`), [B, M, C] -> [B, height * width, C]."""
    return kept.index_select(1, cells)


def token_index(
    grid: tuple[int, int], factor: int, offset: tuple[int, int], device: torch.device
) -> torch.Tensor:
    """The flat indices of the tokens kept, int64 [M]: the one at `offset` (row, column) of each cell.

    If a border cuts the offset off its cell, the nearest token inside is kept, so that M is
    `kept_tokens(grid, factor)` for every offset.
    """
    height, width = grid
    # An index made under inference_mode could not be used in a later call with gradients.
    with torch.inference_mode(False):
        rows = torch.arange(offset[0], offset[0] + height, factor, device=device).clamp(max=height - 1)
        columns = torch.arange(offset[1], offset[1] + width, factor, device=device).clamp(max=width - 1)
        return (rows[:, None] * width + columns).flatten()


def cell_index(grid: tuple[int, int], factor: int, device: torch.device) -> torch.Tensor:
    """The cell that each token is in, int64 [height * width]: its place among the kept tokens."""
    height, width = grid
    with torch.inference_mode(False):
        rows = torch.arange(height, device=device) // factor
        columns = torch.arange(width, device=device) // factor
        return (rows[:, None] * -(-width // factor) + columns).flatten()


@functools.cache
def offset_order(factor: int) -> tuple[tuple[int, int], ...]:
    """All (row, column) offsets in a cell, in the order in which the rotating grid keeps them.

    Each is as far as possible from those before it; cells tile the plane, so distances wrap around. For
    factors 2 and 4 this is Bayer's ordered-dither matrix.
    """
    cell = [(row, column) for row in range(factor) for column in range(factor)]
    order = [cell.pop(0)]
    crowding = dict.fromkeys(cell, 0.0)
    while crowding:
        for row, column in crowding:
            down, right = abs(row - order[-1][0]), abs(column - order[-1][1])
            crowding[row, column] += 1 / (min(down, factor - down) ** 2 + min(right, factor - right) ** 2)
        farthest = min(crowding, key=lambda offset: round(crowding[offset], 9))  # in case of a tie, the first
        del crowding[farthest]
        order.append(farthest)
    return tuple(order)


def grid_at(height: int, width: int, depth: int) -> tuple[int, int]:
    """The grid of tokens after `depth` stride-2 convolutions of a latent: each rounds up."""
    return -(-height // 2**depth), -(-width // 2**depth)


def kept_tokens(grid: tuple[int, int], factor: int) -> int:
    """M: how many cells of `factor` x `factor` cover the grid, cut cells at the border included."""
    height, width = grid
    return -(-height // factor) * -(-width // factor)
