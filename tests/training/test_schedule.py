from __future__ import annotations

import pytest

from training import schedule
from training.schedule import WARM_UP, Clock


@pytest.fixture
def now(monkeypatch) -> list[float]:
    """The time in seconds; its last entry counts."""
    times = [100.0]
    monkeypatch.setattr(schedule.time, "monotonic", lambda: times[-1])
    return times


def test_it_is_over_when_its_minutes_are(now) -> None:
    clock = Clock(2)
    assert not clock.over
    now.append(100 + 119.9)
    assert not clock.over
    now.append(100 + 120)
    assert clock.over


def test_time_that_was_used_before_counts(now) -> None:
    clock = Clock(2, used=90)
    now.append(130)
    assert clock.seconds == 120
    assert clock.over


def test_a_run_that_goes_on_does_not_warm_up_again(now) -> None:
    assert Clock(10, used=300).rate(1.0, cooldown=0.5) == 1.0


def test_the_rate_rises_stays_and_falls_to_zero(now) -> None:
    clock = Clock(10)
    assert clock.rate(1.0, cooldown=0.5) == 0.0
    now.append(100 + 600 * WARM_UP / 2)
    assert clock.rate(1.0, cooldown=0.5) == pytest.approx(0.5)
    now.append(100 + 600 * WARM_UP)
    assert clock.rate(1.0, cooldown=0.5) == pytest.approx(1.0)
    now.append(100 + 450)
    assert clock.rate(1.0, cooldown=0.5) == pytest.approx(0.5)
    assert clock.rate(1.0, cooldown=0.0) == 1.0
    now.append(100 + 601)
    assert clock.rate(1.0, cooldown=0.5) == 0.0
