"""A sweep in parts, for machines that know nothing of each other: what each runs, and their rows merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compare.errors import InvalidRequest
from compare.request import Request
from compare.study.row_folder import difference
from compare.study.rows import Row, read_sweep, sweep_folder


@dataclass(frozen=True)
class Shard:
    """One part of several. `number` counts from 1."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From "2/8".

        Raises:
            InvalidRequest: it is no part.
        """
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise InvalidRequest(f"A shard is a number and how many there are, from 1/4 to 4/4, not {text}.")
        return cls(int(number), int(of))

    def of_requests(self, requests: Sequence[Request]) -> tuple[Request, ...]:
        """Its requests, in their order. Every request is in one shard, whatever the order of the lists in the
        sweep's file. Shards have an equal number of requests of each setting, give or take one.

        Raises:
            InvalidRequest: there are fewer requests than shards, and this one has none.
        """
        mine = set(sorted(set(requests), key=_by_setting)[self.number - 1 :: self.of])
        if not mine:
            raise InvalidRequest(
                f"Shard {self.number}/{self.of} is empty: the sweep has {len(requests)} comparisons."
            )
        return tuple(request for request in requests if request in mine)


def merge(out: Path, folders: Sequence[Path]) -> tuple[list[Row], int]:
    """Add the rows of sweeps' folders to one: all its rows now, and how many were there twice.

    Of rows with the same key the first stays.

    Args:
        out: made if need be. Rows that it holds come first.
        folders: sweeps in them may be going on; their rows so far are taken.

    Raises:
        InvalidRequest: there are no folders, they have different setups, or one is no sweep's; before
            anything is written.
    """
    if not folders:
        raise InvalidRequest("None of these folders is there: nothing to merge.")
    sweeps = {folder: read_sweep(folder) for folder in folders}
    first, (setup, _) = next(iter(sweeps.items()))
    for folder, (other, _) in sweeps.items():
        if found := difference(setup, other):
            name, ours, theirs = found
            raise InvalidRequest(
                f"{first} has rows with {name} {ours}, and {folder} with {name} {theirs}: merge only "
                "those of the same weights and settings."
            )
    double = 0
    with sweep_folder(out, setup) as merged:
        for _, rows in sweeps.values():
            double += len(rows) - len(merged.append(rows))
        return merged.rows, double


def _by_setting(request: Request) -> tuple[object, ...]:
    """Equal settings come together, and take the same time: every n-th request is a fair part."""
    setting = {name: repr(value) for name, value in vars(request).items() if name not in ("prompt", "seed")}
    return (*setting.values(), request.prompt, request.seed)
