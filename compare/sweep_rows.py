"""The rows of a sweep, one line of JSON each, in a file that survives being killed at any moment."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from compare.report import Comparison, ModelInfo
from compare.request import InvalidRequest, Request


class Row(BaseModel):
    """One method of one comparison. Seconds are those of the denoising loop, medians over the repeats."""

    model_config = ConfigDict(frozen=True)

    date: datetime
    model: str
    dtype: str
    attention: str
    hardware: str
    threads: int
    torch: str
    prompt: str
    negative_prompt: str
    seed: int
    width: int
    height: int
    steps: int
    """Of the request, and of its baseline."""
    guidance_scale: float
    factor: int | tuple[int, ...]
    repeats: int
    method: str
    method_steps: int
    """Fewer than `steps` for "fewer-steps"."""
    seconds: float
    speedup: float
    """Baseline's seconds in the same comparison over these."""
    flop_speedup: float
    ceiling: float | None
    identical: bool
    psnr: float | None
    """In dB against the comparison's own baseline; None where the pictures are identical."""
    ssim: float
    high_frequency: float | None
    peak_memory: int | None

    @property
    def key(self) -> tuple[object, ...]:
        """What makes a row a row of its own: no file holds two with the same."""
        request = Request(**{name: getattr(self, name) for name in _OF_REQUEST})
        return _key(self.model, self.dtype, self.attention, request, self.method)


_OF_REQUEST = (
    "prompt", "negative_prompt", "seed", "width", "height", "steps", "guidance_scale", "factor", "repeats",
)  # fmt: skip


def rows_of(comparison: Comparison) -> list[Row]:
    """One row for each method but Baseline, which the others are measured by."""
    request, model, machine = comparison.request, comparison.model, comparison.environment
    return [
        Row(
            date=comparison.date,
            model=model.source,
            dtype=model.dtype,
            attention=model.attention,
            hardware=machine.accelerator or machine.cpu,
            threads=machine.threads,
            torch=machine.packages["torch"],
            **{name: getattr(request, name) for name in _OF_REQUEST},
            method=result.method,
            method_steps=result.steps,
            seconds=result.times.seconds,
            speedup=result.speedup,
            flop_speedup=result.plan.flop_speedup,
            ceiling=result.plan.ceiling,
            identical=result.scores.identical,
            psnr=result.scores.psnr,
            ssim=result.scores.ssim,
            high_frequency=result.scores.high_frequency,
            peak_memory=result.peak_memory,
        )
        for result in comparison.results
        if result.method != "baseline"
    ]


class RowFile:
    """A JSON-lines file that one process at a time appends to; a context manager.

    Raises:
        InvalidRequest: on entering, where the file is in use, cannot be written, or holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []
        self._keys: set[tuple[object, ...]] = set()
        self._lock = FileLock(f"{path}.lock", timeout=0)

    def __enter__(self) -> RowFile:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout as error:
            raise InvalidRequest(
                f"{self.path} is in use by another sweep: wait for it, or name another folder."
            ) from error
        except OSError as error:
            raise InvalidRequest(f"{self.path} cannot be written: {error.strerror}.") from error
        try:
            if self.path.exists():
                _cut_half_a_line(self.path)
                self._remember(read_rows(self.path))
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def holds(self, model: ModelInfo, request: Request) -> bool:
        """Whether every row of this comparison is there."""
        return all(
            _key(model.source, model.dtype, model.attention, request, method) in self._keys
            for method in request.methods
            if method != "baseline"
        )

    def append(self, rows: Iterable[Row]) -> list[Row]:
        """Write those that are not there yet, all at once and onto the disk; returns them."""
        new = [row for row in rows if row.key not in self._keys]
        with self.path.open("ab") as file:
            file.write("".join(row.model_dump_json() + "\n" for row in new).encode())
            file.flush()
            os.fsync(file.fileno())
        self._remember(new)
        return new

    def _remember(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.rows.append(row)
            self._keys.add(row.key)


def read_rows(path: Path) -> list[Row]:
    """The rows of a file.

    Raises:
        InvalidRequest: where a line is not a row; the sentence says which.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    return [_row(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1)]


def _row(line: str, place: str) -> Row:
    try:
        return Row.model_validate_json(line)
    except ValidationError as error:
        raise InvalidRequest(f"{place}, is not a row of a sweep.") from error


def _cut_half_a_line(path: Path) -> None:
    """What a kill in the middle of writing left behind; the comparison it belongs to is run again."""
    with path.open("rb+") as file:
        file.truncate(file.read().rfind(b"\n") + 1)


def _key(model: str, dtype: str, attention: str, request: Request, method: str) -> tuple[object, ...]:
    return (
        model, dtype, attention, method,
        *(getattr(request, name) for name in _OF_REQUEST),
    )  # fmt: skip
