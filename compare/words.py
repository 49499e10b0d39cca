"""Values as readers are told them."""

from __future__ import annotations

SECONDS_UP_TO = 120  # then minutes


def in_words(value: object) -> str:
    """A setting for readers: numbers short, and lists as they are typed."""
    if isinstance(value, tuple):
        return ", ".join(map(in_words, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def counted(number: int, thing: str) -> str:
    """As many of a thing as there are: "1 step", "2 steps"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def queue_is_full(places: int) -> str:
    """Why a comparison is not taken into a queue of so many places."""
    return f"The queue is full: it holds {counted(places, 'comparison')}. Try again soon."


def duration(seconds: float) -> str:
    """Seconds, or minutes from two on; with a tenth, so that a time over a limit does not read like it."""
    if seconds >= SECONDS_UP_TO:
        return f"{round(seconds / 60, 1):g} min"
    return f"{seconds:.1f} s" if seconds < 9.5 else f"{seconds:.0f} s"
