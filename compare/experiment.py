"""Run the methods of a request on the same embeddings and the same noise, and tell it as events."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from compare.events import Event
from compare.load import LoadedPipeline
from compare.report import PlanSummary
from compare.request import Request


class RunFailed(RuntimeError):
    """A run that could not be finished. `str(error)` is a sentence for the reader."""


class OutOfMemory(RunFailed):
    """The device ran out of memory. The sentence says which size to try."""


@dataclass(frozen=True)
class Prepared:
    """What is known of a run before it is run."""

    plans: dict[str, PlanSummary]
    """By method, without "fewer-steps"."""
    notes: tuple[str, ...]


def prepare(loaded: LoadedPipeline, request: Request) -> Prepared:
    """Check a request against a model and plan its work. Runs nothing.

    Raises:
        InvalidRequest: where a method cannot be used on this model at this size.
    """
    raise NotImplementedError


def run(loaded: LoadedPipeline, request: Request, stop: threading.Event | None = None) -> Iterator[Event]:
    """Run a comparison on a thread of its own and yield its events; the last is `Finished` or `Stopped`.

    Nothing happens before the first `next()`. One comparison runs at a time in this process; others wait in
    line. However it ends, the model is left unpatched. Setting `stop`, or closing the generator, ends the run
    at its next step.

    Raises:
        InvalidRequest: where a method cannot be used on this model at this size; before anything is computed.
        OutOfMemory: with a sentence for the reader. Any other exception of the run comes out as it was.
    """
    raise NotImplementedError
