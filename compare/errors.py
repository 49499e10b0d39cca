"""What can go wrong with a comparison. `str(error)` is always one sentence for the reader."""

from __future__ import annotations


class InvalidRequest(ValueError):
    """A request that cannot be run.

    Args:
        sentence: what is allowed, and what was given.
        field: of the `Request` that the sentence speaks of; None: of more than one, or of something else.
    """

    def __init__(self, sentence: str, field: str | None = None) -> None:
        super().__init__(sentence)
        self.field = field


class ModelNotLoaded(RuntimeError):
    """A model is missing, broken or of the wrong kind: the sentence says where it was looked for."""


class RunFailed(RuntimeError):
    """A run that could not be finished."""


class OutOfMemory(RunFailed):
    """The device ran out of memory: the sentence says which size to try."""


class QueueFull(RunFailed):
    """The queue holds as many runs as it may."""


def quoted(value: object) -> str:
    """A value as it was given, short enough for a sentence."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
