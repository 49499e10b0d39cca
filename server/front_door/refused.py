"""How a request is refused."""

from __future__ import annotations


class Refused(Exception):
    """A request that gradio does not get to see.

    Args:
        status: of the answer, from 400 on.
        sentence: for the visitor.
        retry_after: seconds after which the same request may be let in.
    """

    def __init__(self, status: int, sentence: str, retry_after: float | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.retry_after = status, sentence, retry_after
