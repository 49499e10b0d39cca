"""What one visitor may ask of a server that many share."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil

from compare.errors import InvalidRequest
from compare.request import PROMPT_CHARACTERS, REPEATS, Request, field_of
from compare.words import counted, duration


def _limit(default: int, most: int, about: str) -> int:
    return field(default=default, metadata={"most": most, "about": about})


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Whole numbers from 1 on. Each field is an option and an environment variable (`server/options.py`)."""

    megapixel_steps: int = _limit(
        500, 10**9, "work of a request: megapixels × steps × methods × repeats, warm-up not counted"
    )
    prompt_characters: int = _limit(1000, PROMPT_CHARACTERS, "characters of a prompt")
    repeats: int = _limit(5, REPEATS[1], "repeats of a request")
    in_line: int = _limit(32, 1000, "comparisons in the queue, the one in progress included")
    per_visitor: int = _limit(2, 1000, "of those, comparisons of one visitor")
    per_minute: int = _limit(20, 10**6, "requests of one visitor in any minute")
    per_second: int = _limit(5, 10**6, "clicks and calls of one visitor, of whatever kind, every second")
    seconds: int = _limit(600, 7 * 24 * 3600, "seconds of a run, waiting not counted; then it is stopped")

    def check(self, request: Request) -> None:
        """Raise `InvalidRequest` if the request alone asks for more than this server gives."""
        for name, text in (("The prompt", request.prompt), ("The negative prompt", request.negative_prompt)):
            if len(text) > self.prompt_characters:
                raise InvalidRequest(
                    f"{name} can have {self.prompt_characters} characters on this server; this one has "
                    f"{len(text)}.",
                    field_of(name),
                )
        if request.repeats > self.repeats:
            raise InvalidRequest(
                f"Repeats can be at most {self.repeats} on this server, not {request.repeats}.", "repeats"
            )
        pictures = len(request.methods) * request.repeats
        work = request.width * request.height * request.steps * pictures / 1e6
        if work > self.megapixel_steps:
            raise InvalidRequest(
                f"{_work_of(request)} are {ceil(work)} megapixel-steps; this server allows "
                f"{self.megapixel_steps} in a request. Take fewer pixels, steps, methods or repeats."
            )

    def check_seconds(self, request: Request, seconds: float) -> None:
        """Raise `InvalidRequest` if a run that takes so many seconds would be stopped before its end."""
        if seconds > self.seconds:
            raise InvalidRequest(
                f"{_work_of(request)} would take about {duration(seconds)} here, and this server stops a run "
                f"after {duration(self.seconds)}. Take fewer pixels, steps, methods or repeats."
            )


def _work_of(request: Request) -> str:
    methods, repeats = counted(len(request.methods), "method"), counted(request.repeats, "repeat")
    return (
        f"{request.width}×{request.height} pixels × {counted(request.steps, 'step')} × {methods} × {repeats}"
    )
