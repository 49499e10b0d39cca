"""The endpoint `/compare`, which is also a tool for language models (MCP), and what it answers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from typing import Any

import gradio as gr
from gradio.blocks import BlockFunction
from gradio.components.api_component import Api

from compare.errors import InvalidRequest, RunFailed
from compare.events import Finished, MethodDone
from compare.methods import known_methods
from compare.report import Comparison, Result
from compare.request import METHOD_SETTINGS, POOLINGS, Request
from page.pictures import Album, Pictures
from server.front_door.visits import Visit
from server.runs import Runs

SETTINGS = tuple(field.name for field in fields(Request))
"""The parameters, in their order; those of the page's own handler too."""

UNLISTED = {"api_visibility": "private", "show_progress": "hidden"}
"""Of the page's own handlers: the API has one endpoint."""

DESCRIPTION = """Make the same picture with the unchanged model, ToMe and ToDo, and compare time and fidelity.

Args:
    prompt: What to draw.
    negative_prompt: What to keep away from; empty for none.
    width: Pixels, a multiple of 8.
    height: Pixels, a multiple of 8.
    steps: Denoising steps.
    guidance_scale: Classifier-free guidance; 1 and below switch it off.
    seed: Of the starting noise, which is the same for every method.
    factor: Of downsampling: 2 keeps a quarter of the keys and values. A list has one for each level of
        attention grids, the finest first. ToMe gets the equal reduction.
    methods: Some of {methods}.
    repeats: How often each method is timed; above 1 they take turns, and the median counts.
    until: ToDo and ToMe are on in this first part of the steps, 0.01 to 1.
    pooling: What ToDo makes of a cell of tokens: "nearest" keeps one, "average" is their mean.
    forecast_share: The part of the steps that Forecast does not compute, 0 to 0.6.
    tome_ratio: The share of tokens that ToMe merges away, at most 1 - 1/stride²; null: just that.
    tome_stride: A side of ToMe's cells, from 2; null: ToDo's factor.
    tome_levels: Of attention grids on which ToMe merges, from the finest; null: as many as ToDo.
    tome_seed: Of ToMe's random choice.

Returns:
    The pictures.
    The report, with a list "results": method, seconds, speedup, psnr, ssim, and more.
"""


NUMBER = {"type": "number"}
NUMBER_OR_NULL = {"anyOf": [NUMBER, {"type": "null"}]}
SCHEMAS = {
    "factor": {"anyOf": [NUMBER, {"type": "array", "items": NUMBER}]},
    "until": NUMBER,
    "pooling": {"type": "string", "enum": list(POOLINGS)},
    "forecast_share": NUMBER,
    "tome_ratio": NUMBER_OR_NULL,
    "tome_stride": NUMBER_OR_NULL,
    "tome_levels": NUMBER_OR_NULL,
    "tome_seed": NUMBER,
}
"""What these parameters can be, as JSON schemas."""


class PageBlocks(gr.Blocks):
    """Blocks whose API takes a list of values that ends early, as one does that was written before the last
    parameters were there: the rest has its default. Gradio does so for values by name only."""

    def validate_inputs(self, block_fn: BlockFunction, inputs: list[Any]) -> None:
        if block_fn.api_visibility == "public":
            inputs += [block.value for block in block_fn.inputs[len(inputs) :]]
        super().validate_inputs(block_fn, inputs)


def method_inputs() -> dict[str, Api]:
    """The factor and the settings of methods, as parameters with the defaults of a `Request`. Components of
    the page are none of them: these know no lists, and no number that is optional."""
    return {name: Api(getattr(Request, name), schema, name) for name, schema in SCHEMAS.items()}


def named(settings: Sequence[object]) -> dict[str, object]:
    """The values of `SETTINGS`, in their order, by name."""
    return dict(zip(SETTINGS, settings, strict=True))


def endpoint(
    runs: Runs, pictures: Pictures, visit_of: Callable[[gr.Request], Visit]
) -> Callable[..., Iterator[tuple[Any, Any]]]:
    """The function of the endpoint. Gradio reads parameters and descriptions from it, as does MCP its name.

    Args:
        visit_of: who makes an HTTP request.
    """

    def compare(http: gr.Request, *settings: object) -> Iterator[tuple[Any, Any]]:
        try:
            job = runs.accept(named(settings), visit_of(http), "api")
            album = Album(pictures)
            with runs.events(job) as events:
                for event in events:
                    if isinstance(event, Finished):
                        results = event.comparison.results
                        gallery = [(album.file(each.method, each.image), each.label) for each in results]
                        yield gallery, report(event.comparison)
                        continue
                    if isinstance(event, MethodDone):  # now, when no clock runs
                        album.file(event.result.method, event.result.image)
                    yield gr.skip(), gr.skip()  # so that a client that has gone away is noticed
        except (InvalidRequest, RunFailed) as error:
            raise gr.Error(str(error), print_exception=False) from error
        if job.stop.because:  # only the server stops these runs
            raise gr.Error(job.stop.because, print_exception=False)

    *ids, last = (method.id for method in known_methods())
    compare.__doc__ = DESCRIPTION.format(methods=f"{', '.join(ids)} and {last}")
    # For gradio a parameter whose value is None is optional only if the signature says so.
    kind, required = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty
    defaults = {name: getattr(Request, name) for name in METHOD_SETTINGS}
    compare.__signature__ = inspect.Signature(
        [inspect.Parameter(name, kind, default=defaults.get(name, required)) for name in ("http", *SETTINGS)]
    )
    return compare


def report(comparison: Comparison) -> dict[str, Any]:
    """`report.json`, with the numbers of each result also at the top of its entry."""
    whole = comparison.model_dump(mode="json")
    whole["results"] = [
        {**_flat(result), **nested}
        for result, nested in zip(comparison.results, whole["results"], strict=True)
    ]
    return whole


def _flat(result: Result) -> dict[str, Any]:
    scores, finest = result.scores, result.plan.levels[0]
    itself = result.is_baseline
    return {
        "method": result.method,
        "label": result.label,
        "seconds": result.times.seconds,
        "speedup": result.speedup,
        "flop_speedup": result.plan.flop_speedup,
        "ceiling": result.plan.ceiling,
        "psnr": scores.psnr if scores else None,
        "ssim": 1.0 if itself else scores.ssim if scores else None,
        "identical": itself or (scores.identical if scores else None),
        "tokens": finest.tokens,
        "kv_tokens": finest.kv_tokens,
        "query_tokens": finest.query_tokens,
    }
