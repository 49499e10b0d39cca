"""The endpoint `/compare`, which is also a tool for language models (MCP), and what it answers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from typing import Any

import gradio as gr

from compare.errors import InvalidRequest, RunFailed
from compare.events import Finished, MethodDone
from compare.methods import known_methods
from compare.report import Comparison, Result
from compare.request import Request
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
    factor: Of downsampling: 2 keeps a quarter of the keys and values. ToMe gets the equal reduction.
    methods: Some of {methods}.
    repeats: How often each method is timed; above 1 they take turns, and the median counts.

Returns:
    The pictures.
    The report, with a list "results": method, seconds, speedup, psnr, ssim, and more.
"""


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
    compare.__signature__ = inspect.Signature(
        [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in ("http", *SETTINGS)]
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
