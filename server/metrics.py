"""Counters for Prometheus, in a registry of their own."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)

SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500)


class Metrics:
    """What `/metrics` shows.

    Args:
        queue_length: how many comparisons are in the queue, the one in progress included.
    """

    def __init__(self, queue_length: Callable[[], int]) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        Gauge(
            "todo_in_line", "Comparisons in the queue, the one in progress included.", registry=registry
        ).set_function(queue_length)
        self.requests = Counter(
            "todo_requests",
            "Requests by how they ended: finished, stopped, gone, failed or refused.",
            ["outcome"],
            registry=registry,
        )
        self.failures = Counter(
            "todo_failures", "Runs that failed, by the kind of failure.", ["kind"], registry=registry
        )
        self.method_seconds = Histogram(
            "todo_method_seconds",
            "Seconds of a method's denoising loop.",
            ["method"],
            buckets=SECONDS,
            registry=registry,
        )
        self.waited_seconds = Histogram(
            "todo_waited_seconds", "Seconds in the queue.", buckets=SECONDS, registry=registry
        )
        self.run_seconds = Histogram(
            "todo_run_seconds", "Seconds of a run, waiting not counted.", buckets=SECONDS, registry=registry
        )
        self.last_step = Gauge(
            "todo_last_step_timestamp_seconds", "When the last step was done.", registry=registry
        )
