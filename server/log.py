"""One line of JSON per request and per error, on standard error."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict, dataclass
from datetime import datetime, timezone

REQUESTS = logging.getLogger("server.requests")
FIELD = "of_request"


@dataclass(frozen=True, kw_only=True)
class RequestLine:
    """What is logged of a request. Prompts are left out unless whoever runs the server wants them."""

    id: str
    visitor: str
    by: str
    """"page" or "api"."""
    outcome: str
    """"finished", "stopped", "gone" (nobody was there any more), "failed" or "refused"."""
    reason: str | None = None
    """Why it was stopped or refused, or which kind of failure; in the words that the visitor was given."""
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    factor: tuple[int, ...] | None = None
    methods: tuple[str, ...] | None = None
    repeats: int | None = None
    waited: float | None = None
    """Seconds in line."""
    took: float | None = None
    """Seconds from its turn on."""
    denoising: dict[str, float] | None = None
    """Median seconds by method, of those that were done."""
    prompt: str | None = None
    negative_prompt: str | None = None


class JsonLines(logging.Formatter):
    """A record as one line of JSON; a traceback is a field of it."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if isinstance(of_request := getattr(record, FIELD, None), RequestLine):
            line |= {name: value for name, value in asdict(of_request).items() if value is not None}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def log_request(line: RequestLine) -> None:
    REQUESTS.info("request %s", line.outcome, extra={FIELD: line})


def log_as_json() -> None:
    """Write what this project logs to standard error, requests included. To be called once, at the start."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("app", "page", "server"):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
