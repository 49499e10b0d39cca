"""What one visitor may ask of a server that many share: each an option and an environment variable."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from compare.errors import InvalidRequest
from compare.request import PROMPT_CHARACTERS, REPEATS, Request

PREFIX = "TODO_MAX_"


class OverLimit(InvalidRequest):
    """A valid request for more than this server gives. `str(error)` is one sentence."""


def _limit(default: int, most: int, about: str) -> int:
    return field(default=default, metadata={"most": most, "about": about})


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Whole numbers from 1 on.

    Raises:
        ValueError: with one sentence that names the limit and what is allowed.
    """

    megapixel_steps: int = _limit(
        500, 10**9, "work of a request: megapixels × steps × methods × repeats, warm-up not counted"
    )
    prompt_characters: int = _limit(1000, PROMPT_CHARACTERS, "characters of a prompt")
    repeats: int = _limit(5, REPEATS[1], "repeats of a request")
    in_line: int = _limit(32, 1000, "comparisons in line, the one that runs included")
    per_minute: int = _limit(20, 10**6, "requests that one visitor may make in a minute")
    seconds: int = _limit(600, 7 * 24 * 3600, "seconds of a run, from its turn on; then it is stopped")

    def __post_init__(self) -> None:
        for limit in fields(self):
            value, most = getattr(self, limit.name), limit.metadata["most"]
            if type(value) is not int or not 1 <= value <= most:
                raise ValueError(
                    f"{option(limit.name)} ({variable(limit.name)}) must be a whole number from 1 to {most}, "
                    f"not {value!r}."
                )

    @classmethod
    def of(cls, options: argparse.Namespace) -> Limits:
        """From what `add_options` added; what was not given keeps its default."""
        given = {limit.name: getattr(options, f"max_{limit.name}") for limit in fields(cls)}
        return cls(**{name: _number(value) for name, value in given.items() if value is not None})

    def check(self, request: Request) -> None:
        """Raise `OverLimit` where the request alone asks for too much."""
        for name, text in (("The prompt", request.prompt), ("The negative prompt", request.negative_prompt)):
            if len(text) > self.prompt_characters:
                raise OverLimit(
                    f"{name} can have {self.prompt_characters} characters on this server; this one has "
                    f"{len(text)}."
                )
        if request.repeats > self.repeats:
            raise OverLimit(f"Repeats can be at most {self.repeats} on this server, not {request.repeats}.")
        if (work := megapixel_steps(request)) > self.megapixel_steps:
            raise OverLimit(
                f"{request.width}×{request.height} pixels × {request.steps} steps × "
                f"{len(request.methods)} methods × {request.repeats} repeats are {work:.0f} megapixel-steps; "
                f"this server allows {self.megapixel_steps} in a request. Take fewer pixels, steps, methods "
                "or repeats."
            )

    def sentence(self) -> str:
        """All of them, for the page."""
        return (
            f"On this server a request can have up to {self.megapixel_steps} megapixel-steps "
            "(width × height × steps × methods × repeats, in millions), "
            f"{self.prompt_characters} characters in a prompt and {self.repeats} repeats. It is stopped "
            f"after {self.seconds} seconds. {self.in_line} can be in line, and a visitor can make "
            f"{self.per_minute} in a minute."
        )


def megapixel_steps(request: Request) -> float:
    """What a request costs: pixels of all pictures, times the steps they take, in millions."""
    pictures = len(request.methods) * request.repeats
    return request.width * request.height * request.steps * pictures / 1e6


def option(name: str) -> str:
    return "--max-" + name.replace("_", "-")


def variable(name: str) -> str:
    return PREFIX + name.upper()


def add_options(parser: argparse.ArgumentParser, environment: Mapping[str, str] = os.environ) -> None:
    """One option per limit; without it the environment variable counts, and without that the default."""
    group = parser.add_argument_group("limits", "for a server that many share")
    for limit in fields(Limits):
        group.add_argument(
            option(limit.name),
            default=environment.get(variable(limit.name)) or None,
            metavar="N",
            help=f"{limit.metadata['about']} ({variable(limit.name)}; default: {limit.default})",
        )


def _number(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text  # `Limits` says what is wrong with it
