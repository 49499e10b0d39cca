"""How the page is served, from options and environment variables."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from server.limits import Limits
from server.limits import add_options as add_limits
from server.request_filter import LOOPBACK

YES = ("1", "true", "yes", "on")


@dataclass(frozen=True, kw_only=True)
class Serving:
    """What whoever runs the server decides.

    Args:
        host: the address it listens on.
        limits: what one visitor may ask for.
        proxies: how many trusted proxies are in front of it.
        origins: addresses under which browsers know it, or of other sites that may ask it, as
            `https://example.org`.
        log_prompts: whether prompts may be logged.
        grace: seconds that a run has to finish when the server is told to end.

    Raises:
        ValueError: with one sentence that names the option and what is allowed.
    """

    host: str = "127.0.0.1"
    limits: Limits = field(default_factory=Limits)
    proxies: int = 0
    origins: tuple[str, ...] = ()
    log_prompts: bool = False
    grace: int = 8

    def __post_init__(self) -> None:
        for name, value, most in (("proxies", self.proxies, 10), ("grace", self.grace, 24 * 3600)):
            if type(value) is not int or not 0 <= value <= most:
                raise ValueError(
                    f"--{name} (TODO_{name.upper()}) must be a whole number from 0 to {most}, not {value!r}."
                )
        for origin in self.origins:
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or not parts.netloc or parts.path or parts.query:
                raise ValueError(
                    f"--origin (TODO_ORIGINS) must be like https://example.org, without a path, not "
                    f"{origin!r}."
                )

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names by which it may be called; empty for any.

        A server that only this machine reaches has few, and any other means that somebody else's name points
        here. One that others reach cannot know all of its names.
        """
        if self.host not in LOOPBACK:
            return ()
        return (*LOOPBACK, *(urlsplit(origin).hostname or "" for origin in self.origins))

    @classmethod
    def of(cls, options: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> Serving:
        """From what `add_options` added, and where the Hub says that a Space is reached."""
        space = environment.get("SPACE_HOST", "")
        origins = [*options.origin, *(f"https://{host.strip()}" for host in space.split(",") if host.strip())]
        return cls(
            host=options.host,
            limits=Limits.of(options),
            proxies=_whole(options.proxies),
            origins=tuple(origins),
            log_prompts=options.log_prompts,
            grace=_whole(options.grace),
        )


def add_options(parser: argparse.ArgumentParser, environment: Mapping[str, str] = os.environ) -> None:
    """Options for all of it but the host; without one its environment variable counts, then the default."""
    given = environment.get
    group = parser.add_argument_group("serving")
    group.add_argument(
        "--proxies", default=given("TODO_PROXIES") or ("1" if given("SPACE_HOST") else "0"), metavar="N",
        help="trusted proxies in front, which tell who asks in X-Forwarded-For (TODO_PROXIES; default: 0, "
        "and 1 on a Space)",
    )  # fmt: skip
    group.add_argument(
        "--origin", action="append", metavar="ADDRESS",
        default=[part.strip() for part in given("TODO_ORIGINS", "").split(",") if part.strip()],
        help="an address under which browsers know this server, or of another site that may ask it, like "
        "https://example.org; can be repeated (TODO_ORIGINS, with commas)",
    )  # fmt: skip
    group.add_argument(
        "--log-prompts", action="store_true", default=given("TODO_LOG_PROMPTS", "").lower() in YES,
        help="log prompts too (TODO_LOG_PROMPTS; default: no)",
    )  # fmt: skip
    group.add_argument(
        "--grace", default=given("TODO_GRACE") or "8", metavar="SECONDS",
        help="that a run has to finish when the server is told to end (TODO_GRACE; default: 8)",
    )  # fmt: skip
    add_limits(parser, environment)


def _whole(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text  # `Serving` says what is wrong with it
