"""Many comparisons: prompts × seeds × settings, each method scored against the baseline beside it.

Every request is run by `compare.run` like one from the page, so each row's speed-up is paired with a baseline
of its own, timed in the same minute.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, TypeVar

import torch
from pydantic import BaseModel, Field, ValidationError

from compare.errors import InvalidRequest, OutOfMemory, RunFailed
from compare.events import Finished
from compare.experiment.measure import prepare
from compare.experiment.worker import run
from compare.methods import BASELINE, METHODS, Method
from compare.models.load import LoadedPipeline, load_pipeline, with_scheduler
from compare.request import Request
from compare.study.row_folder import RowFolder
from compare.study.rows import Row, Setup, keys_of, rows_of
from compare.study.scorers import Scorers
from compare.study.studied import studied_method, studied_methods

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


T = TypeVar("T")
Several = Annotated[list[T], Field(min_length=1)]


class StudyRequest(Request):
    """A request whose methods may also be variants that only studies have."""

    @classmethod
    def known_methods(cls) -> tuple[Method, ...]:
        return studied_methods()


class Sweep(BaseModel, frozen=True, extra="forbid", strict=True):
    """What a sweep's TOML file holds: all combinations of its lists are run.

    What is left out is the model's own. Baseline runs in every comparison, whether it is named or not.
    """

    prompts: Several[str]
    methods: Several[str]
    negative_prompt: str = ""
    seeds: Several[int] = [0]
    factors: Several[int | list[int]] = [2]
    """One number, or one for each level of attention grids, finest first."""
    until: Several[float | int] = [1.0]
    """Shares of the steps, from the first, in which ToDo and ToMe are on."""
    sizes: Several[int | list[int]] | None = None
    """Pixels: a side, or [width, height]."""
    steps: Several[int] | None = None
    guidance_scales: Several[float | int] | None = None
    repeats: int = 1

    @classmethod
    def load(cls, file: Path) -> Sweep:
        """Read a TOML file.

        Raises:
            InvalidRequest: it cannot be read, or is not a sweep.
        """
        try:
            return cls.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
        except OSError as error:
            raise InvalidRequest(f"{file} cannot be read: {error.strerror}.") from error
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InvalidRequest(f"{file} is not a TOML file: {error}.") from error
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            known = ", ".join(cls.model_fields)
            raise InvalidRequest(f"{file}: {place}: {first['msg']}. A sweep has {known}.") from error

    def with_what_is_installed(self) -> tuple[Sweep, tuple[str, ...]]:
        """The sweep without the methods whose package is not installed, and a sentence for each of those."""
        missing = {method.id: method.missing for method in METHODS if method.missing}
        left = [id for id in self.methods if id not in missing]
        said = (f"Without a column: {missing[id]}" for id in dict.fromkeys(self.methods) if id in missing)
        return self.model_copy(update={"methods": left}), tuple(said)

    def requests(self, loaded: LoadedPipeline) -> tuple[Request, ...]:
        """All comparisons, each once, checked against the model. Settings vary fastest: a sweep that is
        stopped has all settings for its first prompts.

        Raises:
            InvalidRequest: one of them cannot be run on this model; before anything is run.
        """
        own = loaded.defaults
        methods = tuple(dict.fromkeys([BASELINE.id, *self.methods]))
        if methods == (BASELINE.id,):
            raise InvalidRequest("The sweep has no method but Baseline, which the others are measured by.")
        sides = [size if isinstance(size, list) else [size, size] for size in self.sizes or ()]
        for side in sides:
            if len(side) != 2:
                raise InvalidRequest(f"A size is a side or [width, height], not {side}.")
        requests = [
            StudyRequest(
                prompt=prompt,
                negative_prompt=self.negative_prompt,
                seed=seed,
                width=width,
                height=height,
                steps=steps,
                guidance_scale=guidance_scale,
                factor=_shortest(factor) if isinstance(factor, list) else factor,
                until=until,
                methods=methods,
                repeats=self.repeats,
            )
            for prompt, seed, (width, height), steps, guidance_scale, factor, until in product(
                self.prompts,
                self.seeds,
                sides or [[own.width, own.height]],
                self.steps or [own.steps],
                self.guidance_scales or [own.guidance_scale],
                self.factors,
                self.until,
            )
        ]
        settings = {(r.width, r.height, r.steps, r.guidance_scale, r.factor, r.until): r for r in requests}
        for request in settings.values():
            prepare(loaded, request)
        return tuple(dict.fromkeys(requests))


def _shortest(factors: list[int]) -> int | tuple[int, ...]:
    """The same factors in one way of writing: those of levels that are left as they are do not count."""
    while len(factors) > 1 and factors[-1] == 1:
        factors = factors[:-1]
    return factors[0] if len(factors) == 1 else tuple(factors)


@dataclass(frozen=True)
class Worker:
    """A model in memory with the networks that score its pictures: makes rows of requests."""

    loaded: LoadedPipeline
    scorers: Scorers
    setup: Setup
    timed: bool
    """Whether it has its device for itself."""

    @classmethod
    def of(cls, loaded: LoadedPipeline, timed: bool = True) -> Worker:
        scorers = Scorers.of(loaded)
        return cls(loaded, scorers, Setup.of(loaded, scorers), timed)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what is not as it was asked for: the model, and what cannot be scored."""
        loaded = self.loaded
        return (*(note for note in (loaded.fallback, loaded.remark) if note), *self.scorers.missing)

    def requests(self, sweep: Sweep) -> tuple[Request, ...]:
        """As `Sweep.requests`.

        Raises:
            InvalidRequest: also for methods that need times, if none are taken.
        """
        by_time = [id for id in sweep.methods if studied_method(id).needs]
        if by_time and not self.timed:
            raise InvalidRequest(
                f"{by_time[0]} takes its number of steps from times, and none are taken here: name fewer-10 "
                "to fewer-60 instead, or take times."
            )
        return sweep.requests(self.loaded)

    def rows(self, request: Request, stop: threading.Event | None = None) -> list[Row] | OutOfMemory | None:
        """The rows of one comparison; the error if it does not fit into memory; None if it was stopped."""
        try:
            for event in run(self.loaded, request, stop):
                if isinstance(event, Finished):
                    return rows_of(event.comparison, self.scorers, self.setup.weights, self.timed)
        except OutOfMemory as error:
            return error
        return None

    def sweep(
        self, requests: Iterable[Request], folder: RowFolder[Row], stop: threading.Event | None = None
    ) -> Iterator[list[Row] | RunFailed]:
        """Run what the folder does not hold yet, and yield the new rows of each comparison once they are
        written.

        What does not fit into memory yields the error in their place, and the rest goes on. Ends early if
        `stop` is set: the comparison that is running leaves no rows.
        """
        for request in requests:
            if folder.holds(keys_of(request)):
                yield []
                continue
            rows = self.rows(request, stop)
            if rows is None:
                return
            yield rows if isinstance(rows, OutOfMemory) else folder.append(rows)


def load_worker(
    model: str | None,
    device: str | None,
    dtype: torch.dtype | None,
    attention: str,
    scheduler: str | None,
    timed: bool = True,
) -> Worker:
    """Load the model as `load_pipeline` and `with_scheduler` do, and the networks that score its pictures."""
    loaded = load_pipeline(model, device, dtype, attention)
    return Worker.of(with_scheduler(loaded, scheduler) if scheduler else loaded, timed)
