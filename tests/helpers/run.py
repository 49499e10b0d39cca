"""A run, read to its end."""

from __future__ import annotations

from collections.abc import Iterable

from compare.events import Event
from compare.report import Comparison


def finished(events: Iterable[Event]) -> Comparison:
    """The comparison that the last event brings."""
    *_, last = events
    return last.comparison
