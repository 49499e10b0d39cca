"""The bars of the times, one for each method, which are the progress of a run as long as it goes on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from compare.events import Event, MethodDone, MethodStarted, StepDone
from compare.experiment.pace import Estimate
from compare.methods import Method
from compare.report import Comparison, Result
from compare.request import Request
from page.html import render
from page.verdict import Column, best_first, columns_of, doubt

FIRST_GUESS = 2  # steps of a loop after which its own pace is a better guess than that of others


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One method."""

    method: Method
    settings: str = ""
    """What of its settings is not the default, in words."""
    state: str = "waiting"
    """"waiting", "warming up", "running", "done", "stopped" (in the middle) or "not started"."""
    repeat: int = 1
    step: int = 0
    steps: int = 0
    seconds: float = 0.0
    """On the clock of this loop so far."""
    estimate: float | None = None
    """What the clock is expected to show in the end, judged by other runs."""
    column: Column | None = None
    """What was measured so far."""

    @property
    def total(self) -> float | None:
        """What the clock shows in the end, or is expected to."""
        if self.column is not None and self.state != "running":
            return self.column.result.times.seconds
        if self.step and (self.step >= FIRST_GUESS or self.estimate is None):
            return self.seconds / self.step * self.steps
        return self.estimate

    @property
    def left(self) -> float | None:
        """Seconds of this loop that are left; None: nobody knows."""
        return None if self.total is None else max(self.total - self.seconds, 0.0)


@dataclass(frozen=True)
class Bars:
    """All methods of a request, in the order in which they are shown.

    Args:
        bars: one for each method.
        repeats: of each method.
        ahead: comparisons before this one in the queue; None: it does not wait.
    """

    bars: tuple[Bar, ...] = ()
    repeats: int = 1
    ahead: int | None = None

    @classmethod
    def waiting(cls, request: Request) -> Bars:
        """Of a run that has not begun."""
        bars = (Bar(method=method, settings=request.settings_of(method)) for method in request.chosen)
        return cls(tuple(bars), request.repeats)

    @classmethod
    def of(cls, request: Request, comparison: Comparison | None, begun: Iterable[str] = ()) -> Bars:
        """Of a run that has ended.

        Args:
            begun: ids of the methods that had begun by then.
        """
        results = comparison.results if comparison else ()
        columns = {column.result.method: column for column in columns_of(results)}

        def bar(method: Method) -> Bar:
            named = {"method": method, "settings": request.settings_of(method)}
            if method.id in columns:
                return Bar(**named, state="done", column=columns[method.id])
            return Bar(**named, state="stopped" if method.id in begun else "not started")

        return cls(tuple(map(bar, request.chosen)), request.repeats)

    def after(self, event: Event) -> Bars:
        """The bars after an event of the run."""
        match event:
            case MethodStarted(method=id, steps=steps, repeat=repeat):
                new = {"state": "warming up", "repeat": repeat, "step": 0, "steps": steps, "seconds": 0.0}
            case StepDone(method=id, step=step, steps=steps, seconds=seconds):
                new = {"state": "running", "step": step, "steps": steps, "seconds": seconds}
            case MethodDone(result=result):
                id = result.method
                new = {"state": "done", "column": Column(result, doubt(result, self.baseline))}
            case _:
                return self
        changed = (replace(bar, **new) if bar.method.id == id else bar for bar in self.bars)
        return replace(self, bars=tuple(changed), ahead=None)

    def expecting(self, estimate: Estimate | None) -> Bars:
        """The bars with what the clock is expected to show."""
        if estimate is None:
            return self
        bars = (replace(bar, estimate=estimate.denoising.get(bar.method.id)) for bar in self.bars)
        return replace(self, bars=tuple(bars))

    @property
    def scale(self) -> float | None:
        """Seconds that a bar of the whole width stands for; None: of no bar anything is known."""
        return max((bar.total for bar in self.bars if bar.total), default=None)

    @property
    def current(self) -> Bar | None:
        """The method that runs now."""
        return next((bar for bar in self.bars if bar.state in ("warming up", "running")), None)

    @property
    def is_on(self) -> bool:
        return any(bar.state in ("waiting", "warming up", "running") for bar in self.bars)

    @property
    def share(self) -> float:
        """The part of all loops that is done, 0 to 1."""
        loops = (
            bar.repeat if bar.state == "done" else bar.repeat - 1 + bar.step / (bar.steps or 1)
            for bar in self.bars
        )
        return sum(loops) / (self.repeats * len(self.bars) or 1)

    @property
    def left(self) -> float | None:
        """Seconds until the last picture; None: nobody knows."""
        left = 0.0
        for bar in self.bars:
            if bar.total is None:
                return None
            now = bar.state in ("warming up", "running")
            done = bar.repeat if bar.column is not None and not now else bar.repeat - 1
            left += (bar.left or 0.0) if now else 0.0
            left += bar.total * max(self.repeats - done - now, 0)
        return left

    @property
    def baseline(self) -> Result | None:
        """Its result, if it is done."""
        done = (bar.column.result for bar in self.bars if bar.column is not None)
        return next((result for result in done if result.is_baseline), None)

    def html(self) -> str:
        """The verdict, or how the run stands, and the bars."""
        ranked = best_first(tuple(bar.column for bar in self.bars if bar.column is not None))
        return render("bars", bars=self, ranked=() if self.is_on else ranked)
