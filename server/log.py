"""The log: one JSON object a line, on standard error, whatever happens and whatever is sent."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timezone

OWN = ("app", "page", "server")  # what is logged from INFO on; of all others, from WARNING on
WINDOW = 60.0  # seconds
PER_VISITOR = 60  # lines in a window, of one visitor
IN_ALL = 600
LONGEST = 4000  # characters of a message or a traceback
TOGETHER = 0.2  # seconds in which what is printed belongs together


class JsonLines(logging.Formatter):
    """A record as one line of JSON, with its `fields`, if it was logged with some, and its traceback.

    All but printable ASCII is escaped, so that no terminal obeys what a visitor sent.
    """

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage()[:LONGEST],
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)[-LONGEST:]
        return json.dumps(line).replace("\x7f", "\\u007f")


class Bounded(logging.Filter):
    """Lets through so many lines in a window, of each visitor and in all, and says how many it left out."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock, self._lock = clock, threading.Lock()
        self._began, self._seen = clock(), Counter[str]()
        self._left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        visitor = getattr(record, "fields", {}).get("visitor", record.name)
        with self._lock:
            if self._clock() - self._began >= WINDOW:
                if self._left_out:
                    record.fields = {**getattr(record, "fields", {}), "left_out_before": self._left_out}
                self._began, self._left_out = self._clock(), 0
                self._seen.clear()
            lets_through = self._seen[visitor] < PER_VISITOR and self._seen.total() < IN_ALL
            if lets_through:
                self._seen[visitor] += 1
            else:
                self._left_out += 1
        return lets_through


class Printed(io.TextIOBase):
    """Takes the place of a stream to which libraries print: what comes together is one line of the log."""

    def __init__(self, name: str) -> None:
        self._log, self._lock = logging.getLogger(f"printed.{name}"), threading.Lock()
        self._parts: list[str] = []
        self._length = 0

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with self._lock:
            if not self._parts:
                end = threading.Timer(TOGETHER, self._log_parts)
                end.daemon = True
                end.start()
            if self._length < LONGEST:
                self._parts.append(text)
                self._length += len(text)
        return len(text)

    def _log_parts(self) -> None:
        with self._lock:
            text, self._parts, self._length = "".join(self._parts).strip(), [], 0
        if text:
            self._log.warning("%s", text)


def log_as_json() -> None:
    """Write what this project logs, and warnings of all others, to standard error. Call it at the start."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    handler.addFilter(Bounded())
    logging.getLogger().addHandler(handler)
    for name in OWN:
        logging.getLogger(name).setLevel(logging.INFO)


def log_what_is_printed() -> None:
    """From here on nothing else comes between the lines of the log. To be called once the server runs."""
    logging.raiseExceptions = False  # a log that cannot be written cannot say so
    logging.captureWarnings(True)
    for name in list(logging.root.manager.loggerDict):
        logger = logging.getLogger(name)
        if logger.handlers:  # uvicorn's and transformers' have formats of their own
            logger.handlers.clear()
            logger.propagate = True
    sys.stdout, sys.stderr = Printed("stdout"), Printed("stderr")
