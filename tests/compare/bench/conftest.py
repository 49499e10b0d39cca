from __future__ import annotations

from collections.abc import Callable

import pytest

from compare.bench.request import BenchRequest


@pytest.fixture
def bench_request() -> Callable[..., BenchRequest]:
    """A small valid request, with the fields given changed."""

    def make(**changes: object) -> BenchRequest:
        return BenchRequest(**{"sizes": ((64, 64),), "factors": (2,), "rounds": 2, "steps": 2, **changes})

    return make
