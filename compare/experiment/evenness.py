"""Whether times of the same work are alike, without which they say nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MEASURABLE = 0.05  # seconds; shorter steps are uneven on any machine
UNEVEN = 2


def uneven_times(same_work: Iterable[Sequence[float]]) -> tuple[str, ...]:
    """A note if steps that do the same work took very different times: they cannot be trusted.

    Args:
        same_work: seconds of single steps, grouped by what they do.
    """
    worst = max(filter(None, same_work), key=lambda seconds: max(seconds) / min(seconds), default=(1.0,))
    if min(worst) < MEASURABLE or max(worst) < UNEVEN * min(worst):
        return ()
    return (
        f"Steps of the same work took from {min(worst):.2f} to {max(worst):.2f} seconds: something else was "
        "using this machine, and the times cannot be compared. Run it again, or more often.",
    )
