"""Other forecasts: of other steps, and by other rules than a line in the step (docs/what-to-use.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from diffusers import DiffusionPipeline

from compare.errors import InvalidRequest
from compare.methods import Method, Reduction
from todo_patch import Forecast, patched
from todo_patch.blocks import find_denoiser

SHARES = {10: 0.4, 20: 0.4, 40: 0.4, 50: 0.4, 60: 0.25}
"""Per cent of the steps, and `Forecast.after`."""

Steps = Callable[[int], tuple[int, ...]]
"""From the number of steps to those that are forecast, counted from 0."""
Places = Callable[[DiffusionPipeline, int], Sequence[float]]
"""From the pipeline and the number of steps to where each step lies on the axis of the extrapolation."""


@dataclass(frozen=True)
class ForecastOf(Forecast):
    """Forecast, with other steps."""

    choose: Steps = field(kw_only=True)

    def steps(self, total: int) -> tuple[int, ...]:
        chosen = self.choose(total)
        return tuple(step for step in chosen if 2 <= step <= total - 2)


def extrapolate(points: Sequence[tuple[float, torch.Tensor]], at: float) -> torch.Tensor:
    """The polynomial through all points (place, output), at another place: Lagrange's formula."""
    total = torch.zeros_like(points[0][1])
    for place, output in points:
        weight = 1.0
        for other, _ in points:
            if other != place:
                weight *= (at - other) / (place - other)
        total += weight * output
    return total


@contextmanager
def forecast_by(
    pipe: DiffusionPipeline, method: Forecast, known: int, places: Places
) -> Iterator[DiffusionPipeline]:
    """Forecast on the pipeline for the length of a `with` block, by a polynomial through the last ``known``
    computed outputs, on another axis."""
    with patched(pipe, method):
        patch = vars(find_denoiser(pipe))["_todo_patch"]
        (part,) = patch.parts
        before_as_usual, after_as_usual = part.before_call, part.after_call
        computed: dict[int, list[tuple[int, torch.Tensor]]] = {}  # by branch: step and output

        def before_call(denoiser: torch.nn.Module, arguments: dict[str, Any]) -> None:
            before_as_usual(denoiser, arguments)
            run = patch.run
            if run.step == run.call == 0:
                computed.clear()
            if part._answer.sample is not None:
                axis = places(pipe, run.total)
                points = [(axis[step], output) for step, output in computed[run.call][-known:]]
                part._answer.sample = extrapolate(points, axis[run.step])

        def after_call(output: Any) -> None:
            after_as_usual(output)
            if part._answer.sample is None:
                outputs = computed.setdefault(patch.run.call, [])
                outputs.append((patch.run.step, output[0].detach().clone()))
                del outputs[:-known]

        part.before_call, part.after_call = before_call, after_call
        yield pipe


def in_step(pipe: DiffusionPipeline, total: int) -> Sequence[float]:
    return range(total)


def in_log_sigma(pipe: DiffusionPipeline, total: int) -> Sequence[float]:
    """The last sigma is zero in many schedules, but belongs to no step."""
    return pipe.scheduler.sigmas[:total].log().tolist()


def require_sigmas(pipe: DiffusionPipeline, request: Reduction) -> None:
    """Raises `InvalidRequest` if the scheduler has no list of sigmas, one for each step."""
    if getattr(pipe.scheduler, "order", 1) != 1 or not hasattr(pipe.scheduler, "sigmas"):
        name = type(pipe.scheduler).__name__
        raise InvalidRequest(
            f"forecast-log-sigma needs a scheduler with one sigma for each step, not {name}."
        )


@dataclass(frozen=True, kw_only=True)
class ForecastVariant(Method):
    """Forecast by another rule."""

    known: int = 2
    """How many of the last computed outputs a polynomial is laid through."""
    places: Places = in_step
    patch: Callable[[Reduction], Forecast] = lambda request: Forecast()

    def on(self, pipe: DiffusionPipeline, request: Reduction) -> AbstractContextManager[object]:
        return forecast_by(pipe, self.patch(request), self.known, self.places)


def _count(total: int) -> int:
    return len(Forecast().steps(total))


def _early(total: int) -> tuple[int, ...]:
    return tuple(range(2, total - 1, 2))[: _count(total)]


def _spread(total: int) -> tuple[int, ...]:
    return Forecast(share=Forecast().share, after=0.0).steps(total)


def _in_a_row(total: int) -> tuple[int, ...]:
    return tuple(range(total - 1 - _count(total), total - 1))


def _two_of_three(total: int) -> tuple[int, ...]:
    return tuple(step for step in range(total // 4, total - 1) if (step - total // 4) % 3)


def _other_steps(id: str, label: str, description: str, colour: str, choose: Steps) -> Method:
    def patch(request: Reduction) -> Forecast:
        return ForecastOf(choose=choose)

    return Method(id=id, label=label, description=description, colour=colour, patch=patch)


def _with_share(per_cent: int, after: float, colour: str) -> Method:
    return Method(
        id=f"forecast-{per_cent}",
        label=f"Forecast, {per_cent} %",
        description=f"{per_cent} % of the steps are forecast",
        colour=colour,
        patch=partial(_forecast_share, share=per_cent / 100, after=after),
    )


def _forecast_share(request: Reduction, share: float, after: float) -> Forecast:
    return Forecast(share=share, after=after)


FORECAST_VARIANTS = (
    ForecastVariant(
        id="forecast-reuse",
        label="Forecast, reuse",
        description="the last output once more, instead of a line through the last two",
        colour="#aec7e8",
        known=1,
    ),
    ForecastVariant(
        id="forecast-parabola",
        label="Forecast, parabola",
        description="a parabola through the last three outputs",
        colour="#ffbb78",
        known=3,
    ),
    ForecastVariant(
        id="forecast-log-sigma",
        label="Forecast, in log sigma",
        description="the line lies over the logarithm of sigma instead of the step",
        colour="#98df8a",
        places=in_log_sigma,
        check=require_sigmas,
    ),
    _other_steps(
        "forecast-early", "Forecast, early", "every other step, from the third on",
        "#ff9896", _early,
    ),
    _other_steps(
        "forecast-spread", "Forecast, spread", "as many steps, spread over the whole run",
        "#c5b0d5", _spread,
    ),
    _other_steps(
        "forecast-in-a-row", "Forecast, in a row", "as many steps, one after another",
        "#c49c94", _in_a_row,
    ),
    _other_steps(
        "forecast-two-of-three", "Forecast, two of three", "two of three steps after the first quarter",
        "#f7b6d2", _two_of_three,
    ),
    *(
        _with_share(per_cent, after, colour)
        for (per_cent, after), colour in zip(
            SHARES.items(), ("#c6dbef", "#9ecae1", "#4292c6", "#2171b5", "#084594"), strict=True
        )
    ),
)  # fmt: skip
"""What docs/what-to-use.md compares. Sweeps have them; the page does not."""
