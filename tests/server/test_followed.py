"""A run that outlives its reader for a moment."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from compare import Request, RunFailed
from compare.events import Event, Finished, Tick
from server.followed import Followed
from server.front_door.visits import Visit
from server.limits import Limits
from server.runs import Job, Runs
from tests.helpers.visitors import SETTINGS, wait_until


def followed(run: list, patience: float = 60.0, lost: list | None = None) -> Followed:
    """Of a run with these events; one that is an exception is raised."""

    def events(*_: object) -> Iterator[Event]:
        for event in run:
            if isinstance(event, Exception):
                raise event
            yield event
        run.append("closed")

    runs = Runs(lambda *_: events(), Limits())
    job = Job(Visit("127.0.0.1"), "page", request=Request(**SETTINGS))
    return Followed(runs, job, None, lambda: (lost if lost is not None else []).append(job), patience)


def reader(source: Followed) -> Iterator[type[Event]]:
    """The kinds of the events that it reads."""
    with source.reading() as events:
        for event in events:
            yield type(event)


def test_the_next_reader_goes_on_where_the_first_was_closed() -> None:
    source = followed([Tick(), Tick(), Finished(None)])
    first = reader(source)
    assert next(first) is Tick
    first.close()
    assert source.is_left
    assert list(reader(source)) == [Tick, Finished]
    assert not source.is_left
    assert source.job.outcome == "finished"


def test_without_a_next_reader_the_run_ends() -> None:
    lost: list[Job] = []
    source = followed([Tick(), Tick()], patience=0.05, lost=lost)
    first = reader(source)
    next(first)
    first.close()
    wait_until(lambda: lost == [source.job])
    assert not source.is_left
    assert source.job.outcome == "gone"


def test_a_failure_is_told_to_whoever_reads_then() -> None:
    source = followed([Tick(), RunFailed("It broke.")])
    first = reader(source)
    next(first)
    first.close()
    with pytest.raises(RunFailed, match=r"It broke\."):
        list(reader(source))
    assert source.job.outcome == "failed"


def test_an_end_that_was_read_leaves_nothing() -> None:
    lost: list[Job] = []
    source = followed([Tick()], patience=0.05, lost=lost)
    assert len(list(reader(source))) == 1
    assert not source.is_left
    assert lost == []
