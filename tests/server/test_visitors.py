"""Which visitor a request is from, and how often one may ask."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compare.errors import InvalidRequest
from server.front_door.visits import visitor_of
from server.rate_limiter import REMEMBERED, RateLimiter


@pytest.mark.parametrize(
    ("host", "forwarded", "proxies", "visitor"),
    [
        ("10.0.0.1", "", 0, "10.0.0.1"),
        ("10.0.0.1", "1.1.1.1", 0, "10.0.0.1"),  # anybody can write that
        ("10.0.0.1", "6.6.6.6, 1.1.1.1", 1, "1.1.1.1"),
        ("10.0.0.1", "6.6.6.6, 1.1.1.1, 10.0.0.2", 2, "1.1.1.1"),
        ("10.0.0.1", "", 1, "10.0.0.1"),
        ("10.0.0.1", "1.1.1.1", 2, "10.0.0.1"),  # not by way of both proxies
        ("10.0.0.1", "a line\nof a log", 1, "unknown"),
        ("::ffff:10.0.0.1", "", 0, "10.0.0.1"),
        ("fe80::1%eth0", "", 0, "fe80::/64"),
        ("2001:db8:1:2:3:4:5:6", "", 0, "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "", 0, "2001:db8:1:2::/64"),
        (None, "", 0, "unknown"),
    ],
)
def test_the_visitor_is_the_address_that_a_trusted_proxy_saw(
    host: str | None, forwarded: str, proxies: int, visitor: str
) -> None:
    assert visitor_of(host, forwarded, proxies) == visitor


@given(st.text(max_size=30), st.text(max_size=60), st.integers(0, 3))
def test_every_request_has_a_visitor_whatever_its_headers_say(
    host: str, forwarded: str, proxies: int
) -> None:
    assert visitor_of(host, forwarded, proxies)


def test_a_visitor_who_asks_too_often_is_told_when_to_come_back() -> None:
    now = 0.0
    limiter = RateLimiter(2, clock=lambda: now)
    limiter.admit("a")
    now = 20.0
    limiter.admit("a")
    with pytest.raises(InvalidRequest, match="2 requests a minute from each visitor: try again in 40 sec"):
        limiter.admit("a")
    limiter.admit("b")
    now = 60.0
    limiter.admit("a")
    with pytest.raises(InvalidRequest, match="in 20 seconds"):
        limiter.admit("a")


@given(st.lists(st.tuples(st.floats(0, 30), st.sampled_from("abc")), max_size=60), st.integers(1, 4))
def test_no_minute_has_more_requests_of_a_visitor_than_allowed(
    requests: list[tuple[float, str]], most: int
) -> None:
    now, admitted = 0.0, {name: [] for name in "abc"}
    limiter = RateLimiter(most, clock=lambda: now)
    for pause, name in requests:
        now += pause
        try:
            limiter.admit(name)
        except InvalidRequest:
            assert sum(now - then < 60 for then in admitted[name]) >= most
        else:
            admitted[name].append(now)
            assert sum(now - then < 60 for then in admitted[name]) <= most


def test_visitors_of_long_ago_are_forgotten_so_that_memory_does_not_grow() -> None:
    limiter = RateLimiter(1)
    for number in range(REMEMBERED + 1):
        limiter.admit(str(number))
    limiter.admit("0")
    with pytest.raises(InvalidRequest):
        limiter.admit(str(REMEMBERED))
